"""Soft tapered capsules on blocks of frames: the only thing that moves in the demo set is made of these.

A capsule is a line with a radius at each end (limb, trunk, head where both ends meet). Its edge covers pixels in part,
so movements well below one pixel show. A block holds K consecutive frames, (K, C, H, W), and each capsule is
drawn on all of them at once, inside one small box: numpy's cost per call is paid once in K frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

EDGE_DARKENING = 0.34  # how much darker a capsule is at its rim: makes it look round
LIGHT_FROM_ABOVE = 0.16
STRIPE_PX = 5.0


@dataclass(frozen=True)
class Stroke:
    """One capsule over the T frames of a recording, in pixels. `opacity` 0 hides it in a frame."""

    start: Pixels  # (T, 2): x, y
    end: Pixels  # (T, 2)
    start_radius: Pixels  # (T,)
    end_radius: Pixels  # (T,)
    colour: Pixels  # (C,), 0..255
    stripes: float = 0.0  # strength of the pattern of cloth
    opacity: Pixels | None = None  # (T,), 0..1


@dataclass(frozen=True)
class Footage:
    """Everything needed to draw a recording: the still picture, what moves on it, brightness and noise.

    By day C is 3 (RGB), in infrared 1 (grey).
    """

    background: Pixels  # (C, H, W), 0..255
    strokes: list[Stroke]  # in the order of painting
    gain: NDArray[np.float64]  # (T,), brightness
    vignette: Pixels  # (H, W), darkening towards the corners
    noise: float  # standard deviation, 0..255


def vignette(width: int, height: int, strength: float) -> Pixels:
    """A factor (H, W) that falls from 1 in the middle by `strength` in the corners."""
    y, x = np.mgrid[0:height, 0:width]
    across: Pixels = (2 * (x / width - 0.5) ** 2 + 2 * (y / height - 0.5) ** 2).astype(np.float32)
    return 1 - strength * across


def paint(block: Pixels, stroke: Stroke, first: int) -> None:
    """Draw frames first..first+K of a stroke onto a block (K, C, H, W), in place."""
    count, _, height, width = block.shape
    part = slice(first, first + count)
    start, end = stroke.start[part], stroke.end[part]
    r0, r1 = stroke.start_radius[part, None, None], stroke.end_radius[part, None, None]
    if stroke.opacity is not None and not stroke.opacity[part].any():
        return
    both = np.concatenate((start, end))
    margin = 1.0 + max(float(r0.max()), float(r1.max()))
    left, top = np.maximum(np.floor(both.min(axis=0) - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(both.max(axis=0) + margin) + 1, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return

    x = np.arange(left, right, dtype=np.float32)[None, None, :] - start[:, 0, None, None]
    y = np.arange(top, bottom, dtype=np.float32)[None, :, None] - start[:, 1, None, None]
    dx, dy = (end - start).T[:, :, None, None]
    length_squared = np.maximum(dx * dx + dy * dy, 1e-6)
    along = x * (dx / length_squared) + y * (dy / length_squared)
    np.clip(along, 0, 1, out=along)
    x = x - along * dx
    y = y - along * dy
    radius = r0 + along * (r1 - r0)
    squared = x * x + y * y
    cover = radius - np.sqrt(squared)
    cover += 0.5
    np.clip(cover, 0, 1, out=cover)
    if stroke.opacity is not None:
        cover *= stroke.opacity[part, None, None]

    shade = squared
    shade *= -EDGE_DARKENING / (radius * radius)
    shade -= y * (LIGHT_FROM_ABOVE / radius)
    shade += 1.0
    if stroke.stripes:
        shade *= 1 + stroke.stripes * np.cos(along * np.sqrt(length_squared) * (2 * np.pi / STRIPE_PX))
    box = block[:, :, top:bottom, left:right]
    shade *= cover
    np.subtract(1, cover, out=cover)
    for channel, value in enumerate(stroke.colour):
        target = box[:, channel]
        target *= cover
        target += shade * value
