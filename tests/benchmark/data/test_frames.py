from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmark.data.frames import VIEWS, FrameStore, Request, Sampling, sample_times
from benchmark.files import sha256_of
from tasks.errors import BadInput
from tests.videos import make_video, numbers_of

LAST = Sampling(frames=4, spacing_s=0.08, place="last", size=24)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    paths = [folder / f"v{n}.mp4" for n in range(3)]
    for number, path in enumerate(paths):
        make_video(path, frames=100, first_number=1000 * number, options={"g": "12"})
    return paths


def requests_of(path: Path, starts: list[float], length_s: float = 1.0) -> list[Request]:
    return [Request(path, sha256_of(path), start, start + length_s) for start in starts]


def test_last_ends_one_spacing_before_the_window_ends() -> None:
    assert sample_times(10.0, 15.0, Sampling(4, 0.5, "last", 8)).tolist() == [[13.0, 13.5, 14.0, 14.5]]


def test_centre_leaves_as_much_before_as_after_the_span() -> None:
    assert sample_times(10.0, 15.0, Sampling(4, 0.5, "centre", 8)).tolist() == [[11.5, 12.0, 12.5, 13.0]]


def test_uniform_takes_the_middle_of_equal_parts_and_ignores_the_spacing() -> None:
    assert sample_times(10.0, 15.0, Sampling(5, 99.0, "uniform", 8)).tolist() == [[10.5, 11.5, 12.5, 13.5, 14.5]]


def test_several_views_go_from_the_first_span_to_the_last() -> None:
    times = sample_times(10.0, 15.0, Sampling(2, 0.5, "several", 8))
    assert times.tolist() == [[10.0, 10.5], [12.0, 12.5], [14.0, 14.5]]


def test_no_number_of_frames_means_as_many_as_fit() -> None:
    assert sample_times(0.0, 5.0, Sampling(None, 1 / 15, "last", 8)).shape == (1, 75)
    assert sample_times(0.0, 0.3, Sampling(None, 0.1, "last", 8)).shape == (1, 3)


@pytest.mark.parametrize("frames", [51, None])
def test_a_span_that_does_not_fit_is_refused_not_padded(frames: int | None) -> None:
    with pytest.raises(BadInput, match="too short"):
        sample_times(0.0, 5.0 if frames else 0.05, Sampling(frames, 0.1, "last", 8))


@pytest.mark.parametrize("changes", [{"frames": 0}, {"spacing_s": 0.0}, {"size": 0}])
def test_a_sampling_of_nothing_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="above 0"):
        Sampling(**{"frames": 4, "spacing_s": 0.1, "place": "last", "size": 8, **changes})  # type: ignore[arg-type]


@given(
    start=st.floats(0, 1e5),
    window=st.floats(0.5, 10),
    frames=st.integers(1, 40),
    spacing=st.floats(0.01, 1),
    place=st.sampled_from(["last", "centre", "uniform", "several"]),
)
def test_no_time_is_before_the_window_or_at_its_end_or_after(
    start: float, window: float, frames: int, spacing: float, place: str
) -> None:
    assume(place == "uniform" or frames * spacing <= window)
    times = sample_times(start, start + window, Sampling(frames, spacing, place, 8))  # type: ignore[arg-type]
    assert times.shape == (VIEWS if place == "several" else 1, frames)
    assert (times >= start - 1e-6).all()
    assert (times < start + window - 1e-3).all()
    assert (np.diff(times, axis=1) > 0).all()


def test_a_clip_holds_the_frames_of_its_times(tmp_path: Path, videos: list[Path]) -> None:
    store = FrameStore(tmp_path / "store")
    [request] = requests_of(videos[1], [2.0])
    assert store.ensure([request], LAST) == 1
    frames = store.open(store.key(request, LAST))
    assert frames.shape == (1, 4, 24, 24, 3)
    assert numbers_of(frames[0]) == [1067, 1069, 1071, 1073]  # 2.68, 2.76, 2.84, 2.92 s at 25 frames a second
    assert not frames.flags.writeable


@pytest.mark.parametrize("workers", [1, 3])
def test_every_clip_of_every_video_is_decoded_once_whatever_the_workers(
    tmp_path: Path, videos: list[Path], workers: int
) -> None:
    store = FrameStore(tmp_path / "store")
    starts = [2.0, 0.0, 0.4, 3.0, 0.8]
    requests = [request for path in videos for request in requests_of(path, starts)]
    sampling = Sampling(frames=3, spacing_s=0.04, place="several", size=24)
    told: list[tuple[int, int]] = []
    decoded = store.ensure(
        [*requests, requests[0]], sampling, workers=workers, progress=lambda done, total: told.append((done, total))
    )
    assert decoded == 15
    assert told == [(done, 15) for done in range(16)]
    clips = store.read([store.key(request, sampling) for request in requests])
    assert clips.shape == (15, 3, 3, 24, 24, 3)
    for index, clip in enumerate(clips):
        first = 1000 * (index // 5) + round(25 * starts[index % 5])
        assert [numbers_of(view) for view in clip] == [
            [first + by, first + by + 1, first + by + 2] for by in (0, 11, 22)
        ]


def test_nothing_is_opened_where_everything_is_there(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", frames=50)
    requests = requests_of(tmp_path / "v.mp4", [0.0, 0.5])
    store = FrameStore(tmp_path / "store")
    assert store.ensure(requests, LAST) == 2
    (tmp_path / "v.mp4").unlink()
    assert store.ensure(requests, LAST) == 0
    assert store.ensure([], LAST) == 0


def test_only_what_is_missing_is_decoded(tmp_path: Path, videos: list[Path]) -> None:
    store = FrameStore(tmp_path / "store")
    assert store.ensure(requests_of(videos[0], [0.0, 1.0]), LAST) == 2
    assert store.ensure(requests_of(videos[0], [0.0, 1.0, 2.0]), LAST) == 1


@pytest.mark.parametrize("damage", ["cut", "emptied", "other shape", "text"])
def test_a_damaged_store_file_is_decoded_again(tmp_path: Path, videos: list[Path], damage: str) -> None:
    store = FrameStore(tmp_path / "store")
    [request] = requests_of(videos[0], [1.0])
    store.ensure([request], LAST)
    key = store.key(request, LAST)
    good = np.array(store.open(key))
    [file] = (tmp_path / "store").rglob("*.npy")
    if damage == "other shape":
        np.save(file, good[:, :2])
    else:
        file.write_bytes({"cut": file.read_bytes()[:-100], "emptied": b"", "text": b"frames"}[damage])
    assert store.ensure([request], LAST) == 1
    assert np.array_equal(store.open(key), good)


def test_a_bad_video_is_named_and_the_finished_clips_of_others_stay(tmp_path: Path, videos: list[Path]) -> None:
    store = FrameStore(tmp_path / "store")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    good, bad = requests_of(videos[0], [0.0, 1.0]), requests_of(broken, [0.0])
    with pytest.raises(BadInput, match="broken"):
        store.ensure([*good, *bad], LAST)
    assert store.ensure(good, LAST) == 0
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_a_clip_that_cannot_be_decoded_is_told_once_its_video_was_opened_and_then_from_memory(
    tmp_path: Path, videos: list[Path]
) -> None:
    store, bad = FrameStore(tmp_path / "store"), tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    lost = requests_of(bad, [0.0, 1.0])
    requests = [*requests_of(videos[0], [0.0]), *lost]
    tellings: list[list[tuple[Request, str]]] = []
    told: list[tuple[int, int]] = []
    for _ in range(2):
        tellings.append([])
        store.ensure(
            requests,
            LAST,
            workers=2,
            progress=lambda done, total: told.append((done, total)),
            leave_out=lambda *fault: tellings[-1].append(fault),
        )
        bad.unlink(missing_ok=True)
    assert [request for request, _ in tellings[0]] == lost
    assert tellings[1] == tellings[0]
    assert all(reason.startswith("not a video") for _, reason in tellings[0])
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]
    with pytest.raises(BadInput, match=r"bad\.mp4: cannot be read"):
        store.ensure(requests, LAST)  # who asks for a verdict of its own gets one


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_file_that_is_not_the_one_meant_is_no_unreadable_clip(tmp_path: Path, harm: str) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    requests = requests_of(bad, [0.0])
    bad.write_bytes(b"another") if harm == "changed" else bad.unlink()
    with pytest.raises(BadInput, match=r"bad\.mp4: (has changed|cannot be read)"):
        FrameStore(tmp_path / "store").ensure(requests, LAST, leave_out=lambda request, reason: None)
    assert not list((tmp_path / "store").rglob("*.unreadable"))


def test_whoever_is_told_of_a_fault_may_stop(tmp_path: Path, videos: list[Path]) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")

    def stop(request: Request, reason: str) -> None:
        raise BadInput(f"enough: {request.path.name}")

    with pytest.raises(BadInput, match=r"enough: bad\.mp4"):
        FrameStore(tmp_path / "store").ensure(requests_of(bad, [0.0]), LAST, leave_out=stop)


def test_the_key_covers_the_video_the_times_and_the_size_but_not_the_path(tmp_path: Path) -> None:
    store = FrameStore(tmp_path)
    request = Request(Path("a.mp4"), "1" * 64, 0.0, 5.0)
    key = store.key(request, LAST)
    assert key == store.key(Request(Path("elsewhere/b.mp4"), "1" * 64, 0.0, 5.0), LAST)
    others = [
        store.key(Request(Path("a.mp4"), "2" * 64, 0.0, 5.0), LAST),
        store.key(Request(Path("a.mp4"), "1" * 64, 0.1, 5.1), LAST),
        store.key(request, Sampling(4, 0.08, "last", 32)),
        store.key(request, Sampling(4, 0.08, "centre", 24)),
        store.key(request, Sampling(4, 0.09, "last", 24)),
        store.key(request, Sampling(4, 0.08, "several", 24)),
    ]
    assert len({key, *others}) == 7


def test_the_key_changes_with_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(Path("a.mp4"), "1" * 64, 0.0, 5.0)
    before = FrameStore(tmp_path).key(request, LAST)
    monkeypatch.setattr("benchmark.data.frames.DECODER", "another loader")
    assert FrameStore(tmp_path).key(request, LAST) != before


def test_only_the_owner_may_enter_the_store(tmp_path: Path, videos: list[Path]) -> None:
    FrameStore(tmp_path / "cache" / "frames").ensure(requests_of(videos[0], [0.0]), LAST)
    assert stat.S_IMODE((tmp_path / "cache" / "frames").stat().st_mode) == 0o700


def test_opening_what_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="run the same command again"):
        FrameStore(tmp_path).open("ab" * 32)


def test_two_processes_may_fill_one_store(tmp_path: Path, videos: list[Path]) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.benchmark.data.test_frames import *\n"
        "store = FrameStore(Path(sys.argv[1]))\n"
        "store.ensure(requests_of(Path(sys.argv[2]), [0.1 * n for n in range(25)]), LAST)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store"), str(videos[0])]
    running = [subprocess.Popen(command, cwd=Path(__file__).parents[3]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    requests = requests_of(videos[0], [0.1 * n for n in range(25)])
    store = FrameStore(tmp_path / "store")
    assert store.ensure(requests, LAST) == 0
    clips = [store.open(store.key(request, LAST))[0] for request in requests]
    assert [numbers_of(clip)[0] for clip in clips] == [int(25 * (r.end_s - 0.32) + 1e-3) for r in requests]
    assert not list((tmp_path / "store").rglob("*.tmp"))
