"""Frames to an H.264 MP4, the same bytes each time: one thread, fixed settings, no dates or versions in the file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from benchmark.files import replacing

# ITU-T H.273 code for BT.601 (525 lines): what decoders assume for small pictures, tagged so that none must.
_BT601 = 6
# One more than swscale's default: exact rounding, so that its result does not depend on the processor.
_CONVERSION = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def write_video(path: Path, frames: Iterable[np.ndarray], fps: Fraction, *, quality: int = 24) -> int:
    """Encode RGB frames, (H, W, 3) uint8 with even H and W, at a constant rate; return how many there were.

    H.264 in MP4, yuv420p, limited range, BT.601 matrix, a key frame about every 2 s, no B-frames. `quality` is
    x264's constant rate factor (lower is better and larger). The file appears whole or not at all.
    Raises ValueError where there is no frame, or where a frame's shape or type differs from the first one's.
    """
    count = 0
    # x264's own threads are off: its decisions, hence the bytes, would depend on their number.
    settings = {"preset": "veryfast", "crf": str(quality), "threads": "1", "x264-params": "sliced-threads=0"}
    with (
        replacing(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream("libx264", rate=fps, options=settings)
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.codec_context.gop_size = max(1, round(2 * fps))
        stream.codec_context.max_b_frames = 0
        stream.codec_context.color_range = ColorRange.MPEG
        for tag in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, tag, _BT601)
        for count, image in enumerate(frames, start=1):
            if count == 1:
                stream.height, stream.width = image.shape[:2]
            if image.shape != (stream.height, stream.width, 3) or image.dtype != np.uint8:
                raise ValueError(f"frame {count} of {path.name} is {image.shape} {image.dtype}, unlike the first")
            frame = _to_yuv(image)
            frame.pts = count - 1
            frame.time_base = 1 / fps
            container.mux(stream.encode(frame))
        if count == 0:
            raise ValueError(f"{path.name} was given no frame")
        container.mux(stream.encode(None))
    return count


def _to_yuv(image: np.ndarray) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.SMPTE170M,
        dst_color_range=ColorRange.MPEG,
        dst_color_trc=_BT601,
        dst_color_primaries=_BT601,
        interpolation=_CONVERSION,
        threads=1,
    )
