"""From a decoded frame to the square that a network sees: short side scaled, centre cut out.

Weights know the pixels that they were trained on, and the libraries that trained them differ: in whether shrinking
averages over all source pixels, in how the long side is rounded, and in where an odd margin is cut. The rules:

    rule          shrinking            long side     margin of the cut  as in
    transformers  averages (antialias) rounded down  rounded down       its `VideoMAEImageProcessor`
    torchvision   averages (antialias) rounded down  .5 to even         the `transforms()` of its ImageNet weights
    pytorchvideo  plain bilinear       rounded down  .5 to even         `short_side_scale`, torchvision's `CenterCrop`
    mmaction2     plain bilinear       rounded       rounded down       its `Resize` and `CenterCrop`

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["transformers", "torchvision", "pytorchvideo", "mmaction2"]
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A square of `size` pixels, cut from the middle of a frame whose short side was scaled to `short_side`."""

    size: int
    short_side: int
    rule: Rule = "transformers"


def to_square(frame: Frame, picture: Picture) -> Frame:
    """A frame (H, W, 3) as (size, size, 3), by the picture's rule."""
    height, width = _scaled(frame.shape[0], frame.shape[1], picture)
    top, left = (_margin(side, picture) for side in (height, width))
    if picture.rule in ("transformers", "torchvision"):
        cut = _antialiased(frame, height, width)[top : top + picture.size, left : left + picture.size]
    else:
        rows = _between(frame.shape[0], height, top, picture.size)
        columns = _between(frame.shape[1], width, left, picture.size)
        cut = _bilinear(frame, rows, columns)
    return np.ascontiguousarray(cut)


def _scaled(height: int, width: int, picture: Picture) -> tuple[int, int]:
    short, target = min(height, width), picture.short_side

    def scaled(side: int) -> int:
        """In each library's own order of operations, which decides where the quotient is almost whole."""
        if side == short:
            return target
        if picture.rule == "mmaction2":
            return int(side * (target / short) + 0.5)
        return int(side / short * target) if picture.rule == "pytorchvideo" else int(target * side / short)

    return scaled(height), scaled(width)


def _margin(side: int, picture: Picture) -> int:
    spare = side - picture.size
    return round(spare / 2) if picture.rule in ("torchvision", "pytorchvideo") else spare // 2


def _antialiased(frame: Frame, height: int, width: int) -> Frame:
    """torch's kernel for uint8, which both libraries call; integer arithmetic. PIL's differs by at most 1 in 255."""
    import torch  # here: whoever only validates or scores need not load it

    pixels = torch.from_numpy(np.require(frame, requirements="W")).permute(2, 0, 1)
    scaled = torch.nn.functional.interpolate(pixels[None], size=(height, width), mode="bilinear", antialias=True)
    return np.asarray(scaled[0].permute(1, 2, 0).numpy())


_Between = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def _between(source: int, scaled: int, first: int, count: int) -> _Between:
    """For each of `count` target pixels from `first` on: the two source pixels it lies between, and its share of the
    second. Pixel centres lie at n + 0.5."""
    at = np.maximum((np.arange(first, first + count) + 0.5) * (source / scaled) - 0.5, 0.0)
    before = np.minimum(at.astype(np.int64), source - 1)
    return before, np.minimum(before + 1, source - 1), (at - before).astype(np.float32)


def _bilinear(frame: Frame, rows: _Between, columns: _Between) -> Frame:
    (top, bottom, down), (left, right, along) = rows, columns
    upper, lower = frame[top], frame[bottom]
    down, along = down[:, None, None], along[None, :, None]
    first = upper[:, left] * (1 - down) + lower[:, left] * down
    second = upper[:, right] * (1 - down) + lower[:, right] * down
    return np.rint(first * (1 - along) + second * along).astype(np.uint8)
