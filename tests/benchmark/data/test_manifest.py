"""The manifest: what is read is what was written, what is the same has one digest, and every fault names its row."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from benchmark.data.manifest import (
    EVENT_COLUMNS,
    INTERVAL_COLUMNS,
    RECORDING_COLUMNS,
    check_videos,
    read_manifest,
    write_manifest,
)
from benchmark.progress import Progress
from tasks.errors import BadInput
from tests.damage import again, cell, column, cut, drop_column, edit, put, video, without

ROW = {
    "recording_id": "r1",
    "subject_id": "p1",
    "species": "human",
    "session_id": "s1",
    "site_id": "lab",
    "camera_id": "c1",
    "path": "videos/r1.mp4",
    "sha256": "a" * 64,
    "duration_s": 100.0,
    "fps": 25.0,
    "width": 64,
    "height": 48,
    "deid_method": "none",
    "source_dataset": "test",
    "licence": "CC0",
}
RAT = {**ROW, "recording_id": "r2", "subject_id": "m1", "species": "rat", "path": "videos/r2.mp4", "sha256": "b" * 64}
EVENTS = [("r1", 20.5, 6.0, "sz_foc", "clinical", "ann", "n/a"), ("r1", 60.0, 5.0, "sz", "clinical", "ann", "0.9")]
INTERVALS = [("r1", 0.0, 50.0), ("r1", 50.0, 100.0), ("r2", 0.0, 100.0)]

QUIET = Progress(quiet=True)


def tables(recordings=(ROW, RAT), events=EVENTS, intervals=INTERVALS):
    return (
        pd.DataFrame([*recordings]),
        pd.DataFrame(events, columns=list(EVENT_COLUMNS)),
        pd.DataFrame(intervals, columns=list(INTERVAL_COLUMNS)),
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with the tables above; `tests.damage` finds it as `small`."""
    write_manifest(tmp_path / "small", *tables())
    return tmp_path / "small"


def test_what_was_written_is_read(written):
    manifest = read_manifest(written)
    recordings, events, intervals = tables()
    assert_frame_equal(manifest.recordings.drop(columns="split"), recordings, check_dtype=False)
    assert_frame_equal(manifest.events, events, check_dtype=False)
    assert_frame_equal(manifest.annotated_intervals, intervals, check_dtype=False)
    assert manifest.path_of("r2") == written / "videos" / "r2.mp4"


def test_numbers_are_numbers_and_the_rest_is_text(written):
    manifest = read_manifest(written)
    assert manifest.recordings[["duration_s", "fps"]].dtypes.tolist() == ["float64", "float64"]
    assert manifest.recordings["width"].dtype == "int64"
    assert manifest.events["confidence"].tolist() == ["n/a", "0.9"]


def test_tables_without_rows_keep_their_types(tmp_path):
    write_manifest(tmp_path, *tables(events=[], intervals=[]))
    manifest = read_manifest(tmp_path)
    assert manifest.events[["onset_s", "duration_s"]].dtypes.tolist() == ["float64", "float64"]
    assert manifest.annotated_intervals.empty


@given(st.text(st.characters(exclude_categories=("C", "Z")), max_size=12))
def test_any_printable_text_survives_writing_and_reading(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    write_manifest(folder, *tables([{**ROW, "site_id": text, "licence": f'"{text}" ', "camera_id": f"a {text}"}, RAT]))
    row = read_manifest(folder).recordings.iloc[0]
    assert (row["site_id"], row["licence"], row["camera_id"]) == (text, f'"{text}" ', f"a {text}")


def test_writing_what_was_read_gives_the_same_bytes(written, tmp_path):
    manifest = read_manifest(written)
    recordings = manifest.recordings.drop(columns="split")
    write_manifest(tmp_path / "again", recordings, manifest.events, manifest.annotated_intervals)
    for name in ("recordings", "events", "annotated_intervals"):
        assert (tmp_path / "again" / f"{name}.tsv").read_bytes() == (written / f"{name}.tsv").read_bytes()


def test_unknown_values_are_written_as_n_a(tmp_path):
    write_manifest(
        tmp_path,
        *tables([{**ROW, "camera_id": None, "site_id": float("nan")}]),
    )
    assert read_manifest_rows(tmp_path)[1][4:6] == ["n/a", "n/a"]


def read_manifest_rows(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "recordings.tsv").read_text().splitlines()]


def test_order_of_rows_and_columns_changes_no_digest(written):
    before = read_manifest(written).digest
    edit("recordings", lambda cells: cells.append(cells.pop(1)))(written.parent)
    edit("events", lambda cells: cells.insert(1, cells.pop()))(written.parent)
    edit("annotated_intervals", lambda cells: [row.reverse() for row in cells])(written.parent)
    assert read_manifest(written).digest == before


@pytest.mark.parametrize(
    "change",
    [
        cell("recordings", 2, "sha256", "c" * 64),
        cell("recordings", 2, "licence", "CC-BY"),
        cell("events", 2, "onset_s", "20.6"),
        cell("annotated_intervals", 2, "end_s", "49"),
        column("recordings", "split", {"r1": "develop"}, "pretrain"),
    ],
    ids=["sha256", "licence", "onset", "interval", "split"],
)
def test_any_change_of_content_changes_the_digest(written, change):
    before = read_manifest(written).digest
    change(written.parent)
    assert read_manifest(written).digest != before


def test_columns_of_ones_own_are_allowed_and_left_out(written):
    before = read_manifest(written)
    column("recordings", "room", {"r1": "12"}, "n/a")(written.parent)
    after = read_manifest(written)
    assert after.digest == before.digest
    assert "room" not in after.recordings


def test_without_a_split_humans_are_evaluated_and_others_pretrained_on(written):
    assert read_manifest(written).recordings["split"].tolist() == ["evaluate", "pretrain"]


def test_a_split_that_is_given_stands(written):
    column("recordings", "split", {"r1": "develop"}, "evaluate")(written.parent)
    assert read_manifest(written).recordings["split"].tolist() == ["develop", "evaluate"]


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_change_nothing(written):
    before = read_manifest(written).digest
    path = written / "recordings.tsv"
    lines = path.read_text().splitlines()
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([lines[0], "", *lines[1:], "", ""]).encode())
    assert read_manifest(written).digest == before


def test_row_numbers_are_lines_of_the_file_even_after_blank_ones(written):
    path = written / "events.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "", lines[1], "", lines[2].replace("60.0", "sixty")]) + "\n")
    with pytest.raises(BadInput, match=r"events\.tsv row 5: onset_s"):
        read_manifest(written)


def test_quoted_cells_are_read_as_a_spreadsheet_means_them(written):
    cell("recordings", 2, "site_id", '"the ""big"" lab"')(written.parent)
    cell("recordings", 2, "duration_s", '"100.0"')(written.parent)
    row = read_manifest(written).recordings.iloc[0]
    assert (row["site_id"], row["duration_s"]) == ('the "big" lab', 100.0)


def test_leading_zeros_and_the_word_na_are_text_and_stay(written):
    for table, line in (("recordings", 2), ("events", 2), ("events", 3), ("annotated_intervals", 2)):
        cell(table, line, "recording_id", "007")(written.parent)
    cell("annotated_intervals", 3, "recording_id", "007")(written.parent)
    cell("recordings", 2, "subject_id", "NA")(written.parent)
    row = read_manifest(written).recordings.iloc[0]
    assert (row["recording_id"], row["subject_id"]) == ("007", "NA")


def test_time_up_to_a_frame_past_the_end_is_rounding(written):
    cell("annotated_intervals", 4, "end_s", "100.04")(written.parent)
    read_manifest(written)
    cell("annotated_intervals", 4, "end_s", "100.06")(written.parent)
    with pytest.raises(BadInput, match=r"annotated_intervals\.tsv row 4.*past the end"):
        read_manifest(written)


@pytest.mark.parametrize(
    "other", [{"onset_type": "eeg"}, {"event_type": "bckg"}, {"onset_s": "26.5"}], ids=["eeg", "background", "after"]
)
def test_events_of_another_kind_or_that_only_touch_do_not_overlap(written, other):
    again("events", 2, **other)(written.parent)
    assert len(read_manifest(written).events) == 3


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (without("small/events.tsv"), r"events\.tsv: missing.*recording_id, onset_s"),
        (drop_column("recordings", "licence"), r"recordings\.tsv: column 'licence' is missing"),
        (cell("recordings", 3, "height", "4.5"), r"recordings\.tsv row 3: height"),
        (cell("recordings", 3, "recording_id", "R1"), r"recordings\.tsv row 3: recording id 'R1' stands twice"),
        (cell("recordings", 3, "path", "VIDEOS/R1.MP4"), r"recordings\.tsv row 3: path .* stands twice"),
        (cell("recordings", 3, "sha256", "a" * 64), r"recordings\.tsv row 3: the video .* stands twice"),
        (cell("recordings", 3, "path", "a/../../b.mp4"), r"recordings\.tsv row 3: path"),
        (cell("recordings", 3, "path", "a\\..\\b.mp4"), r"recordings\.tsv row 3: path"),
        (cell("recordings", 3, "subject_id", "=1+1"), r"recordings\.tsv row 3: subject_id"),
        (cell("recordings", 3, "subject_id", "p1"), r"recordings\.tsv row 3: subject 'p1' .* split"),
        (cell("events", 3, "recording_id", "r9"), r"events\.tsv row 3: recording 'r9'"),
        (cell("events", 3, "onset_s", "96"), r"events\.tsv row 3: from 96 to 101 s"),
        (cell("events", 3, "onset_s", "22"), r"events\.tsv row 3: .* row 2 .* overlap"),
        (cell("annotated_intervals", 3, "end_s", "50"), r"annotated_intervals\.tsv row 3: end_s 50 is not after"),
        (put("small/recordings.tsv", ""), r"recordings\.tsv: not a table"),
    ],
)
def test_fault_is_refused_with_file_and_row(written, harm, sentence):
    harm(written.parent)
    with pytest.raises(BadInput, match=sentence):
        read_manifest(written)


def test_overlap_names_the_later_seizure_whatever_the_order_of_rows(written):
    cell("events", 2, "onset_s", "62")(written.parent)
    with pytest.raises(BadInput, match=r"events\.tsv row 2: .* before the one in row 3"):
        read_manifest(written)


def test_links_may_point_within_the_folder_and_not_out_of_it(written, tmp_path):
    (written / "videos").mkdir()
    (written / "raw.mp4").write_bytes(b"x")
    (written / "videos" / "r1.mp4").symlink_to("../raw.mp4")
    read_manifest(written)
    (tmp_path / "outside.mp4").write_bytes(b"x")
    (written / "videos" / "r2.mp4").symlink_to(tmp_path / "outside.mp4")
    with pytest.raises(BadInput, match=r"r2\.mp4: links out"):
        read_manifest(written)


def test_link_of_a_folder_out_of_the_manifest_is_refused(written, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (written / "videos").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="links out"):
        read_manifest(written)


def test_manifest_in_a_linked_folder_is_fine(written, tmp_path):
    (tmp_path / "link").symlink_to(written)
    assert read_manifest(tmp_path / "link").digest == read_manifest(written).digest


@pytest.fixture
def small(data_set, tmp_path):
    shutil.copytree(data_set, tmp_path / "small")
    return tmp_path / "small"


def test_sound_videos_pass_and_are_remembered(small, tmp_path):
    manifest, memo = read_manifest(small), tmp_path / "memo.json"
    check_videos(manifest, ["p0r0", "m0r0"], memo, QUIET)
    assert {key.split("|")[0] for key in json.loads(memo.read_text())} == {
        str(small / "videos" / name) for name in ("p0r0.mp4", "m0r0.mp4")
    }


def test_remembered_video_is_not_read_again_but_a_touched_one_is(small, tmp_path):
    manifest, memo = read_manifest(small), tmp_path / "memo.json"
    check_videos(manifest, ["p0r0"], memo, QUIET)
    path = manifest.path_of("p0r0")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=times)
    check_videos(manifest, ["p0r0"], memo, QUIET)
    with pytest.raises(BadInput, match="has changed"):
        check_videos(manifest, ["p0r0"], None, QUIET)
    path.touch()
    with pytest.raises(BadInput, match="has changed"):
        check_videos(manifest, ["p0r0"], memo, QUIET)


def test_memory_is_of_the_file_so_a_changed_row_is_still_noticed(small, tmp_path):
    memo = tmp_path / "memo.json"
    check_videos(read_manifest(small), ["p0r0"], memo, QUIET)
    cell("recordings", 2, "fps", "9")(tmp_path)
    with pytest.raises(BadInput, match=r"fps is 8, but recordings\.tsv says 9"):
        check_videos(read_manifest(small), ["p0r0"], memo, QUIET)
    cell("recordings", 2, "sha256", "0" * 64)(tmp_path)
    with pytest.raises(BadInput, match="has changed"):
        check_videos(read_manifest(small), ["p0r0"], memo, QUIET)


def test_bad_video_is_not_remembered_and_those_before_it_are(small, tmp_path):
    video(cut)(tmp_path)
    memo = tmp_path / "memo.json"
    with pytest.raises(BadInput, match=r"p0r0\.mp4: not a video"):
        check_videos(read_manifest(small), ["p0r0", "m0r0"], memo, QUIET)
    assert [Path(key.split("|")[0]).name for key in json.loads(memo.read_text())] == ["m0r0.mp4"]


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": "b"}', "{", "\x00"])
def test_spoilt_memo_is_made_anew(small, tmp_path, content):
    memo = tmp_path / "memo.json"
    memo.write_text(content)
    check_videos(read_manifest(small), ["p0r0"], memo, QUIET)
    assert any("p0r0.mp4" in key for key in json.loads(memo.read_text()))


def test_only_the_recordings_asked_for_are_looked_at(small, tmp_path):
    (small / "videos" / "m0r0.mp4").unlink()
    manifest = read_manifest(small)
    check_videos(manifest, ["p0r0"], None, QUIET)
    with pytest.raises(BadInput, match=r"m0r0\.mp4: the video of recording 'm0r0' is missing"):
        check_videos(manifest, ["p0r0", "m0r0"], None, QUIET)


def test_table_may_round_length_and_rate(small):
    manifest = read_manifest(small)
    rounded = manifest.recordings.assign(duration_s=lambda t: t["duration_s"] + 0.09, fps=lambda t: t["fps"] * 1.009)
    check_videos(replace(manifest, recordings=rounded), ["p0r0"], None, QUIET)


def test_documented_columns_are_those_of_the_tables():
    assert tuple(ROW) == RECORDING_COLUMNS
    assert EVENT_COLUMNS[:3] == ("recording_id", "onset_s", "duration_s")
    assert INTERVAL_COLUMNS == ("recording_id", "start_s", "end_s")
