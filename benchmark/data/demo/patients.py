"""A patient in bed: how ordinary movement and the seizure's curves move the joints, and which capsules make a body.

A pose is a set of curves (T,) by name, angles in radians and shifts in metres, 0 at rest on the back. Left and right
have names ending in 1 and -1. Everything is computed for all frames of a recording at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.data.demo.behaviour import Curve, Movement, Signs, bump, drift, smoothstep
from benchmark.data.demo.scene import HIP_X, MATTRESS_TOP, Array

SIDES = (1, -1)
# name: (weight, shortest, longest duration in seconds)
ORDINARY = {
    "scratch": (1.5, 2.5, 6.0),
    "reach": (1.5, 2.0, 5.0),
    "look": (1.5, 1.5, 6.0),
    "shift": (1.0, 1.5, 3.5),
    "roll": (0.5, 3.0, 6.0),
    "arm": (1.0, 1.0, 3.0),
    "leg": (1.0, 1.5, 4.0),
}
RHYTHM_HZ = (2.0, 3.5)
PAUSE_S = 2.5

Pose = dict[str, Curve]
# (distance up the spine, sideways, above) in metres, to points (T, 3) of the upper body
Upward = Callable[[Curve | float, Curve | float, Curve | float], Array]


@dataclass(frozen=True)
class Body:
    """Sizes relative to an average adult, habitual posture, breathing. `backrest` is the bed's angle in radians."""

    tall: float
    stout: float
    arm_out: float
    elbow_in: float
    knees: float
    backrest: float
    breaths_hz: float
    lie_y: float


@dataclass(frozen=True)
class Limb:
    """One capsule of a body in metres: ends (T, 3), radii, and the name of what it is made of."""

    start: Array
    end: Array
    start_radius: Curve | float
    end_radius: Curve | float
    material: str
    opacity: Curve | None = None


def draw_body(random: np.random.Generator, backrest: float) -> Body:
    """A body of one's own."""
    return Body(
        tall=random.uniform(0.9, 1.06),
        stout=random.uniform(0.85, 1.25),
        arm_out=random.uniform(0.15, 0.45),
        elbow_in=random.uniform(0.1, 1.0),
        knees=random.uniform(0.05, 0.4),
        backrest=backrest,
        breaths_hz=random.uniform(0.2, 0.3),
        lie_y=random.uniform(-0.08, 0.08),
    )


def human_pose(t: Curve, signs: Signs, movements: Sequence[Movement], body: Body, random: np.random.Generator) -> Pose:
    """Rest, ordinary movement, breathing and seizure, added up."""
    zero = np.zeros_like(t)
    names = ("x", "y", "lean", "roll", "breath", "head_turn", "head_tilt")
    pose = {name: zero.copy() for name in names}
    pose |= {f"{joint}{side}": zero.copy() for joint in ("arm", "elbow", "lift", "knee", "hip") for side in SIDES}
    pose["y"] += body.lie_y
    for side in SIDES:
        pose[f"arm{side}"] += body.arm_out
        pose[f"elbow{side}"] += body.elbow_in
        pose[f"knee{side}"] += body.knees * random.uniform(0.5, 1.0)
        pose[f"hip{side}"] += 0.08
    _move(pose, signs.clock_s, movements)
    pose["head_turn"] += 0.08 * drift(signs.clock_s, random, 30, 8)
    depth = 1 + 0.8 * signs.exhaustion
    pose["breath"] += depth * np.sin(2 * np.pi * body.breaths_hz * t + random.uniform(0, 6.3))
    _seize(pose, signs)
    return pose


def _move(pose: Pose, clock: Curve, movements: Sequence[Movement]) -> None:
    """Add ordinary movements: passing ones come and go, postures stay until the next one of their kind."""
    postures: dict[str, float] = {}

    def settle(name: str, value: float, m: Movement) -> None:
        pose[name] += (value - postures.get(name, 0.0)) * smoothstep((clock - m.start_s) / m.duration_s)
        postures[name] = value

    for m in movements:
        passing = m.strength * bump(clock, m.start_s, m.duration_s, min(0.9, 0.4 * m.duration_s))
        swing = np.sin(2 * np.pi * m.hz * clock)
        match m.kind:
            case "scratch":  # a hand goes to the chest or face and rubs
                pose[f"arm{m.side}"] += passing * (0.5 + 0.4 * m.settle)
                pose[f"elbow{m.side}"] += passing * (1.5 + 0.5 * m.settle + 0.22 * swing)
                pose[f"lift{m.side}"] += passing * 0.5
            case "reach":
                pose[f"arm{m.side}"] += passing * (0.9 + 0.5 * m.settle)
                pose[f"elbow{m.side}"] -= passing * 0.5
                pose[f"lift{m.side}"] += passing * 0.4
            case "look":
                pose["head_turn"] += passing * m.side * 0.9
                pose["head_tilt"] += passing * m.settle * 0.2
            case "shift":
                settle("y", 0.07 * m.settle, m)
                settle("lean", 0.08 * m.side * m.strength, m)
                pose["x"] += 0.03 * passing
                pose[f"knee{m.side}"] += 0.4 * passing
            case "roll":
                settle("roll", m.side * 0.75 * m.strength if abs(m.settle) > 0.5 else 0.0, m)
            case "arm":
                settle(f"arm{m.side}", 0.25 * m.settle, m)
                settle(f"elbow{m.side}", 0.5 * m.settle + 0.3 * m.strength, m)
            case _:
                settle(f"knee{m.side}", 0.5 * m.strength if m.settle > 0 else 0.0, m)
                settle(f"hip{m.side}", 0.1 * m.settle, m)


def _seize(pose: Pose, signs: Signs) -> None:
    """Add the seizure: the forelimb of `signs.side` jerks, the head turns away from it, then all limbs take part."""
    pose[f"elbow{signs.side}"] += 0.2 * signs.jerk
    pose[f"lift{signs.side}"] += 0.28 * signs.jerk
    pose["head_turn"] -= signs.side * 1.0 * signs.head
    pose["head_tilt"] -= signs.side * 0.25 * signs.head
    for side in SIDES:
        stronger = 1.0 if side == signs.side else 0.85
        pose[f"arm{side}"] += stronger * (0.45 * signs.tonic + 0.25 * signs.clonic)
        pose[f"elbow{side}"] += stronger * (0.35 * signs.tonic + 1.2 * signs.clonic)
        pose[f"lift{side}"] += stronger * (0.35 * signs.tonic + 0.3 * signs.clonic)
        pose[f"knee{side}"] += stronger * (0.1 * signs.tonic + 0.45 * signs.clonic)
        pose[f"hip{side}"] += 0.06 * signs.tonic
    pose["x"] += 0.03 * signs.clonic
    pose["lean"] += signs.side * (0.06 * signs.tonic + 0.05 * signs.clonic)
    pose["head_tilt"] += signs.side * 0.18 * signs.clonic


def body_limbs(pose: Pose, body: Body, blanket: bool) -> list[Limb]:
    """The body as capsules in world metres, in the order of painting (below to above)."""
    tall, stout = body.tall, body.stout
    cos_roll, sin_roll = np.cos(pose["roll"]), np.sin(pose["roll"])
    lie = 0.11 * stout
    hips = _stack(HIP_X + pose["x"], pose["y"], np.full_like(cos_roll, MATTRESS_TOP + lie))
    tilt = np.cos(body.backrest), np.sin(body.backrest)

    def upward(distance: Curve | float, sideways: Curve | float, above: Curve | float) -> Array:
        """A point of the upper body, `distance` up the spine from the hips; the backrest raises it."""
        x = distance * np.cos(pose["lean"]) - sideways * np.sin(pose["lean"])
        y = distance * np.sin(pose["lean"]) + sideways * np.cos(pose["lean"])
        return hips + _stack(x * tilt[0] - above * tilt[1], y, x * tilt[1] + above * tilt[0])

    swell = 0.012 * pose["breath"]
    neck, chest = upward(0.52 * tall, 0.0, 0.01), upward(0.36 * tall, 0.0, 0.01 + swell)
    shoulders = [upward(0.44 * tall, side * 0.11 * cos_roll, side * 0.11 * sin_roll) for side in SIDES]
    limbs = [
        Limb(hips, chest, 0.135 * stout + 0.5 * swell, 0.155 * stout + swell, "shirt"),
        Limb(shoulders[0], shoulders[1], 0.1, 0.1, "shirt"),
    ]
    for side in SIDES:
        limbs += _leg(pose, body, hips, side, "blanket" if blanket else "trousers", loose=0.05 if blanket else 0.0)
    # The arm that lies lower when rolled over is painted first.
    for side in SIDES if np.mean(pose["roll"]) < 0 else SIDES[::-1]:
        shoulder_y, shoulder_z = side * 0.19 * stout * cos_roll, side * 0.17 * sin_roll + 0.02
        limbs += _arm(pose, body, upward, shoulder_y, shoulder_z, side)
    return limbs + _head(pose, tall, neck, upward)


def _leg(pose: Pose, body: Body, hips: Array, side: int, cloth: str, loose: float) -> list[Limb]:
    out, knee, stout = pose[f"hip{side}"], pose[f"knee{side}"], body.stout
    splay = side * np.sin(out)
    root = hips + np.array((0.0, side * 0.095 * stout, 0.0))
    thigh, shin = 0.42 * body.tall, 0.4 * body.tall
    joint = root + thigh * _stack(-np.cos(knee), splay, np.sin(knee) - 0.08)
    foot = joint + shin * _stack(-np.cos(0.9 * knee), 0.6 * splay, -np.sin(0.9 * knee) + 0.02)
    limbs = [
        Limb(root, joint, 0.095 * stout + loose, 0.065 + loose, cloth),
        Limb(joint, foot, 0.06 + loose, 0.045 + loose, cloth),
    ]
    if not loose:
        limbs.append(Limb(foot, foot + np.array((-0.06, side * 0.02, 0.06)), 0.045, 0.035, "skin"))
    return limbs


def _arm(pose: Pose, body: Body, upward: Upward, shoulder_y: Curve, shoulder_z: Curve, side: int) -> list[Limb]:
    arm, bend, lift = pose[f"arm{side}"], pose[f"elbow{side}"], pose[f"lift{side}"]
    along, upper, lower = 0.45 * body.tall, 0.28 * body.tall, 0.25 * body.tall
    low = upper * np.cos(0.5 * lift)
    elbow_at = along - low * np.cos(arm), shoulder_y + side * low * np.sin(arm), shoulder_z + upper * np.sin(0.5 * lift)
    inward = arm - bend
    reach = lower * np.cos(lift)
    # A forearm bent inward rests on the trunk, so it rises with the bend.
    rise = shoulder_z + 0.1 * np.clip(np.sin(np.clip(-inward, 0, 1.5)), 0, 1) + (upper + lower) * 0.5 * np.sin(lift)
    hand_at = elbow_at[0] - reach * np.cos(inward), elbow_at[1] + side * reach * np.sin(inward), rise
    shoulder, elbow, hand = upward(along, shoulder_y, shoulder_z), upward(*elbow_at), upward(*hand_at)
    tip = hand + 0.3 * (hand - elbow)
    return [
        Limb(shoulder, elbow, 0.062 * body.stout, 0.05, "sleeve"),
        Limb(elbow, hand, 0.046, 0.036, "skin"),
        Limb(hand, tip, 0.042, 0.03, "skin"),
    ]


def _head(pose: Pose, tall: float, neck: Array, upward: Upward) -> list[Limb]:
    tilt, turn = pose["head_tilt"], pose["head_turn"] + 0.6 * pose["roll"]
    head = upward(0.52 * tall + 0.15 * np.cos(tilt), 0.15 * np.sin(tilt), 0.03)

    def on_face(x: float, angle: float, distance: float) -> Array:
        centre = upward(0.52 * tall + (0.15 + x) * np.cos(tilt), (0.15 + x) * np.sin(tilt), 0.03)
        raised = upward(0.0, np.sin(turn + angle) * distance, np.cos(turn + angle) * distance) - upward(0.0, 0.0, 0.0)
        return centre + raised

    return [
        Limb(neck, head, 0.055, 0.06, "skin"),
        Limb(head, head, 0.112, 0.112, "hair"),
        Limb(on_face(-0.07, 0, 0.035), on_face(0.0, 0, 0.045), 0.062, 0.082, "skin"),
        Limb(on_face(0.025, -0.4, 0.11), on_face(0.025, -0.4, 0.11), 0.014, 0.014, "eye"),
        Limb(on_face(0.025, 0.4, 0.11), on_face(0.025, 0.4, 0.11), 0.014, 0.014, "eye"),
        Limb(on_face(-0.055, -0.2, 0.115), on_face(-0.055, 0.2, 0.115), 0.011, 0.011, "mouth"),
    ]


def _stack(x: Curve, y: Curve, z: Curve) -> Array:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)
