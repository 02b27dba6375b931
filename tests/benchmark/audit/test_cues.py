"""Cues of real files: what is seen is what was drawn, and it is seen once."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.audit import cues
from benchmark.audit.cues import CueTable, cue_tables, fact_cues, light_of, room_of
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.encode import write_video
from benchmark.data.manifest import read_manifest, write_manifest
from benchmark.files import sha256_of
from benchmark.progress import Progress
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task
from tests.videos import make_video

REAL = Path(__file__).parents[4] / "shared" / "real_videos"
QUIET = Progress(quiet=True)
PLAIN = {
    "subject_id": "a",
    "species": "human",
    "session_id": "s",
    "site_id": "lab",
    "camera_id": "c",
    "deid_method": "none",
    "source_dataset": "test",
    "licence": "CC0",
    "fps": 10.0,
    "width": 64,
    "height": 48,
}


def _data(folder: Path, cache: Path) -> TaskData:
    """Every 5 s of what was watched is a negative clip."""
    task, protocol = load_task("forecast_5s"), load_protocol("patient_disjoint", negatives_per_positive=None)
    return TaskData(read_manifest(folder), task, protocol, 0, open_stores(cache), cache)


def _folder(folder: Path, videos: dict[str, Callable[[float], np.ndarray]], seconds: float = 10.0) -> Path:
    """Recordings at 10 frames a second, drawn by a function of time."""
    rows, watched = [], []
    for name, draw in videos.items():
        path = folder / f"{name}.mp4"
        write_video(path, (draw(n / 10) for n in range(round(10 * seconds))), Fraction(10), quality=4)
        rows.append({**PLAIN, "recording_id": name, "path": path.name, "sha256": sha256_of(path)})
        watched.append((name, 0.0, seconds))
    events = pd.DataFrame(columns=["recording_id", "onset_s", "duration_s", "event_type"])
    events = events.assign(onset_type=[], annotator_id=[], confidence=[])
    intervals = pd.DataFrame(watched, columns=["recording_id", "start_s", "end_s"])
    write_manifest(folder, pd.DataFrame(rows).assign(duration_s=seconds), events, intervals)
    return folder


def _plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((48, 64, 3), (red, green, blue), dtype=np.uint8)


def _by_name(tables: tuple[CueTable, ...] | list[CueTable]) -> dict[str, CueTable]:
    return {table.name.removeprefix("label-from-"): table for table in tables}


def test_position_counts_from_the_start_the_end_and_the_middle() -> None:
    rows = pd.DataFrame({"clip_id": ["x"], "start_s": [10.0], "end_s": [15.0], "duration_s": [100.0], **PLAIN})
    position = _by_name(fact_cues(rows))["position"].numbers.loc["x"]
    assert position.tolist() == [10.0, 85.0, 37.5, 0.1, 0.375]


def test_the_tables_hold_what_the_manifest_says() -> None:
    rows = pd.DataFrame({"clip_id": ["x"], "start_s": [10.0], "end_s": [15.0], "duration_s": [100.0], **PLAIN})
    tables = _by_name(fact_cues(rows))
    assert tables["duration"].numbers.loc["x"].tolist() == [100.0, 5.0]
    assert tables["rate"].categories.loc["x"].tolist() == ["10.00"]
    assert tables["size"].categories.loc["x"].tolist() == ["64x48"]
    assert tables["camera"].categories.loc["x"].tolist() == ["lab", "lab / c"]


def test_light_of_a_frame_worked_out_by_hand() -> None:
    """Left half (200, 100, 0), right half (100, 100, 0): grey 118.5 and 88.6; rg 100 and 0; yb 150 and 100."""
    frame = np.zeros((2, 2, 3), dtype=np.uint8)
    frame[:, 0], frame[:, 1] = (200, 100, 0), (100, 100, 0)
    colourful = np.hypot(50, 25) + 0.3 * np.hypot(50, 125)
    assert light_of(frame) == pytest.approx([103.55, 14.95, 150, 50, 100, 0, 0, 0, colourful, 150], rel=1e-5)


def test_a_grey_picture_has_no_colour() -> None:
    assert light_of(_plain(77, 77, 77))[-2:].tolist() == [0, 0]


def test_the_room_is_what_never_moves_whatever_the_light() -> None:
    """A cell that is lit in the minority of looks is somebody passing; half and double light is the same room."""
    still = np.arange(4.0).reshape(2, 2)
    passing = still + np.array([[50, 0], [0, 0]])
    room = room_of([still, passing, still])
    assert room == pytest.approx(room_of([2 * still + 10] * 3))
    assert room == pytest.approx((np.arange(4) - 1.5) / np.std(np.arange(4)))
    assert room_of([np.ones((2, 2))]).tolist() == [0, 0, 0, 0]


def test_clips_are_seen_by_themselves_and_the_room_by_recording(tmp_path: Path) -> None:
    """Dark and grey for 5 s, then bright and red; a shelf at the left that stays."""

    def draw(time_s: float) -> np.ndarray:
        image = _plain(40, 40, 40) if time_s < 5 else _plain(200, 80, 80)
        image[:, :16] = 120
        return image

    tables = _by_name(cue_tables(_data(_folder(tmp_path, {"r": draw}), tmp_path / "cache"), tmp_path / "cache", QUIET))
    dark, bright = tables["brightness"].numbers["mean of red"]
    assert dark == pytest.approx(60, abs=3)
    assert bright == pytest.approx(180, abs=3)
    assert tables["time-of-day"].categories["picture"].tolist() == ["infrared or grey", "colour"]
    room = tables["room"].numbers.to_numpy()
    assert room.shape == (2, 64)
    assert (room[0] == room[1]).all()
    codec = tables["codec"]
    assert codec.categories.iloc[0].tolist() == ["h264", "High", "yuv420p", "mov,mp4,m4a,3gp,3g2,mj2"]
    bits = 8 * (tmp_path / "r.mp4").stat().st_size / 10 / 1000
    assert codec.numbers["kilobits per second"].tolist() == pytest.approx([bits, bits], abs=1e-3)


def test_rows_are_in_the_order_of_clip_ids_in_all_nine_tables(tmp_path: Path) -> None:
    data = _data(_folder(tmp_path, {"b": lambda _: _plain(9, 9, 9), "a": lambda _: _plain(99, 9, 9)}), tmp_path / "c")
    tables = cue_tables(data, tmp_path / "c", QUIET)
    assert len({table.name for table in tables}) == 9
    for table in tables:
        assert list(table.numbers.index) == list(table.categories.index) == sorted(data.pool["clip_id"])
        assert len(table.numbers.columns) + len(table.categories.columns)
        assert np.isfinite(table.numbers.to_numpy()).all()


def _kept(cache: Path) -> list[Path]:
    return sorted((cache / "cues").rglob("*.json"))


@pytest.fixture
def seen_once(tmp_path: Path) -> tuple[TaskData, Path, tuple[CueTable, ...]]:
    cache = tmp_path / "cache"
    data = _data(_folder(tmp_path / "data", {"r": lambda t: _plain(int(20 * t), 9, 9)}), cache)
    return data, cache, cue_tables(data, cache, QUIET)


def test_a_second_time_no_video_is_opened(
    seen_once: tuple[TaskData, Path, tuple[CueTable, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache, first = seen_once

    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(cues, "probe", refuse)
    for one, other in zip(first, cue_tables(data, cache, QUIET), strict=True):
        pd.testing.assert_frame_equal(one.numbers, other.numbers)
        pd.testing.assert_frame_equal(one.categories, other.categories)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"light": [1], "room": [2], "facts": [], "bits_per_s": 1}'])
def test_a_damaged_cache_is_looked_at_anew(seen_once: tuple[TaskData, Path, tuple[CueTable, ...]], text: str) -> None:
    data, cache, first = seen_once
    assert len(_kept(cache)) == 3  # two clips and the recording
    for path in _kept(cache):
        path.write_text(text)
    again = cue_tables(data, cache, QUIET)
    pd.testing.assert_frame_equal(_by_name(first)["brightness"].numbers, _by_name(again)["brightness"].numbers)
    assert all(path.read_text() != text for path in _kept(cache))
    assert os.stat(cache / "cues").st_mode & 0o077 == 0


def test_a_video_that_has_changed_is_refused(seen_once: tuple[TaskData, Path, tuple[CueTable, ...]]) -> None:
    data, cache, _ = seen_once
    make_video(data.manifest.path_of("r"))
    with pytest.raises(BadInput, match="has changed since the manifest was written"):
        cue_tables(data, cache, QUIET)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real recordings here")
def test_real_recordings_give_all_nine_cues(tmp_path: Path) -> None:
    """Odd rates, MPEG-4 in AVI, 1080p too short for a window."""
    tables = _by_name(cue_tables(_data(REAL, tmp_path), tmp_path, QUIET))
    names = tables["codec"].categories
    assert {"h264", "mpeg4"} == set(names["codec"])
    assert all(np.isfinite(table.numbers.to_numpy()).all() for table in tables.values())
    assert tables["time-of-day"].categories["picture"].eq("colour").all()
    assert not any(clip.startswith("human_1080p") for clip in names.index)
