"""Nine ways in which a hospital's export gives the label away, planted in a copy of the demo set.

    demo set -> `short_files`: each seizure and an inter-ictal stretch of each recording become files of their own
             -> one plant: the files of one class differ in one thing

The short files by themselves give nothing away: same length, same place of the clip, both classes from each recording.
Every plant works in place and rewrites sha256, length, rate and size. Patients of the split `evaluate` alone are
touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.audit.findings import FaultName
from benchmark.data.decode import probe, read_frames
from benchmark.data.encode import write_video
from benchmark.data.manifest import Manifest, read_manifest, write_manifest
from benchmark.files import sha256_of

LENGTH_S = 12.0
LONGER_S = 18.0
ONSET_S = 11.0  # in the file; the clip lies before it
CLIP_S = 5.0
EDGE_S = 1.0  # from a recording's edge to a file cut out of it

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Piece:
    """A short file to be cut out of `source`, and how it is stored; `clip_s` is where its watched 5 s begin."""

    source: str
    seizure: bool
    start_s: float
    clip_s: float
    length_s: float = LENGTH_S
    fps: Fraction | None = None
    codec: str = "libx264"
    change: Callable[[Frames], Frames] = lambda frames: frames
    camera: str | None = None

    @property
    def name(self) -> str:
        return f"{self.source}_{'sz' if self.seizure else 'bg'}"


def short_files(
    folder: Path, change: Callable[[Manifest, list[Piece]], list[Piece]] = lambda _, pieces: pieces
) -> None:
    """Cut every recording of `evaluate` into its seizure and an inter-ictal stretch, after `change` of the plan."""
    manifest = read_manifest(folder)
    recordings = manifest.recordings.set_index("recording_id", drop=False)
    cut = recordings[recordings["split"] == "evaluate"]
    pieces = change(manifest, [piece for row in cut.to_dict("records") for piece in _pieces(manifest, row)])
    made = [_cut(folder, manifest, piece, recordings.loc[piece.source].to_dict()) for piece in pieces]
    for name in cut["recording_id"]:
        manifest.path_of(name).unlink()
    event_of = {row["recording_id"]: row for row in manifest.events.to_dict("records")}
    moved = {"onset_s": ONSET_S, "duration_s": LENGTH_S - ONSET_S}
    events = [{**event_of[p.source], **moved, "recording_id": p.name} for p in pieces if p.seizure]
    watched = [(piece.name, piece.clip_s, piece.clip_s + CLIP_S) for piece in pieces]
    tables = (manifest.recordings, manifest.events, manifest.annotated_intervals)
    others = [table[~table["recording_id"].isin(cut["recording_id"])] for table in tables]
    write_manifest(
        folder,
        pd.concat([others[0], pd.DataFrame(made)]),
        pd.concat([others[1], pd.DataFrame(events)]),
        pd.concat([others[2], pd.DataFrame(watched, columns=["recording_id", "start_s", "end_s"])]),
    )


def _pieces(manifest: Manifest, row: dict[Any, Any]) -> list[Piece]:
    """The seizure and a stretch far from it; the clip lies at the same place in both, another one by recording."""
    name, length = row["recording_id"], row["duration_s"]
    onset = float(manifest.events.set_index("recording_id").loc[name, "onset_s"])
    place = 2.0 + int(row["sha256"], 16) % 4
    far = EDGE_S if onset > length / 2 else length - LONGER_S - EDGE_S
    return [Piece(name, True, onset - ONSET_S, place), Piece(name, False, far, place)]


def _cut(folder: Path, manifest: Manifest, piece: Piece, row: dict[Any, Any]) -> dict[Any, Any]:
    """Write the file; its row."""
    fps = piece.fps or Fraction(row["fps"]).limit_denominator(1001)
    times = piece.start_s + np.arange(round(piece.length_s * fps)) / float(fps)
    frames = piece.change(read_frames(manifest.path_of(piece.source), times))
    path = folder / "videos" / f"{piece.name}{'.mp4' if piece.codec == 'libx264' else '.avi'}"
    if piece.codec == "libx264":
        write_video(path, frames, fps)
    else:
        _write_avi(path, frames, fps, piece.codec)
    info = probe(path)
    return {
        **row,
        "recording_id": piece.name,
        "path": str(path.relative_to(folder)),
        "sha256": sha256_of(path),
        "camera_id": piece.camera or row["camera_id"],
        **{name: getattr(info, name) for name in ("duration_s", "fps", "width", "height")},
    }


def _write_avi(path: Path, frames: Frames, fps: Fraction, codec: str) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _of_class(seizure: bool, **changes: Any) -> Callable[[Path], None]:
    """Short files of which one class is stored otherwise."""

    def plant(folder: Path) -> None:
        short_files(folder, lambda _, pieces: [replace(p, **changes) if p.seizure == seizure else p for p in pieces])

    return plant


def seizures_at_night(folder: Path) -> None:
    """Seizures in infrared, at night; what was exported as normal, by day."""

    def change(manifest: Manifest, pieces: list[Piece]) -> list[Piece]:
        night = {piece.source: _is_grey(manifest.path_of(piece.source)) for piece in pieces}
        return [piece for piece in pieces if piece.seizure == night[piece.source]]

    short_files(folder, change)


def cameras(folder: Path) -> None:
    """Seizures come from the monitoring unit's camera, normal stretches from the ward's."""
    short_files(folder, lambda _, pieces: [replace(p, camera="unit-1" if p.seizure else "ward-2") for p in pieces])


def _is_grey(path: Path) -> bool:
    frame = read_frames(path, [1.0]).astype(int)
    return float(np.ptp(frame, axis=-1).mean()) < 1


def _larger(frames: Frames) -> Frames:
    """By five quarters, as an export to one's own format does; even sizes for the codec."""
    height, width = (round(side * 5 / 8) * 2 for side in frames.shape[1:3])
    rows, columns = (np.arange(to) * side // to for to, side in zip((height, width), frames.shape[1:3], strict=True))
    return frames[:, rows][:, :, columns]


def _brighter(frames: Frames) -> Frames:
    """A nurse has switched on the light."""
    return np.minimum(frames.astype(np.int16) + 40, 255).astype(np.uint8)


def _other_room(frames: Frames) -> Frames:
    """A window and, as large, a dark cabinet, so that the picture is no brighter."""
    height, width = frames.shape[1] // 4, frames.shape[2] // 4
    changed = frames.astype(np.int16)
    changed[:, :height, :width] += 60
    changed[:, :height, -width:] -= 60
    return np.clip(changed, 0, 255).astype(np.uint8)


PLANTS: list[tuple[FaultName, Callable[[Path], None]]] = [
    ("label-from-duration", _of_class(False, length_s=LONGER_S)),  # normal files were cut longer
    ("label-from-rate", _of_class(True, fps=Fraction(25))),  # seizures were exported at a rate of their own
    ("label-from-size", _of_class(True, change=_larger)),
    ("label-from-codec", _of_class(True, codec="mpeg4")),  # by another program
    ("label-from-brightness", _of_class(True, change=_brighter)),
    ("label-from-camera", cameras),
    ("label-from-room", _of_class(True, change=_other_room)),  # seizures were filmed in the monitoring unit
    ("label-from-time-of-day", seizures_at_night),
    ("label-from-position", _of_class(False, clip_s=0.0)),  # somebody watched the first seconds of normal files
]
