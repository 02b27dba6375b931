"""Bad tables, rows and videos: refused with the file and the row, before anything is written (see conftest.py)."""

from __future__ import annotations

import pytest

from tests.benchmark.conftest import RUN, Case
from tests.damage import (
    VIDEO,
    again,
    blank_the_middle,
    both,
    cell,
    column,
    cut,
    cut_with_index_in_front,
    drop_column,
    edit,
    link_to,
    no_rows,
    put,
    sound_only,
    video,
    without,
)

RECORDINGS = "small/recordings.tsv"
CHECK = "data validate {data}"

FOLDERS = {
    "no such folder": Case("data validate nowhere", "nowhere: no such folder", "data import"),
    "run on no such folder": Case(RUN.replace("{data}", "nowhere"), "nowhere: no such folder", "data import"),
    "a file for a folder": Case("data validate small/events.tsv", "events.tsv: no such folder", "name one"),
    "a folder of something else": Case("data describe run", "run/recordings.tsv: missing", "needs it with columns"),
    "a longer name than a file system takes": Case(
        "data validate " + "x" * 300, "x" * 300 + ": File name too long", "name a place that can be used"
    ),
}

TABLES = {
    "no table of events": Case(RUN, "events.tsv: missing", "needs it with columns", without("small/events.tsv")),
    "no table of intervals": Case(
        RUN, "annotated_intervals.tsv: missing", "needs it with columns", without("small/annotated_intervals.tsv")
    ),
    "missing column": Case(
        RUN, "recordings.tsv: column 'fps' is missing", "header must name", drop_column("recordings", "fps")
    ),
    "missing column of events": Case(
        CHECK, "events.tsv: column 'onset_type' is missing", "header must name", drop_column("events", "onset_type")
    ),
    "column in capitals": Case(
        CHECK, "column 'subject_id' is missing", "header must name", cell("recordings", 1, "subject_id", "Subject_ID")
    ),
    "column twice": Case(
        CHECK,
        "recordings.tsv: column 'path' stands twice",
        "keep one",
        edit("recordings", lambda cells: [row.append("path") for row in cells]),
    ),
    "no byte": Case(RUN, "recordings.tsv: not a table", "save it as UTF-8 text with tabs", put(RECORDINGS, b"")),
    "blank lines alone": Case(CHECK, "recordings.tsv: not a table", "save it", put(RECORDINGS, "\n\n\n")),
    "no row": Case(RUN, "recordings.tsv: holds no recording", "add a row", no_rows("recordings")),
    "commas for tabs": Case(
        CHECK, "'recording_id' is missing", "separated by tabs", put(RECORDINGS, "recording_id,subject_id\nr,s\n")
    ),
    "a row with a cell too many": Case(
        CHECK, "recordings.tsv … line 3", "save it", edit("recordings", lambda cells: cells[2].append("x"))
    ),
    "every row with a cell too many": Case(
        CHECK,
        "recordings.tsv … line 2",
        "save it",
        edit("recordings", lambda cells: [r.append("x") for r in cells[1:]]),
    ),
    "a row cut short": Case(
        CHECK,
        "recordings.tsv row 3: sha256",
        "correct",
        edit("recordings", lambda cells: cells[2].__delitem__(slice(7, None))),
    ),
    "not UTF-8": Case(
        RUN, "events.tsv: not a table … utf-8", "save it as UTF-8", put("small/events.tsv", "Kühn\n".encode("latin-1"))
    ),
    "a spreadsheet's UTF-16": Case(
        CHECK, "events.tsv: not a table", "save it as UTF-8", put("small/events.tsv", "onset_s\n".encode("utf-16"))
    ),
    "binary garbage": Case(
        RUN, "recordings.tsv: not a table", "save it as UTF-8", put(RECORDINGS, bytes(range(256)) * 20)
    ),
    "a quote that never ends": Case(CHECK, "recordings.tsv", "save it", cell("recordings", 3, "site_id", '"lab')),
    "a cell of two lines": Case(
        CHECK, "recordings.tsv row 2: site_id … line break", "remove it", cell("recordings", 2, "site_id", '"a\nb"')
    ),
}

ROWS = {
    "text in a number": Case(
        RUN,
        "recordings.tsv row 2: duration_s … 'forty'",
        "correct this cell",
        cell("recordings", 2, "duration_s", "forty"),
    ),
    "decimal comma": Case(
        CHECK, "row 2: duration_s … '40,0'", "correct this cell", cell("recordings", 2, "duration_s", "40,0")
    ),
    "unknown length": Case(
        CHECK, "row 2: duration_s … 'n/a'", "correct this cell", cell("recordings", 2, "duration_s", "n/a")
    ),
    "NaN": Case(CHECK, "events.tsv row 3: onset_s … finite", "correct this cell", cell("events", 3, "onset_s", "nan")),
    "infinity": Case(CHECK, "row 2: fps … finite", "correct this cell", cell("recordings", 2, "fps", "inf")),
    "negative length": Case(
        RUN, "row 2: duration_s … greater than 0", "correct this cell", cell("recordings", 2, "duration_s", "-40")
    ),
    "a length that no memory holds": Case(
        RUN, "row 2: duration_s … less than or equal", "correct this cell", cell("recordings", 2, "duration_s", "4e12")
    ),
    "no pixel wide": Case(
        CHECK, "row 2: width … greater than 0", "correct this cell", cell("recordings", 2, "width", "0")
    ),
    "no id": Case(CHECK, "row 2: recording_id", "correct this cell", cell("recordings", 2, "recording_id", "")),
    "id with a path in it": Case(
        RUN, "row 2: recording_id … slash", "rename it", cell("recordings", 2, "recording_id", "../../p0")
    ),
    "id that hides its file": Case(
        CHECK, "row 2: subject_id … leading dot", "rename it", cell("recordings", 2, "subject_id", ".p0")
    ),
    "a terminal's codes in an id": Case(
        CHECK, "row 2: subject_id … control character", "rename it", cell("recordings", 2, "subject_id", "p\x1b[2Jx")
    ),
    "half a hash": Case(
        CHECK, "row 2: sha256 … 'abc123'", "correct this cell", cell("recordings", 2, "sha256", "abc123")
    ),
    "same id twice": Case(
        RUN,
        "recordings.tsv row 14: recording id 'p0r0' stands twice",
        "keep one",
        again("recordings", 2, path="x.mp4", sha256="0" * 64),
    ),
    "same id but for capitals": Case(
        CHECK,
        "row 14: recording id 'P0R0' stands twice",
        "keep one",
        again("recordings", 2, recording_id="P0R0", path="x.mp4", sha256="0" * 64),
    ),
    "same path twice": Case(
        CHECK, "row 14: path 'videos/p0r0.mp4' stands twice", "keep one", again("recordings", 2, recording_id="new")
    ),
    "same video by another path": Case(
        CHECK,
        "row 14: … sha256 … stands twice",
        "keep one",
        again("recordings", 2, recording_id="new", path="./videos/p0r0.mp4"),
    ),
    "absolute path": Case(
        RUN, "row 2: path: must be relative … '/etc/passwd'", "correct", cell("recordings", 2, "path", "/etc/passwd")
    ),
    "path upwards": Case(
        RUN, "row 2: path: must … stay inside", "correct", cell("recordings", 2, "path", "../../etc/passwd")
    ),
    "species in capitals": Case(
        CHECK, "row 2: species: must be in lower case", "write 'human'", cell("recordings", 2, "species", "Human")
    ),
    "unknown split": Case(
        CHECK,
        "row 2: split … 'evaluate', 'develop' or 'pretrain'",
        "correct this cell",
        column("recordings", "split", {}, "train"),
    ),
    "subject on two sides": Case(
        RUN,
        "recordings.tsv row 3: subject 'p0' stands in more than one split",
        "the same split",
        column("recordings", "split", {"p0r0": "pretrain"}, "evaluate"),
    ),
    "subject spelt in two ways": Case(
        RUN,
        "recordings.tsv row 3: subject 'P0' is also written 'p0'",
        "in one way",
        cell("recordings", 3, "subject_id", "P0"),
    ),
    "subject of two species": Case(
        CHECK,
        "recordings.tsv row 3: subject 'p0' is of more than one species",
        "id of its own",
        both(column("recordings", "split", {}, "evaluate"), cell("recordings", 2, "species", "rat")),
    ),
    "event of an unknown recording": Case(
        RUN,
        "events.tsv row 2: recording 'p9' is not in",
        "add it there or drop",
        cell("events", 2, "recording_id", "p9"),
    ),
    "event past the end": Case(
        RUN,
        "events.tsv row 2: from 35 to 41 s lies past the end of recording 'p0r0'",
        "correct or shorten",
        cell("events", 2, "onset_s", "35"),
    ),
    "event before the first frame": Case(
        CHECK, "events.tsv row 2: onset_s … greater than or equal to 0", "correct", cell("events", 2, "onset_s", "-1")
    ),
    "event of no length": Case(
        CHECK, "events.tsv row 2: duration_s … greater than 0", "correct", cell("events", 2, "duration_s", "0")
    ),
    "overlapping events": Case(
        RUN, "events.tsv row 12 … 'p0r0' … row 2 … overlap", "merge them", again("events", 2, onset_s="22")
    ),
    "the same event twice": Case(CHECK, "events.tsv row … overlap", "merge them", again("events", 2)),
    "event of an unknown kind": Case(
        CHECK, "events.tsv row 2: event_type … 'fit'", "correct", cell("events", 2, "event_type", "fit")
    ),
    "onset of an unknown kind": Case(
        CHECK, "events.tsv row 2: onset_type … 'eeg' or 'clinical'", "correct", cell("events", 2, "onset_type", "video")
    ),
    "interval the wrong way round": Case(
        CHECK,
        "annotated_intervals.tsv row 2: end_s 40 is not after start_s 40",
        "correct the times",
        cell("annotated_intervals", 2, "start_s", "40"),
    ),
    "interval past the end": Case(
        RUN,
        "annotated_intervals.tsv row 2: … past the end of recording 'p0r0'",
        "correct or shorten",
        cell("annotated_intervals", 2, "end_s", "41"),
    ),
    "interval of an unknown recording": Case(
        CHECK,
        "annotated_intervals.tsv row 2: recording 'x'",
        "drop",
        cell("annotated_intervals", 2, "recording_id", "x"),
    ),
    "no seizure": Case(RUN, "small: task short finds 0 positive", "data describe", no_rows("events")),
    "nobody watched": Case(RUN, "small: … 0 negative clips", "data describe", no_rows("annotated_intervals")),
    "rats alone": Case(RUN, "small: … 0 positive", "data describe", column("recordings", "species", {}, "rat")),
}

VIDEOS = {
    "missing": Case(RUN, "p0r0.mp4: … 'p0r0' is missing", "put it there or drop the row", without(VIDEO)),
    "changed": Case(RUN, "p0r0.mp4: … has changed", "restore the file", video(cut, told=False)),
    "a link out of the folder": Case(
        RUN, "p0r0.mp4: links out", "put the video itself", video(link_to("/etc/hostname"), told=False)
    ),
    "a link to itself": Case(
        CHECK, "p0r0.mp4: … link to itself", "put the video itself", video(link_to("p0r0.mp4"), told=False)
    ),
    "a folder": Case(
        CHECK, "p0r0.mp4: … missing", "put it there", video(lambda path: (path.unlink(), path.mkdir()), told=False)
    ),
    "no byte": Case(RUN, "p0r0.mp4: the file is empty", "replace it", video(lambda path: path.write_bytes(b""))),
    "text": Case(RUN, "p0r0.mp4: not a video", "give MP4", video(lambda path: path.write_text("camera 2\n" * 99))),
    "a playlist": Case(
        RUN,
        "p0r0.mp4: not a video",
        "give MP4",
        video(lambda path: path.write_text("#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n")),
    ),
    "cut short": Case(RUN, "p0r0.mp4: not a video", "give MP4", video(cut)),
    "cut short with the index in front": Case(
        RUN, "p0r0.mp4: the file is cut off", "replace it by the whole", video(cut_with_index_in_front)
    ),
    "sound only": Case(RUN, "p0r0.mp4: … no video", "give the recording's video", video(sound_only)),
    "pictures blanked in the middle": Case(
        RUN, "p0r0.mp4: the frame at … cannot be decoded", "undamaged copy", video(blank_the_middle)
    ),
    "another length than stated": Case(
        RUN, "p0r0.mp4: duration_s is 40, but … says 41", "correct the row", cell("recordings", 2, "duration_s", "41")
    ),
    "another rate than stated": Case(
        RUN, "p0r0.mp4: fps is 8, but … says 25", "correct the row", cell("recordings", 2, "fps", "25")
    ),
    "validate: another size than stated": Case(
        CHECK, "p0r0.mp4: width is 48, but … says 64", "correct the row", cell("recordings", 2, "width", "64")
    ),
    "validate: changed": Case(CHECK, "p0r0.mp4: … has changed", "restore the file", video(cut, told=False)),
    "validate: cut short": Case(CHECK, "p0r0.mp4: not a video", "give MP4", video(cut)),
    "validate: sound only": Case(CHECK, "p0r0.mp4: … no video", "give the recording's video", video(sound_only)),
}


@pytest.mark.parametrize("case", FOLDERS.values(), ids=FOLDERS)
def test_bad_folder_is_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", TABLES.values(), ids=TABLES)
def test_bad_table_is_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS)
def test_bad_row_is_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", VIDEOS.values(), ids=VIDEOS)
def test_bad_video_is_refused(case, assert_refused):
    assert_refused(case)
