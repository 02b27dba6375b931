"""Twins: the same moving picture is found through encoder, size, rate, cut and mirror; the same room is not."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmark.audit import pictures
from benchmark.audit.pictures import RATE, SIDE, PictureStore, small_pictures
from benchmark.audit.twins import MATCH, NOTHING_STANDS_OUT, Film, find_twins, least_correlation, twin_findings
from benchmark.data.encode import write_video
from benchmark.progress import Progress
from tests.videos import make_video

QUIET = Progress(quiet=True)
ROOM = np.random.default_rng(7).uniform(30, 200, (48, 64))


def scene(seed: int, seconds: float, fps: float, scale: int = 1, amount: float = 1.0):
    """Two limbs of a person `seed` wander about a room that is the same for all: frames (48, 64, 3) times `scale`."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform([10, 12], [38, 52], (2, 60, 2))
    rows, columns = np.mgrid[0:48, 0:64]
    for t in np.arange(round(seconds * fps)) / fps:
        image = ROOM.copy()
        for limb, brightness in zip(knots, (70, -60), strict=True):
            y, x = (np.interp(amount * t, np.arange(60) * 1.3, limb[:, axis]) for axis in (0, 1))
            image += brightness * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 40)
        frame = np.clip(image, 0, 255).astype(np.uint8)
        yield np.repeat(np.repeat(np.repeat(frame[..., None], 3, 2), scale, 0), scale, 1)


def film(name: str, path_or_pictures, subject: str | None = None, split: str = "evaluate") -> Film:
    made = path_or_pictures if isinstance(path_or_pictures, np.ndarray) else small_pictures(path_or_pictures)
    return Film(name, subject or name, split, lambda: made)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("twins") / "original.mp4"
    write_video(path, scene(1, 40, 15), Fraction(15))
    return path


def excerpt(path, *, first_s=12.3, seconds=15.0, fps=12, scale=1, gain=1.0, mirror=False, quality=28):
    """A stretch of the original scene, written anew."""
    frames = [f for i, f in enumerate(scene(1, first_s + seconds, fps, scale)) if i / fps >= first_s]
    changed = (np.clip(f[:, ::-1] * gain if mirror else f * gain, 0, 255).astype(np.uint8) for f in frames)
    write_video(path, (np.ascontiguousarray(f) for f in changed), Fraction(fps), quality=quality)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scale": 2, "fps": 25},
        {"quality": 34},
        {"gain": 1.15},
        {"mirror": True},
        {"first_s": 3.14, "seconds": 7.0},
    ],
    ids=str,
)
def test_an_excerpt_is_found_where_it_lies(original, tmp_path, changes):
    cut = excerpt(tmp_path / "cut.mp4", **changes)
    (twin,), least = find_twins([film("a", original), film("b", cut)])
    assert least == MATCH
    assert (twin.a.recording_id, twin.b.recording_id) == ("a", "b")
    assert twin.a_start_s - twin.b_start_s == pytest.approx(changes.get("first_s", 12.3), abs=0.3)
    assert twin.length_s >= 0.7 * changes.get("seconds", 15.0)
    assert twin.mirrored == changes.get("mirror", False)


def test_another_person_in_the_same_room_is_no_twin(original):
    others = [film(f"p{seed}", np.stack(list(small(scene(seed, 40, 8))))) for seed in range(2, 8)]
    assert find_twins([film("a", original), *others]) == ([], MATCH)


def test_an_empty_room_is_no_evidence():
    rng = np.random.default_rng(0)
    still = ROOM.reshape(SIDE, 3, SIDE, 4).mean(axis=(1, 3))
    rooms = [film(f"r{k}", (still + rng.normal(0, 0.4, (80, SIDE, SIDE))).astype(np.float16)) for k in range(2)]
    assert find_twins(rooms) == ([], MATCH)


def test_a_lamp_that_goes_on_is_no_evidence():
    still = ROOM.reshape(SIDE, 3, SIDE, 4).mean(axis=(1, 3))
    lamp = np.where(np.arange(80) < 40, 0, 40)[:, None, None]
    rooms = [film(f"r{k}", (still + lamp).astype(np.float16)) for k in range(2)]
    assert find_twins(rooms) == ([], MATCH)


@pytest.mark.parametrize(
    ("subject", "split", "name"),
    [
        ("x", "evaluate", "near-identical-frames"),
        ("A", "develop", "near-identical-frames"),
        ("A", "evaluate", "overlapping-clips"),
    ],
)
def test_a_twin_is_named_by_whose_it_is(original, subject, split, name):
    first, second = film("r1", original, "a"), film("r2", original, subject, split)
    (finding,) = twin_findings(find_twins([first, second])[0])
    assert (finding.name, finding.severity) == (name, "hard")
    assert "r1 (a, evaluate) 0.0-" in finding.evidence[0]


@pytest.mark.parametrize("seconds", [0.2, 4.0])
def test_a_film_shorter_than_a_window_says_nothing(original, tmp_path, seconds):
    short = excerpt(tmp_path / "short.mp4", seconds=seconds)
    assert find_twins([film("a", original), film("b", short)]) == ([], MATCH)
    assert find_twins([]) == ([], MATCH)


def test_where_films_match_backwards_the_bar_is_raised():
    assert least_correlation([0.9, 0.95], []) == MATCH
    # 20 pairs at 0.97 and one by chance: 1 of 20 is the share allowed; at 0.9 it would be 2 of 21
    assert least_correlation([0.9] + [0.97] * 20, [0.9, 0.98]) == 0.97
    assert least_correlation([0.9, 0.97], [0.98]) == NOTHING_STANDS_OUT


def test_pictures_are_means_of_cells_whatever_the_size(tmp_path):
    """White left half, black right half; 4 pictures a second for as long as there are whole ones."""
    for width, height in ((64, 48), (90, 50)):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[:, : width // 2] = 255
        path = tmp_path / f"{width}.mp4"
        write_video(path, [frame] * 22, Fraction(10))
        made = small_pictures(path).astype(float)
        assert made.shape == (int(2.2 * RATE), SIDE, SIDE)
        assert made[:, :, : SIDE // 2 - 1].min() > 250
        assert made[:, :, SIDE // 2 + 1 :].max() < 5


def test_a_video_is_looked_through_once_and_an_unreadable_one_is_told(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.mp4", tmp_path / "bad.mp4"
    make_video(good, frames=50)
    bad.write_bytes(b"no video")
    store = PictureStore(tmp_path / "cache")
    assert list(store.ensure({"1": good, "2": bad}, 2, QUIET)) == ["2"]
    before = store.open("1")
    monkeypatch.setattr(pictures, "small_pictures", lambda path: pytest.fail("decoded again"))
    assert store.ensure({"1": good}, 2, QUIET) == {}
    assert np.array_equal(store.open("1"), before)


def small(frames):
    """Cell means of frames at 8 a second, two to a picture, as `small_pictures` makes them of a video."""
    held = [frame[..., 0].astype(float).reshape(SIDE, 3, SIDE, 4).mean(axis=(1, 3)) for frame in frames]
    yield from (np.mean(held[i : i + 2], axis=0).astype(np.float16) for i in range(0, len(held) - 1, 2))
