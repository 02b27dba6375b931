"""Small real videos whose every frame carries its own number, as black and white blocks that codecs keep.

The number sits in the central square (3 rows of 4 blocks, most significant first), so it survives scaling to the
short side and a centre crop, and reads wrongly where a frame is turned or mirrored by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 3, 4


def numbered_frame(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """An RGB frame (height, width, 3) that shows `number` (below 4096) on a grey ground."""
    frame = np.full((height, width, 3), 90, dtype=np.uint8)
    for bit, block in enumerate(_blocks(frame)):
        block[:] = 235 if number >> (_ROWS * _COLUMNS - 1 - bit) & 1 else 16
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number that a decoded frame shows."""
    number = 0
    for block in _blocks(frame):
        h, w = block.shape[:2]
        number = 2 * number + int(block[h // 4 : h - h // 4, w // 4 : w - w // 4].mean() > 125)
    return number


def numbers_of(frames: NDArray[np.uint8]) -> list[int]:
    """The numbers that frames (T, H, W, 3) show."""
    return [number_of(frame) for frame in frames]


def make_video(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 60,
    width: int = 64,
    height: int = 48,
    rate: Fraction = Fraction(25),
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    turn: int = 0,
    mirror: bool = False,
    first_number: int = 0,
    sound: bool = False,
    fast_start: bool = False,
) -> list[float]:
    """Write a video; return when each frame appears, in seconds from the first.

    `ticks` (in units of `time_base`, default 1 / rate) gives each frame's presentation time. `turn` (degrees,
    counter-clockwise) and `mirror` store the frames so that the display matrix has to bring them upright again.
    `fast_start` puts an MP4's index before its data.
    """
    time_base = time_base or 1 / rate
    ticks = list(range(frames)) if ticks is None else list(ticks)
    with av.open(str(path), "w", options={"movflags": "faststart"} if fast_start else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = (height, width) if turn % 180 else (width, height)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        stream.time_base = time_base
        if turn or mirror:
            stream.set_display_rotation(turn, hflip=mirror)
        voice = container.add_stream("aac", rate=16000) if sound else None
        for number, tick in enumerate(ticks):
            upright = numbered_frame(first_number + number, width, height)
            # What is shown is turned first and mirrored after: undo in the other order.
            stored = upright[:, ::-1] if mirror else upright
            stored = np.rot90(stored, -turn // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            container.mux(voice.encode(_silence(2 * len(ticks) * 640)))
            container.mux(voice.encode())
    return [float((tick - ticks[0]) * time_base) for tick in ticks]


def make_sound(path: Path) -> None:
    """Write a file that holds sound and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        container.mux(stream.encode(_silence(16000)))
        container.mux(stream.encode())


def frame_on_screen(appears_s: Sequence[float], time_s: float) -> int:
    """The last frame that has appeared by `time_s`: the rule, written the slow way."""
    return max(index for index, appears in enumerate(appears_s) if appears <= time_s + 1e-6)


def _silence(samples: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), dtype=np.float32), format="fltp", layout="mono")
    frame.sample_rate = 16000
    return frame


def _blocks(frame: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Views of the blocks in the central square, row by row."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    ys = [top + side * row // _ROWS for row in range(_ROWS + 1)]
    xs = [left + side * column // _COLUMNS for column in range(_COLUMNS + 1)]
    return [frame[ys[r] : ys[r + 1], xs[c] : xs[c + 1]] for r in range(_ROWS) for c in range(_COLUMNS)]
