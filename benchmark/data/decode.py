"""Frames of a video by time in seconds, exactly: the frame at `t` is the one that is on the screen at `t`.

Time 0 is when the first frame appears. First the packets of the file are read, without decoding, into a timeline:
when each frame appears, and which are key frames. A time is looked up there; the decoder then starts at the key
frame before it and runs forward to the very frame that the timeline names. A frame that does not come out (the
file is cut, damaged, or the key frame was no clean entry) is looked for from an earlier key frame, at last from the
start of the file, and after that it is an error: nobody gets a neighbour, a grey frame or the last frame again.
(Damage that a decoder cannot notice, as in VP9, only the manifest's sha256 can tell.)

AVI stores no presentation times. Where its frames are reordered (B-frames, packed or not) the time stamps that
come out are guesses, and wrong ones; there the n-th frame out of the decoder belongs to the n-th slot of the file,
so such a file is decoded from its start and its frames are counted.

Frames are RGB as displayed (turned and mirrored as the file asks). Pixels are taken as square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from benchmark.data.picture import Picture, to_square
from tasks.errors import BadInput

_LOADER_VERSION = 3  # raise it when the same call would give other pixels: old caches must not be read
_CODEC_LIBRARY = ".".join(str(part) for part in av.library_versions["libavcodec"])
# torch scales (benchmark/data/picture.py); its version is read without importing it.
DECODER = f"pyav-{av.__version__}+libavcodec-{_CODEC_LIBRARY}+torch-{version('torch')}+loader-{_LOADER_VERSION}"

# Only these: a playlist named .mp4 could otherwise make FFmpeg open other files, or addresses on the network.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm"
_TOLERANCE_S = 1e-6
_NO_TIME = int(np.iinfo(np.int64).min)
_PACKET = np.dtype([("pts", "i8"), ("dts", "i8"), ("duration", "i8"), ("key", "?"), ("hidden", "?"), ("corrupt", "?")])
_WORTH_A_SEEK = 24  # frames; a shorter way to the next wanted frame is decoded through

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds. `width` and `height` are pixels as displayed; `fps` is the mean rate, frames / duration.

    `codec`, `profile`, `pixel_format` and `container` are FFmpeg's names; the profile is empty where a codec has none.
    """

    duration_s: float
    fps: float
    width: int
    height: int
    codec: str
    profile: str
    pixel_format: str
    container: str
    frame_count: int
    size_bytes: int


@dataclass(frozen=True)
class _Timeline:
    """When each frame appears (`stamps`, ascending, in ticks of `tick` seconds; the first one is time 0)."""

    stamps: NDArray[np.int64]
    end: int  # the stamp at which the last frame leaves the screen
    tick: Fraction
    keys: NDArray[np.int64]  # indices of the key frames, the first always 0
    counted: bool  # the stamps of decoded frames are not to be trusted: count them from the start
    codec: str
    stored_as: tuple[str, str, str]  # profile, pixel format, container
    width: int  # as stored, before the orientation is applied
    height: int
    orientation: tuple[int, int, int, int]  # a, b, c, d of the display matrix

    @property
    def duration_s(self) -> float:
        return float((self.end - int(self.stamps[0])) * self.tick)

    def frames_at(self, path: Path, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index of the frame on the screen at each time."""
        half_a_frame = 0.5 * self.duration_s / len(self.stamps)
        outside = ~((times_s >= -_TOLERANCE_S) & (times_s < self.duration_s + half_a_frame))
        if outside.any():
            raise BadInput(
                f"{path}: no frame at {times_s[outside][0]:.3f} s, the video lasts {self.duration_s:.3f} s; "
                "correct the times or duration_s in the manifest"
            )
        starts_s = (self.stamps - self.stamps[0]) * float(self.tick)
        return np.maximum(np.searchsorted(starts_s, times_s + _TOLERANCE_S, side="right") - 1, 0)

    def entry_for(self, frame: int, retreat: int) -> int:
        """The key frame to start from for `frame`, `retreat` key frames earlier than the nearest; 0 is the start."""
        if self.counted:
            return 0
        return int(self.keys[max(int(np.searchsorted(self.keys, frame, side="right")) - 1 - retreat, 0)])


def probe(path: Path) -> VideoInfo:
    """What the file holds, from its packets and one decoded frame. BadInput where it is no whole, readable video."""
    timeline = _timeline_of(path)
    turned = _is_turned(timeline.orientation)
    profile, pixel_format, container = timeline.stored_as
    return VideoInfo(
        duration_s=timeline.duration_s,
        fps=len(timeline.stamps) / timeline.duration_s,
        width=timeline.height if turned else timeline.width,
        height=timeline.width if turned else timeline.height,
        codec=timeline.codec,
        profile=profile,
        pixel_format=pixel_format,
        container=container,
        frame_count=len(timeline.stamps),
        size_bytes=path.stat().st_size,
    )


def read_frames(path: Path, times_s: Sequence[float] | NDArray[np.float64], picture: Picture | None = None) -> Frame:
    """Frames on the screen at `times_s` (seconds, any order, repeats allowed) as uint8 RGB (T, H, W, 3).

    With a `picture` each is scaled and cut to a square by its rule; None gives whole frames.

    Raises:
        BadInput: a time lies outside the video or the file is damaged; the sentence names the file.
    """
    result: Frame | None = None
    for positions, frame in walk_frames(path, times_s, picture):
        if result is None:
            result = np.empty((len(times_s), *frame.shape), dtype=np.uint8)
        result[positions] = frame
    if result is None:
        raise BadInput(f"{path}: no time was asked for; give at least one")
    return result


def walk_frames(
    path: Path, times_s: Sequence[float] | NDArray[np.float64], picture: Picture | None, threads: int = 0
) -> Iterator[tuple[NDArray[np.int64], Frame]]:
    """As `read_frames`, one frame at a time in the order of the video: (its positions in `times_s`, the frame).

    The file is gone through once, skipping what nobody asked for, so that a caller need never hold more than it
    keeps. `threads` for decoding (0: as many as there are cores) does not change a single pixel.
    """
    timeline = _timeline_of(path)
    indices = timeline.frames_at(path, np.asarray(times_s, dtype=np.float64))
    wanted, which, counts = np.unique(indices, return_inverse=True, return_counts=True)
    positions = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
    scaler = VideoReformatter()
    with _Reader(path, timeline, threads) as reader:
        for places, frame in zip(positions, _pick(reader, wanted), strict=True):
            if (frame.width, frame.height) != (timeline.width, timeline.height):
                raise BadInput(f"{path}: the picture changes its size on the way; cut the file there into two")
            shown = _to_rgb(frame, scaler, timeline.orientation)
            yield places, shown if picture is None else to_square(shown, picture)


class _Reader:
    """An open file and its decoder."""

    def __init__(self, path: Path, timeline: _Timeline, threads: int) -> None:
        self.path = path
        self.timeline = timeline
        self._threads = threads
        self._container: Any = None
        self._stream: Any = None
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
        self._stream = _video_stream(self.path, self._container)
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._threads
        if self.timeline.codec == "mjpeg":  # or damaged pictures come out grey; others report damage by themselves
            self._stream.codec_context.options = {"err_detect": "explode"}
        self._untouched = True

    def forward_from(self, entry: int) -> Iterator[tuple[int, Any]]:
        """(index, decoded frame) in order of presentation, from key frame `entry` on; from 0, from the very start."""
        if entry == 0 and not self._untouched:
            self._open()  # not a seek: there are files that cannot
        if entry > 0 and self._untouched:
            # The decoder must meet the first packet: x264 names its version only there, and old ones had a fault
            # with 4:4:4 pictures that the decoder undoes when it knows.
            with suppress(av.error.FFmpegError):
                next(self._container.demux(self._stream)).decode()
        self._untouched = False
        stamps = self.timeline.stamps
        if entry > 0:
            self._container.seek(int(stamps[entry]), stream=self._stream, backward=True)
        for number, frame in enumerate(_decoded(self._container, self._stream)):
            if self.timeline.counted:
                yield number, frame
            elif frame.pts is not None and stamps[0] <= frame.pts <= stamps[-1]:
                index = int(np.searchsorted(stamps, frame.pts))
                if stamps[index] == frame.pts:
                    yield index, frame


def _pick(reader: _Reader, wanted: NDArray[np.int64]) -> Iterator[Any]:
    """The frames with the ascending indices `wanted`, each exactly, or BadInput."""
    timeline = reader.timeline
    at, retreat = 0, 0
    while at < len(wanted):
        begun, entry = at, timeline.entry_for(int(wanted[at]), retreat)
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
        if not fault or at > begun:
            continue  # the next one has a nearer key frame of its own
        if entry == 0:
            time_s = float(timeline.stamps[wanted[at]] - timeline.stamps[0]) * float(timeline.tick)
            raise BadInput(
                f"{reader.path}: the frame at {time_s:.3f} s cannot be decoded ({fault}); replace the file by an "
                "undamaged copy, or convert it anew from its source"
            )
        retreat = 2 * retreat + 1


def _timeline_of(path: Path) -> _Timeline:
    try:
        status = path.stat()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check the path in the manifest") from error
    if not path.is_file():
        raise BadInput(f"{path}: not a file; check the path in the manifest")
    if status.st_size == 0:
        raise BadInput(f"{path}: the file is empty; replace it by the whole video")
    return _read_timeline(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_timeline(path: Path, _size: int, _changed: int) -> _Timeline:
    """Go through all packets, then decode one frame. Size and time of change make a changed file be read anew."""
    try:
        with _open(path) as container:
            stream = _video_stream(path, container)
            is_avi = container.format.name == "avi"
            # MP4 lists its frames ahead; AVI counts its slots, give or take one; Matroska says its length in bytes.
            promised = len(stream.index_entries) if "mp4" in container.format.name else 0
            promised = stream.frames - 1 if is_avi else promised
            # Its index says which slots hold a picture: one whose header is damaged is passed over without a word.
            indexed = sum(entry.size > 0 for entry in stream.index_entries) if is_avi else 0
            packets = np.fromiter(_packets(container, stream), dtype=_PACKET)
            _refuse_cut_file(path, packets, promised, is_avi)
            if len(packets) < indexed:
                raise BadInput(
                    f"{path}: the file is damaged ({indexed - len(packets)} of its {indexed} frames cannot be found); "
                    "replace it by the whole video"
                )
            stamps, end, keys, counted = _presentation(path, packets[~packets["hidden"]], is_avi)
            tick, codec = Fraction(stream.time_base), str(stream.codec_context.name)
            context = stream.codec_context
            stored_as = (str(context.profile or ""), str(context.pix_fmt or ""), str(container.format.name))
        with _open(path) as container:
            first, decoded = None, 0
            for frame in _decoded(container, _video_stream(path, container)):
                first, decoded = first or frame, decoded + 1
                if not counted:
                    break  # else all are decoded, once, for their number
    except av.error.FFmpegError as error:
        raise BadInput(
            f"{path}: not a video that can be read ({error.strerror}); give MP4, MOV, AVI or MKV that plays elsewhere"
        ) from error
    if first is None or (counted and decoded != len(stamps)):
        raise BadInput(
            f"{path}: {decoded} of {len(stamps)} frames can be decoded; replace the file by an undamaged copy, or "
            "convert it to H.264 in MP4"
        )
    # A stream cut out of another may begin with frames that refer to what was cut off: the first to come out counts.
    skipped = 0 if counted or first.pts is None else int(np.searchsorted(stamps, first.pts))
    return _Timeline(
        stamps=stamps[skipped:],
        end=end,
        tick=tick,
        keys=np.union1d([0], np.maximum(np.searchsorted(stamps, keys) - skipped, 0)),
        counted=counted,
        codec=codec,
        stored_as=stored_as,
        width=first.width,
        height=first.height,
        orientation=_orientation(first),
    )


def _packets(container: Any, stream: Any) -> Iterator[tuple[int, int, int, bool, bool, bool]]:
    """One _PACKET each; the bytes themselves are let go at once."""
    for p in container.demux(stream):
        if p.size > 0:  # neither the flush at the end nor AVI's empty slot, which leaves the screen as it is
            pts, dts = (_NO_TIME if stamp is None else stamp for stamp in (p.pts, p.dts))
            yield pts, dts, p.duration or 0, p.is_keyframe, p.is_discard, p.is_corrupt


def _refuse_cut_file(path: Path, packets: NDArray[Any], promised: int, is_avi: bool) -> None:
    if len(packets) == 0:
        raise BadInput(f"{path}: the file holds no frame; replace it by the whole video")
    found = int(packets["dts"].max()) + 1 if is_avi else len(packets)
    if found < promised or packets["corrupt"].any() or _is_cut_matroska(path):
        raise BadInput(
            f"{path}: the file is cut off or damaged (the last of its frames is number {found}); replace it by the "
            "whole video"
        )


def _is_cut_matroska(path: Path) -> bool:
    """Whether a Matroska segment says that it is longer than the file. RFC 8794 (EBML), section 4: sizes."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if not head.startswith(b"\x1a\x45\xdf\xa3") or at < 4 or at + 8 > len(head) or head[at] == 0:
        return False
    width = 9 - head[at].bit_length()  # leading zero bits of the first byte tell how many bytes hold the size
    size = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
    unknown = size == (1 << 7 * width) - 1  # a recording that was never closed
    return not unknown and at + width + size > path.stat().st_size


def _presentation(
    path: Path, packets: NDArray[Any], is_avi: bool
) -> tuple[NDArray[np.int64], int, NDArray[np.int64], bool]:
    """When frames appear, when the last one goes, the stamps of key frames, and whether frames must be counted."""
    counted = is_avi and bool((packets["pts"] != packets["dts"]).any())
    own = packets["dts" if counted else "pts"]
    stamps = np.unique(own)
    if len(stamps) < len(own) or (own == _NO_TIME).any():
        raise BadInput(f"{path}: several frames share one time or have none; convert the file to H.264 in MP4")
    if counted and stamps[-1] - stamps[0] >= len(stamps):
        # The file does not say which frame is the one that stays through an empty slot.
        raise BadInput(f"{path}: reordered frames with pauses between them; convert the file to H.264 in MP4")
    mean_gap = round((stamps[-1] - stamps[0]) / max(len(stamps) - 1, 1))
    end = int(stamps[-1]) + int(packets["duration"][own.argmax()] or max(mean_gap, 1))
    return stamps, end, own[packets["key"]], counted


def _orientation(frame: Any) -> tuple[int, int, int, int]:
    """a, b, c, d of FFmpeg's display matrix: a stored pixel (x, y) is shown at (a x + c y, b x + d y)."""
    for side_data in frame.side_data:
        if side_data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(side_data), dtype=np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def _is_turned(orientation: tuple[int, int, int, int]) -> bool:
    a, b, _, _ = orientation
    return abs(b) > abs(a)


def _to_rgb(frame: Any, scaler: VideoReformatter, orientation: tuple[int, int, int, int]) -> Frame:
    """A decoded frame as displayed, RGB (H, W, 3).

    Bit-exact flags, so that processors with other vector units give the same pixels.
    """
    flags = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    converted: Any = scaler.reformat(frame, format="rgb24", interpolation=flags, threads=1)
    pixels: Frame = converted.to_ndarray()
    a, b, c, d = orientation
    turned = _is_turned(orientation)
    if turned:
        pixels = pixels.swapaxes(0, 1)
    if (c if turned else a) < 0:
        pixels = pixels[:, ::-1]
    if (b if turned else d) < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _open(path: Path) -> Any:
    # An absolute path cannot be taken for an address ("http:", "concat:").
    return av.open(str(path.absolute()), options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})


def _video_stream(path: Path, container: Any) -> Any:
    stream = container.streams.best("video")  # not the first: that may be a cover picture
    if stream is None:
        raise BadInput(f"{path}: the file holds no video (only sound?); give the recording's video file")
    return stream


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        yield from packet.decode()
