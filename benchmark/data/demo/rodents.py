"""A mouse or rat in a cage, filmed from above: the same seizure curves as in humans, moving another body.

Places are in body lengths from the cage's middle, angles in radians. The body is a chain of capsules from the rump
to the nose, with four paws, ears, eyes and a tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.demo.behaviour import (
    Curve,
    Movement,
    Signs,
    bump,
    drift,
    ordinary_movements,
    seizure_signs,
    smoothstep,
)
from benchmark.data.demo.design import Plan, generator
from benchmark.data.demo.drawing import Footage, Pixels, Stroke, vignette
from benchmark.data.demo.scene import Array

Colour = NDArray[np.float64]

# name: (weight, shortest, longest duration in seconds)
ORDINARY = {"walk": (3.0, 1.0, 3.0), "groom": (1.2, 1.5, 4.0), "rear": (1.0, 1.0, 2.5), "look": (1.5, 0.6, 2.0)}
RHYTHM_HZ = (4.0, 6.0)
PAUSE_S = 0.8
COATS = {
    "mouse": ((0.16, 0.14, 0.13), (0.4, 0.3, 0.22), (0.62, 0.55, 0.48)),
    "rat": ((0.93, 0.92, 0.9), (0.75, 0.72, 0.7), (0.3, 0.26, 0.24)),
}
LENGTH_SHARE = {"mouse": (0.24, 0.3), "rat": (0.3, 0.36)}  # of the picture's width
PINK = np.array((0.85, 0.62, 0.58))
BREATHS_HZ = 2.0
SIDES = (1, -1)


@dataclass(frozen=True)
class Cage:
    """What stays the same in all clips of an animal. `half` is the cage's half size in body lengths."""

    body_px: float
    turn: float
    half: Array
    coat: Colour
    bedding: Colour
    stout: float


@dataclass(frozen=True)
class Posture:
    """Curves (T,): where the animal is, which way it points, and how its body is bent."""

    place: Array  # (T, 2)
    heading: Curve
    bend: Curve
    nose_turn: Curve
    length: Curve
    rear: Curve
    groom: Curve
    stride: Curve


@dataclass(frozen=True)
class Piece:
    """One capsule of the body, in body lengths."""

    start: Array
    end: Array
    start_radius: Curve | float
    end_radius: Curve | float
    colour: Colour


def cage(plan: Plan) -> Footage:
    """A rodent clip. Cage, coat and camera follow from the animal's name, events from the clip's."""
    home_random = generator(plan.subject_id, "cage")
    home = _draw_cage(plan, home_random)
    background = _floor(plan, home, home_random)
    random = generator(plan.recording_id, "footage")
    t = np.arange(plan.frames) / float(plan.fps)
    signs = seizure_signs(t, plan.seizure, generator(plan.recording_id, "seizure"))
    movements = ordinary_movements(ORDINARY, RHYTHM_HZ, plan.duration_s, random, PAUSE_S)
    posture = _posture(t, signs, movements, home, random)
    return Footage(
        background=background,
        strokes=[_stroke(piece, home, plan) for piece in _body(t, posture, signs, home)],
        gain=random.uniform(0.95, 1.15) * (1 + 0.02 * drift(t, random, 60, 15)),
        vignette=vignette(plan.width, plan.height, 0.4 if plan.night else 0.2),
        noise=random.uniform(3.5, 5.0) if plan.night else random.uniform(2.0, 3.0),
    )


def _draw_cage(plan: Plan, random: np.random.Generator) -> Cage:
    body_px = plan.width * random.uniform(*LENGTH_SHARE[plan.species])
    coats = COATS[plan.species]
    return Cage(
        body_px=body_px,
        turn=random.uniform(-0.1, 0.1),
        half=0.45 * np.array((plan.width, plan.height)) / body_px,
        coat=np.array(coats[random.integers(len(coats))]),
        bedding=random.uniform(0.45, 0.75) + random.uniform(-0.03, 0.03, 3) + (0.05, 0.0, -0.07),
        stout=random.uniform(0.9, 1.15),
    )


def _posture(t: Curve, signs: Signs, movements: Sequence[Movement], home: Cage, random: np.random.Generator) -> Posture:
    """Ordinary movement, then the same signs as in humans: head away from the jerking limb, stiffening, jerks."""
    clock = signs.clock_s
    place, heading, stride = _path(clock, movements, home, random)
    curl, rear, groom, look = (np.zeros_like(t) for _ in range(4))
    for m in movements:
        passing = m.strength * bump(clock, m.start_s, m.duration_s, 0.35)
        match m.kind:
            case "groom":
                curl += m.side * 0.5 * passing
                groom += passing * np.sin(2 * np.pi * m.hz * clock)
            case "rear":
                rear += passing
            case "look":
                look += m.side * 0.7 * passing
            case _:
                curl += 0.3 * m.settle * passing
    rear = np.clip(rear, 0, 1)
    return Posture(
        place=place,
        heading=heading,
        bend=curl - 0.35 * signs.side * signs.head + 0.25 * signs.side * signs.clonic,
        nose_turn=look + 0.06 * groom - 0.8 * signs.side * signs.head + 0.3 * signs.side * signs.clonic,
        length=(1 - 0.25 * rear) * (1 + 0.12 * signs.tonic - 0.12 * signs.clonic),
        rear=rear,
        groom=groom,
        stride=stride,
    )


def _path(
    clock: Curve, movements: Sequence[Movement], home: Cage, random: np.random.Generator
) -> tuple[Array, Curve, Curve]:
    """Place (T, 2), heading (T,) and phase of the steps (T,): walks lead from one spot of the cage to another."""
    reach = np.maximum(home.half - 0.75, 0.15)
    spot, pointing = random.uniform(-1, 1, 2) * reach, random.uniform(-np.pi, np.pi)
    place, heading = np.tile(spot, (len(clock), 1)), np.full_like(clock, pointing)
    for m in (m for m in movements if m.kind == "walk"):
        target = random.uniform(-1, 1, 2) * reach
        way = target - spot
        turn = (np.arctan2(way[1], way[0]) - pointing + np.pi) % (2 * np.pi) - np.pi
        place = place + smoothstep((clock - m.start_s) / m.duration_s)[:, None] * way
        heading = heading + turn * smoothstep((clock - m.start_s) / (0.5 * m.duration_s))
        spot, pointing = target, pointing + turn
    walked = np.cumsum(np.linalg.norm(np.diff(place, axis=0, prepend=place[:1]), axis=1))
    return place, heading, 14.0 * walked


def _body(t: Curve, posture: Posture, signs: Signs, home: Cage) -> list[Piece]:
    """The animal's capsules in the order of painting."""
    heading, bend = posture.heading, posture.bend

    def along(distance: float) -> Array:
        """A point of the back, from the rump (negative) to the neck; the body bends as an arc."""
        shortened = posture.length * (1 - 0.08 * np.abs(bend))
        return posture.place + distance * shortened[:, None] * _unit(heading + bend * distance)

    rump, middle, neck = along(-0.3), along(-0.05), along(0.22)
    facing = heading + 0.5 * bend + posture.nose_turn
    head, nose = _off(neck, facing, 0.12), _off(neck, facing, 0.3 - 0.1 * posture.rear)
    coat, stout = home.coat, home.stout
    fat = 0.175 * stout * (1 + 0.02 * np.sin(2 * np.pi * BREATHS_HZ * t) * (1 + signs.exhaustion))
    pieces = _tail(rump, heading + np.pi - 0.5 * bend, signs)
    for side in SIDES:
        pieces += [_forepaw(neck, side, posture, signs), _hindpaw(rump, side, posture, signs)]
    pieces += [
        Piece(rump, middle, 1.03 * fat, fat, 0.8 * coat),
        Piece(middle, neck, fat, 0.125 * stout, coat),
        Piece(head, nose, 0.1, 0.035, coat),
        Piece(nose, nose, 0.03, 0.03, PINK),
    ]
    for side in SIDES:
        ear, eye = _off(head, facing, -0.04, side * 0.09), _off(head, facing, 0.07, side * 0.055)
        pieces += [
            Piece(ear, ear, 0.045, 0.045, 0.6 * coat + 0.4 * PINK),
            Piece(eye, eye, 0.018, 0.018, np.full(3, 0.05)),
        ]
    return pieces


def _tail(root: Array, angle: Curve, signs: Signs) -> list[Piece]:
    pieces, joint = [], _off(root, angle, 0.15)
    for number in (1, 2, 3):
        idle = 0.21 * np.sin(0.9 * signs.clock_s + number) * (1 - signs.tonic)
        tip = _off(joint, angle + number * (idle + 0.24 * signs.clonic), 0.2)
        pieces.append(Piece(joint, tip, 0.035 / number**0.5, 0.03 / number**0.5, 0.9 * PINK))
        joint = tip
    return pieces


def _forepaw(neck: Array, side: int, posture: Posture, signs: Signs) -> Piece:
    jerk = signs.jerk * (side == signs.side)
    step = 0.07 * np.sin(posture.stride + (np.pi if side > 0 else 0))
    forward = 0.09 + step + 0.05 * posture.groom + 0.13 * jerk + 0.14 * signs.tonic + 0.16 * signs.clonic
    sideways = 0.15 - 0.04 * np.abs(posture.groom) + 0.06 * jerk + 0.1 * signs.tonic + 0.08 * signs.clonic
    tip = _off(neck, posture.heading + 0.3 * posture.bend, forward, side * sideways)
    return Piece(neck, tip, 0.06, 0.04, PINK)


def _hindpaw(rump: Array, side: int, posture: Posture, signs: Signs) -> Piece:
    step = 0.07 * np.sin(posture.stride + (0 if side > 0 else np.pi))
    forward = step - 0.02 - 0.14 * signs.tonic - 0.14 * signs.clonic
    sideways = 0.18 + 0.1 * signs.tonic + 0.1 * signs.clonic
    tip = _off(rump, posture.heading - 0.3 * posture.bend, forward, side * sideways)
    return Piece(rump, tip, 0.06, 0.05, PINK)


def _floor(plan: Plan, home: Cage, random: np.random.Generator) -> Pixels:
    """Bedding, a bowl in a corner and the cage's rim: (C, H, W), 0..255."""
    height, width = plan.height, plan.width
    coarse = random.standard_normal((height + 2, width + 2))
    grain = sum(coarse[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)) / 3.0
    y, x = np.mgrid[0:height, 0:width]
    u, v = (x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1
    image = home.bedding[:, None, None] * (1 + 0.06 * grain)
    corner = random.choice((-1.0, 1.0), 2)
    bowl = np.hypot((u - 0.72 * corner[0]) * width / height, v - 0.62 * corner[1])
    clay = (random.uniform(0.2, 0.7) + random.uniform(-0.1, 0.1, 3))[:, None, None]
    image = np.where(bowl < 0.24, clay * np.where(bowl < 0.17, 0.6, 1.1), image)
    rim = np.maximum(np.abs(u + 0.08 * home.turn * v), np.abs(v - home.turn * u))
    image = image * (1 - 0.45 * np.clip((0.05 - np.abs(rim - 0.93)) / 0.03, 0, 1))
    if plan.night:
        image = 0.2 + 0.5 * image.mean(axis=0, keepdims=True)
    return (255 * image).astype(np.float32)


def _stroke(piece: Piece, home: Cage, plan: Plan) -> Stroke:
    cos, sin = np.cos(home.turn), np.sin(home.turn)
    to_picture = home.body_px * np.array(((cos, sin), (-sin, cos)))
    middle = np.array((plan.width, plan.height)) / 2
    seen = np.array([0.25 + 0.55 * float(piece.colour.mean())]) if plan.night else piece.colour

    def pixels(radius: Curve | float) -> Pixels:
        return np.broadcast_to(home.body_px * np.asarray(radius), plan.frames).astype(np.float32)

    return Stroke(
        start=(piece.start @ to_picture + middle).astype(np.float32),
        end=(piece.end @ to_picture + middle).astype(np.float32),
        start_radius=pixels(piece.start_radius),
        end_radius=pixels(piece.end_radius),
        colour=(255 * seen).astype(np.float32),
    )


def _off(at: Array, angle: Curve, forward: Curve | float, sideways: Curve | float = 0.0) -> Array:
    """Points (T, 2) that lie `forward` and `sideways` of `at` for somebody who faces `angle`."""
    ahead, aside = _unit(angle), _unit(angle + np.pi / 2)
    return at + ahead * np.reshape(forward, (-1, 1)) + aside * np.reshape(sideways, (-1, 1))


def _unit(angle: Curve) -> Array:
    return np.stack((np.cos(angle), np.sin(angle)), axis=-1)
