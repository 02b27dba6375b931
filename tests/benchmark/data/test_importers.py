from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.data.importers import IMPORTERS, import_data
from benchmark.data.manifest import Manifest, read_manifest
from benchmark.files import sha256_of
from benchmark.progress import Progress
from tasks.errors import BadInput
from tests.videos import make_video

QUIET = Progress(quiet=True)
SZCORE_HEADER = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"


def imported(kind: str, src: Path, out: Path) -> Manifest:
    import_data(kind, src, out, QUIET)
    return read_manifest(out)


def video(path: Path, number: int = 0, seconds: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    make_video(path, "mpeg4", frames=round(25 * seconds), first_number=number)
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    video(src / "films" / "a.mp4")
    video(src / "films" / "b.avi", 100)
    write(
        src / "recordings.csv",
        "recording_id,subject_id,species,path\nr1,h1,human,films/a.mp4\nr2,m1,mouse,films/b.avi\n",
    )
    write(
        src / "events.tsv", "recording_id\tonset_s\tduration_s\tevent_type\tonset_type\nr1\t1.5\t0.25\tsz\tclinical\n"
    )
    write(src / "annotated_intervals.tsv", "recording_id\tstart_s\tend_s\nr1\t0\t2\nr2\t0\t1.5\n")
    return src


@pytest.fixture
def szcore(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    for number, name in enumerate(
        ["sub-01/ses-01/sub-01_ses-01_run-00", "sub-01_ses-02_run-00", "sub-02_run-00", "p3/x"]
    ):
        video(src / f"{name}.mp4", 100 * number)
    row = "\tall\t2024-05-06 07:08:09\t2.0\n"
    write(src / "sub-01/ses-01/sub-01_ses-01_run-00_events.tsv", f"{SZCORE_HEADER}1.2\t0.4\tsz_foc_ia\tn/a{row}")
    write(
        src / "sub-01_ses-02_run-00.tsv",
        f"{SZCORE_HEADER}0\t0.5\tbckg\tn/a{row}0.5\t0.25\tsz\t0.9{row}1.5\t0.5\tbckg\tn/a{row}",
    )
    return src


def rodepil(src: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        video(src / "Seizure_detection_10sec" / name, 100 * number)
    return src


SEIZURE = "1/20230405_V7_Left_R12_250_Label_1.avi"
NORMAL = "0/20230406_V8_Right_R13_250_Label_0.avi"


def test_tables_are_completed_by_what_the_videos_tell(tables: Path, tmp_path: Path) -> None:
    manifest = imported("tables", tables, tmp_path / "out")
    first, second = manifest.recordings.to_dict("records")
    assert first["sha256"] == sha256_of(tables / "films/a.mp4")
    assert (first["duration_s"], first["fps"], first["width"], first["height"]) == (2.0, 25.0, 64, 48)
    assert first["path"] == "videos/r1.mp4"
    assert second["path"] == "videos/r2.avi"
    assert manifest.events["onset_s"].tolist() == [1.5]
    assert manifest.annotated_intervals["end_s"].tolist() == [2.0, 1.5]


def test_what_a_table_states_is_kept_and_a_wrong_hash_is_refused(tables: Path, tmp_path: Path) -> None:
    table = pd.read_csv(tables / "recordings.csv").assign(fps=[24.9, "n/a"], sha256="n/a", split="develop")
    table.to_csv(tables / "recordings.csv", index=False)
    manifest = imported("tables", tables, tmp_path / "out")
    assert manifest.recordings["fps"].tolist() == [24.9, 25.0]
    assert manifest.recordings["split"].tolist() == ["develop", "develop"]
    table.assign(sha256=["n/a", "0" * 64]).to_csv(tables / "recordings.csv", index=False)
    with pytest.raises(BadInput, match=r"row 3.*sha256"):
        imported("tables", tables, tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        (
            "events.tsv",
            "recording_id\tonset_s\tduration_s\tevent_type\tonset_type\nr1\t9\t1\tsz\teeg\n",
            "events.tsv row 2",
        ),
        ("events.tsv", "recording_id\tonset_s\nr1\t9\n", "events.tsv: column 'duration_s' is missing"),
        ("recordings.csv", "recording_id,subject_id,species,path\nr1,h1,human,films/none.mp4\n", "row 2: no video"),
        (
            "recordings.csv",
            "recording_id,subject_id,species,path\nr1,h1,human,../src2/a.mp4\n",
            "row 2: path .* leaves",
        ),
        ("recordings.csv", "recording_id,subject_id,species,path\n../r,h1,human,films/a.mp4\n", "row 2: recording_id"),
        (
            "recordings.csv",
            "recording_id,subject_id,species,path\nr1,h1,human,recordings.csv\n",
            "recordings.csv: not a",
        ),
        ("recordings.tsv", "recording_id\n", "recordings.csv is there too"),
    ],
)
def test_a_fault_in_a_table_names_the_row_and_leaves_nothing(
    tables: Path, tmp_path: Path, name: str, text: str, fault: str
) -> None:
    write(tables / name, text)
    with pytest.raises(BadInput, match=fault):
        import_data("tables", tables, tmp_path / "out", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_szcore_gives_subjects_sessions_and_relative_events(szcore: Path, tmp_path: Path) -> None:
    manifest = imported("szcore", szcore, tmp_path / "out")
    recordings = manifest.recordings
    assert sorted(zip(recordings["subject_id"], recordings["session_id"], strict=True)) == [
        ("p3", "n/a"),
        ("sub-01", "ses-01"),
        ("sub-01", "ses-02"),
        ("sub-02", "n/a"),
    ]
    assert set(recordings["split"]) == {"evaluate"}
    assert manifest.events[["onset_s", "duration_s", "event_type", "onset_type", "confidence"]].to_numpy().tolist() == [
        [1.2, 0.4, "sz_foc_ia", "eeg", "n/a"],
        [0.5, 0.25, "sz", "eeg", "0.9"],
    ]


def test_szcore_watched_time_is_what_the_table_covers(szcore: Path, tmp_path: Path) -> None:
    manifest = imported("szcore", szcore, tmp_path / "out")
    session = dict(zip(manifest.recordings["recording_id"], manifest.recordings["session_id"], strict=True))
    watched = [(session[name], start, end) for name, start, end in manifest.annotated_intervals.itertuples(index=False)]
    # Seizure rows alone: the whole recording. With bckg rows: what rows cover. No table: nothing.
    assert sorted(watched) == [("ses-01", 0.0, 2.0), ("ses-02", 0.0, 0.75), ("ses-02", 1.5, 2.0)]


def test_szcore_watched_time_ends_with_the_recording_that_was_annotated(tmp_path: Path) -> None:
    video(tmp_path / "src" / "sub-01.mp4")
    write(tmp_path / "src" / "sub-01.tsv", f"{SZCORE_HEADER}0.5\t0.5\tsz\tn/a\tn/a\tn/a\t1.25\n")
    manifest = imported("szcore", tmp_path / "src", tmp_path / "out")
    assert manifest.annotated_intervals[["start_s", "end_s"]].to_numpy().tolist() == [[0.0, 1.25]]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("0\t9\tsz\n", r"sub-01\.tsv row 2: from 0 s for 9 s"),
        ("0\t1\tsz\n-1\t1\tsz\n", r"sub-01\.tsv row 3: onset '-1'"),
        ("nan\t1\tsz\n", "row 2: onset"),
        ("0\t1\timpd\n", "row 2: eventType 'impd'"),
        ("0\t1\tsz\n0.5\t1\tsz\n", "overlap"),
    ],
)
def test_a_fault_in_an_szcore_table_is_named(tmp_path: Path, rows: str, fault: str) -> None:
    video(tmp_path / "src" / "sub-01.mp4")
    write(tmp_path / "src" / "sub-01.tsv", f"onset\tduration\teventType\n{rows}")
    with pytest.raises(BadInput, match=fault):
        import_data("szcore", tmp_path / "src", tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


def test_dates_in_folders_and_tables_do_not_enter(szcore: Path, tmp_path: Path) -> None:
    video(szcore / "p4" / "2024-05-06" / "morning.mp4", 900)
    video(szcore / "p4" / "07.05.2024" / "evening.mp4", 1000)
    import_data("szcore", szcore, tmp_path / "out", QUIET)
    names = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*"))
    everything = names + "".join((tmp_path / "out" / f"{table}.tsv").read_text() for table in ("recordings", "events"))
    assert "2024" not in everything
    assert "07:08" not in everything


def test_rodepil_takes_rats_and_labels_from_the_names(tmp_path: Path) -> None:
    manifest = imported("rodepil", rodepil(tmp_path / "src", SEIZURE, NORMAL), tmp_path / "out")
    rows = manifest.recordings.set_index("subject_id")
    assert sorted(rows.index) == ["rat-R12", "rat-R13"]
    assert set(rows["species"]) == {"rat"}
    assert set(rows["split"]) == {"pretrain"}
    [event] = manifest.events.to_dict("records")
    assert event["recording_id"] == rows.loc["rat-R12", "recording_id"]
    assert (event["onset_s"], event["duration_s"], event["onset_type"]) == (0.0, 2.0, "clinical")
    assert manifest.annotated_intervals["end_s"].tolist() == [2.0, 2.0]
    assert "2023" not in (tmp_path / "out" / "recordings.tsv").read_text()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("0/20230405_V7_Left_R12_250_Label_1.avi", "does not agree with its folder"),
        ("1/clip.avi", "not named"),
        ("1/20230405_V7_Left_R12_250_Label_2.avi", "not named"),
    ],
)
def test_a_rodepil_clip_with_a_doubtful_label_is_refused(tmp_path: Path, name: str, fault: str) -> None:
    src = rodepil(tmp_path / "src", SEIZURE, name)
    with pytest.raises(BadInput, match=fault):
        import_data("rodepil", src, tmp_path / "out", QUIET)


def test_an_unreadable_rodepil_file_is_left_out_counted_and_named_without_its_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    src = rodepil(tmp_path / "src", SEIZURE, NORMAL, NORMAL.replace("R13", "R14"))
    broken = src / "Seizure_detection_10sec" / NORMAL
    broken.write_bytes(broken.read_bytes()[:3000])
    import_data("rodepil", src, tmp_path / "out", Progress())
    manifest = read_manifest(tmp_path / "out")
    assert sorted(manifest.recordings["subject_id"]) == ["rat-R12", "rat-R14"]
    assert len(list((tmp_path / "out" / "videos").iterdir())) == len(manifest.annotated_intervals) == 2
    [row] = pd.read_csv(tmp_path / "out" / "left_out.tsv", sep="\t").to_dict("records")
    said = capsys.readouterr().err
    assert f"{broken}: left out (1): {row['reason']}" in said
    assert "1 of 3 videos left out" in said
    assert (row["number"], row["subject_id"], row["sha256"]) == (1, "rat-R13", sha256_of(broken))
    assert "2023" not in (tmp_path / "out" / "left_out.tsv").read_text()


@pytest.mark.parametrize("sound", [0, 18])
def test_a_rodepil_folder_of_too_many_unreadable_files_is_refused(tmp_path: Path, sound: int) -> None:
    names = [SEIZURE.replace("V7", f"V{n}") for n in range(sound + 1 + bool(sound))]
    src = rodepil(tmp_path / "src", *names)
    for name in names[sound:]:
        (src / "Seizure_detection_10sec" / name).write_bytes(bytes(100))
    with pytest.raises(BadInput, match=r"videos that cannot be read .* more than single files"):
        import_data("rodepil", src, tmp_path / "out", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_rats_are_numbered_alike_in_every_file_where_a_name_holds_a_date(tmp_path: Path) -> None:
    rats = ["R20230401", "R20230402", "R20230401"]
    names = [f"{n % 2}/20230405_V{n}_Left_{rat}_250_Label_{n % 2}.avi" for n, rat in enumerate(rats)]
    manifest = imported("rodepil", rodepil(tmp_path / "src", *names), tmp_path / "out")
    number = {
        sha256_of(tmp_path / "src/Seizure_detection_10sec" / name): rat for name, rat in zip(names, rats, strict=True)
    }
    pairs = {(number[row["sha256"]], row["subject_id"]) for row in manifest.recordings.to_dict("records")}
    assert pairs == {("R20230401", "rat-1"), ("R20230402", "rat-2")}


def test_the_same_video_twice_is_left_out_once_unless_the_labels_differ(tmp_path: Path) -> None:
    src = rodepil(tmp_path / "src", SEIZURE, NORMAL)
    root = src / "Seizure_detection_10sec"
    (root / NORMAL.replace("_250_", "_251_")).write_bytes((root / NORMAL).read_bytes())
    assert len(imported("rodepil", src, tmp_path / "out").recordings) == 2
    (root / SEIZURE.replace("_250_", "_251_")).write_bytes((root / NORMAL).read_bytes())
    with pytest.raises(BadInput, match="annotated otherwise"):
        import_data("rodepil", src, tmp_path / "other", QUIET)


@pytest.mark.parametrize("kind", IMPORTERS)
def test_originals_stay_and_videos_are_linked_not_doubled(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    fixture = kind.partition("-")[0]
    src: Path = rodepil(tmp_path / "src", SEIZURE, NORMAL) if kind == "rodepil" else request.getfixturevalue(fixture)
    before = {path: path.read_bytes() for path in src.rglob("*") if path.is_file()}
    manifest = imported(kind, src, tmp_path / "out")
    assert {path: path.read_bytes() for path in src.rglob("*") if path.is_file()} == before
    originals = {os.stat(path).st_ino for path in before}
    for row in manifest.recordings.to_dict("records"):
        path = manifest.path_of(row["recording_id"])
        assert path.parent == tmp_path / "out" / "videos"
        assert os.stat(path).st_ino in originals
        assert row["sha256"] == sha256_of(path)


def test_importing_again_gives_the_same_manifest(szcore: Path, tmp_path: Path) -> None:
    assert imported("szcore", szcore, tmp_path / "a").digest == imported("szcore", szcore, tmp_path / "b").digest


def test_an_empty_folder_may_be_the_target_and_a_filled_one_may_not(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(imported("tables", tables, tmp_path / "empty").recordings) == 2
    with pytest.raises(BadInput, match="not empty"):
        import_data("tables", tables, tmp_path / "empty", QUIET)
    with pytest.raises(BadInput, match="lies inside"):
        import_data("tables", tables, tables / "out", QUIET)


def test_an_unknown_kind_a_missing_folder_and_one_without_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with pytest.raises(BadInput, match="tables, szcore, szcore-clinical, rodepil"):
        import_data("edf", tmp_path / "src", tmp_path / "out", QUIET)
    with pytest.raises(BadInput, match="no such folder"):
        import_data("tables", tmp_path / "none", tmp_path / "out", QUIET)
    for kind in IMPORTERS:
        with pytest.raises(BadInput, match="src"):
            import_data(kind, tmp_path / "src", tmp_path / "out", QUIET)


def test_a_broken_video_leaves_nothing_behind(szcore: Path, tmp_path: Path) -> None:
    (szcore / "sub-09.mp4").write_bytes(np.zeros(4000, dtype=np.uint8).tobytes())
    with pytest.raises(BadInput, match=r"sub-09\.mp4"):
        import_data("szcore", szcore, tmp_path / "out", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize(("kind", "onset_type"), [("szcore", "eeg"), ("szcore-clinical", "clinical")])
def test_bids_names_pair_a_video_with_its_events_and_the_kind_says_what_was_marked(
    tmp_path: Path, kind: str, onset_type: str
) -> None:
    video(tmp_path / "src" / "sub-01_ses-01_video.mp4")
    write(tmp_path / "src" / "sub-01_ses-01_events.tsv", f"{SZCORE_HEADER}0.5\t0.5\tsz\tn/a\tn/a\tn/a\t2\n")
    manifest = imported(kind, tmp_path / "src", tmp_path / "out")
    assert manifest.events[["onset_s", "onset_type"]].to_numpy().tolist() == [[0.5, onset_type]]


def test_an_event_table_that_no_video_claims_is_refused(tmp_path: Path) -> None:
    video(tmp_path / "src" / "sub-01.mp4")
    write(tmp_path / "src" / "sub-1_events.tsv", f"{SZCORE_HEADER}0.5\t0.5\tsz\tn/a\tn/a\tn/a\t2\n")
    with pytest.raises(BadInput, match=r"sub-1_events\.tsv: no video of this name"):
        imported("szcore", tmp_path / "src", tmp_path / "out")
    assert not (tmp_path / "out").exists()
