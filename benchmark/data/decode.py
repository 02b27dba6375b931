"""Frames of a video by time in seconds, exactly: the frame at `t` is the one that is on the screen at `t`.

Time 0 is when the first frame appears. First the packets of the file are read, without decoding, into a timeline:
when each frame appears, and which are key frames. A time is looked up there; the decoder then starts at the key
frame before it and runs forward to the very frame that the timeline names. A frame that does not come out (the
file is cut, damaged, or the key frame was no clean entry) is looked for from an earlier key frame, at last from the
start of the file, and after that it is an error: nobody gets a neighbour, a grey frame or the last frame again.

AVI stores no presentation times. Where its frames are reordered (B-frames, packed or not) the time stamps that
come out are guesses, and wrong ones; there the n-th frame out of the decoder belongs to the n-th slot of the file,
so such a file is decoded from its start and its frames are counted.

Frames are RGB as displayed (turned and mirrored as the file asks). Pixels are taken as square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from tasks.errors import BadInput

_LOADER_VERSION = 1  # raise it when the same call would give other pixels: old caches must not be read
_CODEC_LIBRARY = ".".join(str(part) for part in av.library_versions["libavcodec"])
DECODER = f"pyav-{av.__version__}+libavcodec-{_CODEC_LIBRARY}+loader-{_LOADER_VERSION}"

# Only these: a playlist named .mp4 could otherwise make FFmpeg open other files, or addresses on the network.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm"
_TOLERANCE_S = 1e-6
_WORTH_A_SEEK = 24  # frames; a shorter way to the next wanted frame is decoded through

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds. `width` and `height` are pixels as displayed; `fps` is the mean rate, frames / duration."""

    duration_s: float
    fps: float
    width: int
    height: int
    codec: str
    frame_count: int
    size_bytes: int


@dataclass(frozen=True)
class _Timeline:
    """When each frame appears (`stamps`, ascending, in ticks of `tick_s` seconds; the first one is time 0)."""

    stamps: NDArray[np.int64]
    end: int  # the stamp at which the last frame leaves the screen
    tick_s: float
    keys: NDArray[np.int64]  # indices of the key frames, the first always 0
    counted: bool  # the stamps of decoded frames are not to be trusted: count them from the start
    codec: str
    width: int  # as stored, before the orientation is applied
    height: int
    orientation: tuple[int, int, int, int]  # a, b, c, d of the display matrix

    @property
    def duration_s(self) -> float:
        return float(self.end - self.stamps[0]) * self.tick_s

    def frames_at(self, path: Path, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index of the frame on the screen at each time."""
        half_a_frame = 0.5 * self.duration_s / len(self.stamps)
        outside = ~((times_s >= -_TOLERANCE_S) & (times_s < self.duration_s + half_a_frame))
        if outside.any():
            raise BadInput(
                f"{path}: no frame at {times_s[outside][0]:.3f} s, the video lasts {self.duration_s:.3f} s; "
                "correct the times or duration_s in the manifest."
            )
        starts_s = (self.stamps - self.stamps[0]) * self.tick_s
        return np.maximum(np.searchsorted(starts_s, times_s + _TOLERANCE_S, side="right") - 1, 0)

    def entry_for(self, frame: int, retreat: int) -> int:
        """The key frame to start from for `frame`, `retreat` key frames earlier than the nearest; 0 is the start."""
        if self.counted:
            return 0
        return int(self.keys[max(np.searchsorted(self.keys, frame, side="right") - 1 - retreat, 0)])


def probe(path: Path) -> VideoInfo:
    """What the file holds, from its packets and one decoded frame. BadInput where it is no whole, readable video."""
    timeline = _timeline_of(path)
    turned = _is_turned(timeline.orientation)
    return VideoInfo(
        duration_s=timeline.duration_s,
        fps=len(timeline.stamps) / timeline.duration_s,
        width=timeline.height if turned else timeline.width,
        height=timeline.width if turned else timeline.height,
        codec=timeline.codec,
        frame_count=len(timeline.stamps),
        size_bytes=path.stat().st_size,
    )


def read_frames(path: Path, times_s: Sequence[float] | NDArray[np.float64], size: int | None = None) -> Frame:
    """Frames on the screen at `times_s` (seconds, any order, repeats allowed) as uint8 RGB (T, H, W, 3).

    With `size` the short side is scaled to it and the centre (size x size) is cut out; None gives whole frames.
    Raises BadInput, naming the file, where a time lies outside the video or the file is damaged.
    """
    result: Frame | None = None
    for positions, frame in walk_frames(path, times_s, size):
        if result is None:
            result = np.empty((len(times_s), *frame.shape), dtype=np.uint8)
        result[positions] = frame
    if result is None:
        raise BadInput(f"{path}: no time was asked for; give at least one.")
    return result


def walk_frames(
    path: Path, times_s: Sequence[float] | NDArray[np.float64], size: int | None, threads: int = 0
) -> Iterator[tuple[NDArray[np.int64], Frame]]:
    """As `read_frames`, one frame at a time in the order of the video: (its positions in `times_s`, the frame).

    The file is gone through once, skipping what nobody asked for, so that a caller need never hold more than it
    keeps. `threads` for decoding (0: as many as there are cores) does not change a single pixel.
    """
    timeline = _timeline_of(path)
    indices = timeline.frames_at(path, np.asarray(times_s, dtype=np.float64))
    wanted, which = np.unique(indices, return_inverse=True)
    scaler = VideoReformatter()
    with _Reader(path, timeline, threads) as reader:
        for number, frame in enumerate(_pick(reader, wanted)):
            yield np.flatnonzero(which == number), _to_rgb(frame, scaler, timeline.orientation, size)


class _Reader:
    """An open file and its decoder."""

    def __init__(self, path: Path, timeline: _Timeline, threads: int) -> None:
        self.path = path
        self.timeline = timeline
        self._threads = threads
        self._container: Any = None
        self._untouched = False

    def __enter__(self) -> _Reader:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = _open(self.path)
        self._untouched = True

    def forward_from(self, entry: int) -> Iterator[tuple[int, Any]]:
        """(index, decoded frame) in order of presentation, from key frame `entry` on; from 0, from the very start."""
        if entry == 0 and not self._untouched:
            self._open()  # not a seek: there are files that cannot
        self._untouched = False
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = self._threads
        stamps = self.timeline.stamps
        if entry > 0:
            self._container.seek(int(stamps[entry]), stream=stream, backward=True)
        for number, frame in enumerate(_decoded(self._container, stream)):
            if self.timeline.counted:
                yield number, frame
            elif frame.pts is not None and frame.pts >= stamps[0]:
                yield int(np.searchsorted(stamps, frame.pts)), frame


def _pick(reader: _Reader, wanted: NDArray[np.int64]) -> Iterator[Any]:
    """The frames with the ascending indices `wanted`, each exactly, or BadInput."""
    timeline = reader.timeline
    at, retreat = 0, 0
    while at < len(wanted):
        entry = timeline.entry_for(int(wanted[at]), retreat)
        fault = "the data end before it"
        try:
            for index, frame in reader.forward_from(entry):
                if index > wanted[at]:
                    fault = "it does not come out of the decoder"
                    break
                if frame.is_corrupt:
                    fault = "the data are damaged there"
                    break
                if index < wanted[at]:
                    continue
                yield frame
                at, retreat, fault = at + 1, 0, ""
                if at == len(wanted):
                    return
                if timeline.entry_for(int(wanted[at]), 0) - index >= _WORTH_A_SEEK:
                    break
                fault = "the data end before it"
        except av.error.FFmpegError as error:
            fault = f"the data are damaged there ({error.strerror})"
        if fault and entry == 0:
            time_s = (timeline.stamps[wanted[at]] - timeline.stamps[0]) * timeline.tick_s
            raise BadInput(
                f"{reader.path}: the frame at {time_s:.3f} s cannot be decoded ({fault}); replace the file by an "
                "undamaged copy, or convert it anew from its source."
            )
        if fault:
            retreat = 2 * retreat + 1
            

def _timeline_of(path: Path) -> _Timeline:
    try:
        status = path.stat()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check the path in the manifest.") from error
    return _read_timeline(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_timeline(path: Path, size_bytes: int, _changed: int) -> _Timeline:
    """Go through the packets of the file. Size and time of change are in the key: an edited file is read anew."""
    if size_bytes == 0:
        raise BadInput(f"{path}: the file is empty; replace it by the whole video.")
    try:
        with _open(path) as container:
            if not container.streams.video:
                raise BadInput(f"{path}: the file holds no video (audio only?); give the recording's video file.")
            stream = container.streams.video[0]
            promised = stream.frames
            slots = [
                (p.pts, p.dts, p.duration or 0, p.is_keyframe, p.is_corrupt)
                for p in container.demux(stream)
                if p.size > 0 and not p.is_discard
            ]
            ...
    except av.error.FFmpegError as error:
        raise BadInput(f"x") from error
