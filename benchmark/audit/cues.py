"""What a clip gives away without its patient: nine cues that must not tell its label.

    cue_tables(data)   pool of a task -> nine CueTables, one row a clip

| cue | what is in its table | from |
|---|---|---|
| duration | length of the recording and of the window | manifest |
| rate, size | frames per second; width and height | manifest |
| camera | site, camera | manifest |
| position | start, distance from the end and from the middle, in seconds and as shares of the recording | manifest |
| codec | codec, profile, pixel format, container; bits per second | the file |
| brightness | mean and contrast of the clip's frames, grey and per channel | pictures of the clip |
| time of day | daylight or infrared: colourfulness, warmth (by design there is no clock) | pictures of the clip |
| room | what never moves: the median over time of the recording, as 8x8 cells, without its brightness | the recording |

Every video is gone through once, looking at few frames; the small numbers that remain are kept in the cache. A clock
burnt into the picture is not read: mask it before import.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.audit.findings import FaultName
from benchmark.data.dataset import TaskData
from benchmark.data.decode import DECODER, probe, walk_frames
from benchmark.data.manifest import check_videos
from benchmark.files import write_atomically
from benchmark.progress import Progress

_CUES_VERSION = 1  # raise it when the same video would give other numbers
_CLIP_LOOKS = 5  # frames of a clip
_RECORDING_LOOKS = 15  # frames of a recording; odd, so that the median is a value that was seen
_CELLS = 8  # the room is seen as so many rows and columns
_GREY = np.array([0.299, 0.587, 0.114])  # luma weights, ITU-R BT.601
_INFRARED_BELOW = (
    4.0  # colourfulness; infrared pictures have 0 to 3, which codecs and tints add, rooms by day 8 or more
)

_CHANNELS = ("red", "green", "blue")
_BRIGHTNESS = ("brightness", "contrast", *(f"{what} of {c}" for c in _CHANNELS for what in ("mean", "contrast")))
_LIGHT = ("colourfulness", "warmth (red minus blue)")
_FORMAT = ("codec", "profile", "pixel format", "container")

Row = dict[Any, Any]


@dataclass(frozen=True)
class CueTable:
    """One cue of every clip. Both tables are indexed by clip_id; column names are words for a reader.

    `numbers` are floats, `categories` strings; either may have no column.
    """

    name: FaultName
    numbers: pd.DataFrame
    categories: pd.DataFrame


@dataclass(frozen=True)
class _Look:
    """Seconds of a video to look at, and whether as a clip or as the whole recording."""

    sha256: str
    start_s: float
    end_s: float
    looks: int

    @property
    def times_s(self) -> NDArray[np.float64]:
        share = (np.arange(self.looks) + 0.5) / self.looks
        return self.start_s + share * (self.end_s - self.start_s)

    @property
    def key(self) -> str:
        content = json.dumps([asdict(self), _CELLS, _CUES_VERSION, DECODER], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Seen:
    """What remains of a look.

    `light`: means over the frames of _BRIGHTNESS (grey levels, 0-255) and _LIGHT. `room`: _CELLS x _CELLS numbers,
    row by row, in standard deviations of the picture. `facts` and `bits_per_s`: of the file.
    """

    light: list[float]
    room: list[float]
    facts: list[str]
    bits_per_s: float


def cue_tables(data: TaskData, cache: Path, progress: Progress) -> tuple[CueTable, ...]:
    """The nine cues of the clips in `data.pool`, rows by clip_id.

    Args:
        data: the task's clips.
        cache: folder; what was seen of a video lies in `cues/`.
        progress: for the person who waits.

    Raises:
        BadInput: a video is missing, has changed or cannot be read.
    """
    rows = _rows(data)
    check_videos(data.manifest, rows["recording_id"], cache / "sha256.json", progress)
    wanted: dict[Path, set[_Look]] = {}
    for row in rows.to_dict("records"):
        wanted.setdefault(data.manifest.path_of(row["recording_id"]), set()).update(_looks_of(row))
    seen = _look(wanted, cache / "cues", progress)
    return (*fact_cues(rows), *_seen_cues(rows, seen))


def fact_cues(rows: pd.DataFrame) -> list[CueTable]:
    """The cues that the manifest alone gives, of clips joined with their recordings (`pool` and `recordings`)."""
    length, start, end = (rows[name].to_numpy(dtype=np.float64) for name in ("duration_s", "start_s", "end_s"))
    from_middle = np.abs((start + end) / 2 - length / 2)
    size = [f"{width}x{height}" for width, height in zip(rows["width"], rows["height"], strict=True)]
    camera = [f"{site} / {camera}" for site, camera in zip(rows["site_id"], rows["camera_id"], strict=True)]
    return [
        _table(rows, "label-from-duration", {"length of the recording (s)": length, "window (s)": end - start}),
        _table(
            rows,
            "label-from-rate",
            {"frames per second": rows["fps"]},
            {"frames per second": [f"{fps:.2f}" for fps in rows["fps"]]},
        ),
        _table(
            rows,
            "label-from-size",
            {"width (px)": rows["width"], "height (px)": rows["height"]},
            {"picture size": size},
        ),
        _table(rows, "label-from-camera", {}, {"site": rows["site_id"], "site and camera": camera}),
        _table(
            rows,
            "label-from-position",
            {
                "start (s)": start,
                "time to the end (s)": length - end,
                "distance from the middle (s)": from_middle,
                "start (share of the recording)": start / length,
                "distance from the middle (share)": from_middle / length,
            },
        ),
    ]


def _rows(data: TaskData) -> pd.DataFrame:
    """The pool, each clip with the facts of its recording, by clip_id."""
    columns = ["recording_id", "site_id", "camera_id", "sha256", "duration_s", "fps", "width", "height"]
    rows = data.pool.merge(data.manifest.recordings[columns], on="recording_id", how="left", validate="many_to_one")
    return rows.sort_values("clip_id").set_index("clip_id", drop=False)


def _looks_of(row: Row) -> tuple[_Look, _Look]:
    """At the clip and at its recording."""
    return (
        _Look(row["sha256"], row["start_s"], row["end_s"], _CLIP_LOOKS),
        _Look(row["sha256"], 0.0, row["duration_s"], _RECORDING_LOOKS),
    )


def _seen_cues(rows: pd.DataFrame, seen: dict[_Look, Seen]) -> list[CueTable]:
    looks = [_looks_of(row) for row in rows.to_dict("records")]
    clips, recordings = [seen[clip] for clip, _ in looks], [seen[recording] for _, recording in looks]
    light = np.array([one.light for one in clips])
    split = len(_BRIGHTNESS)
    brightness = dict(zip(_BRIGHTNESS, light[:, :split].T, strict=True))
    colour = dict(zip(_LIGHT, light[:, split:].T, strict=True))
    taken = ["infrared or grey" if value < _INFRARED_BELOW else "colour" for value in colour["colourfulness"]]
    room = np.array([one.room for one in recordings])
    facts = np.array([one.facts for one in recordings])
    rate = {"kilobits per second": [one.bits_per_s / 1000 for one in recordings]}
    return [
        _table(rows, "label-from-codec", rate, dict(zip(_FORMAT, facts.T, strict=True))),
        _table(rows, "label-from-brightness", brightness),
        _table(rows, "label-from-time-of-day", colour, {"picture": taken}),
        _table(rows, "label-from-room", dict(zip(_room_names(), room.T, strict=True))),
    ]


def _room_names() -> list[str]:
    return [
        f"grey of row {r} of {_CELLS}, column {c} of {_CELLS}"
        for r in range(1, _CELLS + 1)
        for c in range(1, _CELLS + 1)
    ]


def _table(
    rows: pd.DataFrame, name: FaultName, numbers: dict[str, Any], categories: dict[str, Any] | None = None
) -> CueTable:
    index = pd.Index(rows["clip_id"])
    as_numbers = {column: np.asarray(values, dtype=np.float64) for column, values in numbers.items()}
    as_text = {column: [str(value) for value in values] for column, values in (categories or {}).items()}
    return CueTable(name, pd.DataFrame(as_numbers, index=index), pd.DataFrame(as_text, index=index, dtype=object))


def _look(wanted: dict[Path, set[_Look]], folder: Path, progress: Progress) -> dict[_Look, Seen]:
    """Every look, from the cache or from the videos; what a video gave is kept before the next is asked."""
    seen = {look: kept for looks in wanted.values() for look in looks if (kept := _read(folder, look))}
    missing = {path: sorted(looks - seen.keys(), key=lambda look: look.key) for path, looks in wanted.items()}
    missing = {path: looks for path, looks in missing.items() if looks}
    if not missing:
        return seen
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    workers = min(os.cpu_count() or 1, len(missing), 8)
    with progress.track("looking at videos", len(missing)) as advance, ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_look_at, path, looks, folder) for path, looks in missing.items()]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                seen.update(job.result())
                advance(done)
        finally:
            pool.shutdown(cancel_futures=True)
    return seen


def _look_at(path: Path, looks: Sequence[_Look], folder: Path) -> dict[_Look, Seen]:
    """All looks at one video in one pass."""
    info = probe(path)
    facts = [info.codec, info.profile, info.pixel_format, info.container]
    whose = np.repeat(np.arange(len(looks)), [look.looks for look in looks])
    light: list[list[NDArray[np.float64]]] = [[] for _ in looks]
    cells: list[list[NDArray[np.float64]]] = [[] for _ in looks]
    for positions, frame in walk_frames(path, np.concatenate([look.times_s for look in looks]), None, threads=1):
        of_light, of_cells = light_of(frame), _cells_of(frame)
        for place in whose[positions]:
            light[place].append(of_light)
            cells[place].append(of_cells)
    result = {
        look: Seen(
            np.mean(light[place], axis=0).round(4).tolist(),
            room_of(cells[place]).round(4).tolist(),
            facts,
            round(8 * info.size_bytes / info.duration_s, 1),
        )
        for place, look in enumerate(looks)
    }
    for look, one in result.items():
        write_atomically(_path(folder, look), json.dumps(asdict(one)))
    return result


def light_of(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """_BRIGHTNESS and _LIGHT of one frame (H, W, 3), RGB.

    Colourfulness: Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images", equation 9 (M-hat 3); 0 for
    a grey picture.
    """
    pixels = frame.reshape(-1, 3).astype(np.float32)
    red, green, blue = pixels.T
    grey = pixels @ _GREY.astype(np.float32)
    means, spreads = pixels.mean(axis=0), pixels.std(axis=0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    per_channel = np.stack([means, spreads], axis=1).ravel()
    return np.array(
        [grey.mean(), grey.std(), *per_channel, spread + 0.3 * offset, means[0] - means[2]], dtype=np.float64
    )


def _cells_of(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean grey level of each cell, (_CELLS, _CELLS)."""
    grey = frame.astype(np.float32) @ _GREY.astype(np.float32)
    rows, columns = (np.linspace(0, length, _CELLS + 1).astype(int) for length in grey.shape)
    totals = np.pad(grey.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))[np.ix_(rows, columns)]
    areas = np.outer(np.diff(rows), np.diff(columns))
    return np.asarray(np.diff(np.diff(totals, axis=0), axis=1) / np.maximum(areas, 1))


def room_of(cells: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """What never moves: the median over time of (T, R, C) cells, flat, less its mean, over its standard deviation.

    Without mean and deviation the lamp is not the room: that is what brightness is for.
    """
    still = np.median(np.stack(list(cells)), axis=0).ravel()
    spread = still.std()
    return (still - still.mean()) / spread if spread > 1e-6 else np.zeros_like(still)


def _path(folder: Path, look: _Look) -> Path:
    return folder / look.key[:2] / f"{look.key}.json"


def _read(folder: Path, look: _Look) -> Seen | None:
    """What was kept of a look, if it is there and whole."""
    try:
        seen = Seen(**json.loads(_path(folder, look).read_text(encoding="utf-8")))
        light, room = np.asarray(seen.light, dtype=np.float64), np.asarray(seen.room, dtype=np.float64)
        whole = light.shape == (len(_BRIGHTNESS) + len(_LIGHT),) and room.shape == (_CELLS**2,)
    except (OSError, ValueError, TypeError):
        return None
    return seen if whole and len(seen.facts) == len(_FORMAT) and seen.bits_per_s > 0 else None
