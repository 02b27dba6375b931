"""The still part of a bedroom: a pinhole camera, and a room of boxes seen through it by casting one ray a pixel.

World axes in metres: the bed's middle is the origin on the floor, x runs to its head, y to the left of somebody
lying on the back, z up. The same camera model serves every human of the demo set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BED_LENGTH, MATTRESS_TOP = 2.0, 0.6
HIP_X = -0.12  # where the bed's head part bends, and where the patient's hips lie
SAMPLES = 2  # rays a pixel and axis


@dataclass(frozen=True)
class Camera:
    """Pinhole camera. Rows of `axes` are its right, down and forward directions."""

    eye: Array
    axes: Array
    focal_px: float
    centre_px: tuple[float, float]

    def project(self, points: Array) -> tuple[Array, Array]:
        """World points (..., 3) to pixels (..., 2) and to the size in pixels of a metre at their depth (...)."""
        seen = (points - self.eye) @ self.axes.T
        scale = self.focal_px / np.maximum(seen[..., 2], 0.2)
        return seen[..., :2] * scale[..., None] + self.centre_px, scale

    def rays(self, width: int, height: int) -> Array:
        """Unit directions (H*SAMPLES, W*SAMPLES, 3) through a regular grid inside each pixel."""
        steps = (np.arange(max(width, height) * SAMPLES) + 0.5) / SAMPLES - 0.5
        u = (steps[: width * SAMPLES] - self.centre_px[0]) / self.focal_px
        v = (steps[: height * SAMPLES] - self.centre_px[1]) / self.focal_px
        grid = np.stack(np.broadcast_arrays(u[None, :], v[:, None], np.ones((1, 1))), axis=-1)
        directions: Array = grid @ self.axes
        return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Box:
    """A box, turned about the y axis by `tilt`. `pattern` is drawn on it: plain, stripes, tiles or planks."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    colour: Array  # (C,), 0..1
    tilt: float = 0.0
    pattern: str = "plain"
    pitch: float = 0.3
    inside_out: bool = field(default=False)


def draw_camera(random: np.random.Generator, width: int, height: int) -> Camera:
    """One of three mountings (ceiling, foot corner, side wall), zoomed so that the bed nearly fills the picture."""
    kind, hand = random.choice(("ceiling", "corner", "side")), random.choice((-1.0, 1.0))
    eye = {
        "ceiling": (random.uniform(-0.6, 0.1), hand * random.uniform(0.2, 0.7), random.uniform(2.5, 2.8)),
        "corner": (random.uniform(-2.2, -1.6), hand * random.uniform(0.9, 1.5), random.uniform(2.2, 2.6)),
        "side": (random.uniform(-0.5, 0.1), hand * random.uniform(1.5, 1.9), random.uniform(2.1, 2.5)),
    }[kind]
    target = np.array((random.uniform(-0.05, 0.15), random.uniform(-0.1, 0.1), MATTRESS_TOP))
    forward = target - np.array(eye)
    forward /= np.linalg.norm(forward)
    # From the ceiling or the side the bed lies across the picture; from the corner the head is up.
    up = np.array((1.0, 0.0, 0.35)) if kind == "corner" else np.array((0.0, -hand, 0.6))
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    roll = random.uniform(-0.12, 0.12)
    down = np.cross(forward, right)
    axes = np.stack((np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward))
    loose = Camera(np.array(eye), axes, 100.0, (0.0, 0.0))
    corners = [(x, y, MATTRESS_TOP + 0.1) for x in (-1.1, 1.05) for y in (-0.5, 0.5)]
    seen, _ = loose.project(np.array([*corners, (0.6, 0.0, MATTRESS_TOP + 0.4)]))
    low, high = seen.min(axis=0), seen.max(axis=0)
    focal = 100.0 * random.uniform(0.86, 0.98) * min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    middle = (low + high) / 2 * focal / 100.0
    return Camera(np.array(eye), axes, focal, (width / 2 - middle[0], height / 2 - middle[1]))


def cast(camera: Camera, boxes: list[Box], lamp: Array, width: int, height: int, random: np.random.Generator) -> Any:
    """The picture (C, H, W), 0..1, of boxes lit by a lamp and by even light; the nearest surface wins."""
    rays = camera.rays(width, height)
    nearest = np.full(rays.shape[:2], np.inf)
    picture = np.zeros((*rays.shape[:2], len(boxes[0].colour)))
    for box in boxes:
        distance, normal, local = _hit(camera.eye, rays, box)
        wins = distance < nearest
        nearest = np.where(wins, distance, nearest)
        point = camera.eye + rays * np.where(np.isfinite(distance), distance, 0)[..., None]
        to_lamp = lamp - point
        away = np.linalg.norm(to_lamp, axis=-1)
        facing = np.clip(np.sum(normal * to_lamp, axis=-1) / np.maximum(away, 1e-6), 0, 1)
        light = 0.5 + 0.6 * facing / (1 + 0.08 * away**2)
        colour = box.colour * (light * _pattern(box, local))[..., None]
        picture = np.where(wins[..., None], colour, picture)
    small = picture.reshape(height, SAMPLES, width, SAMPLES, -1).mean(axis=(1, 3))
    grain = 1 + 0.02 * random.standard_normal((height, width, 1))
    return np.moveaxis(small * grain, -1, 0)


def _hit(eye: Array, rays: Array, box: Box) -> tuple[Array, Array, Array]:
    """Distance along each ray to the box (inf: missed), the surface's normal, the point in the box's own axes."""
    cos, sin = np.cos(box.tilt), np.sin(box.tilt)
    turn = np.array(((cos, 0.0, sin), (0.0, 1.0, 0.0), (-sin, 0.0, cos)))  # world to box
    origin, direction = turn @ (eye - np.array(box.centre)), rays @ turn.T
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    a, b = (-np.array(box.half) - origin) / safe, (np.array(box.half) - origin) / safe
    enter, leave = np.minimum(a, b), np.maximum(a, b)
    near, far = enter.max(axis=-1), leave.min(axis=-1)
    if box.inside_out:
        distance, axis = far, leave.argmin(axis=-1)
    else:
        distance, axis = np.where((near < far) & (near > 0), near, np.inf), enter.argmax(axis=-1)
    side = -np.sign(np.take_along_axis(direction, axis[..., None], axis=-1))
    normal = np.where(np.arange(3) == axis[..., None], side, 0.0) @ turn
    local = origin + direction * np.where(np.isfinite(distance), distance, 0)[..., None]
    return distance, normal, local


def _pattern(box: Box, local: Array) -> Array:
    x, y, z = (local[..., axis] / box.pitch for axis in range(3))
    if box.pattern == "stripes":
        return 1 + 0.12 * np.sign(np.sin(2 * np.pi * x))
    if box.pattern == "tiles":
        return 1 + 0.08 * np.where((np.floor(x) + np.floor(y) + np.floor(z)) % 2 > 0, 1.0, -1.0)
    if box.pattern == "planks":
        return 1 + 0.08 * np.sin(12.9 * np.floor(y)) + 0.03 * np.sin(5 * x + 7 * np.floor(y))
    return np.ones_like(x)
