"""A human recording: the subject's room, bed, camera and colours, day or infrared light, and a visiting carer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.demo.behaviour import Curve, drift, ordinary_movements, seizure_signs, smoothstep
from benchmark.data.demo.design import Plan, generator
from benchmark.data.demo.drawing import Footage, Stroke, vignette
from benchmark.data.demo.patients import (
    ORDINARY,
    PAUSE_S,
    RHYTHM_HZ,
    Body,
    Limb,
    body_limbs,
    draw_body,
    human_pose,
)
from benchmark.data.demo.scene import BED_LENGTH, HIP_X, MATTRESS_TOP, Array, Box, Camera, cast, draw_camera

Colour = NDArray[np.float64]

SKIN = ((0.93, 0.76, 0.65), (0.86, 0.66, 0.53), (0.72, 0.52, 0.4), (0.52, 0.36, 0.27), (0.38, 0.26, 0.2))
HAIR = ((0.12, 0.1, 0.09), (0.3, 0.2, 0.12), (0.55, 0.4, 0.22), (0.6, 0.6, 0.6), (0.45, 0.22, 0.12))
STRIPED = ("shirt", "sleeve", "blanket", "trousers")
DARK_IN_INFRARED = {"eye": 0.35, "hair": 0.7, "carer_hair": 0.7, "mouth": 0.7}
FOOT_WALL = -3.2  # x, metres
CARER_EVERY_S = 90.0  # mean time between visits


@dataclass(frozen=True)
class Furniture:
    """A box of a room before it has a colour; see `scene.Box`."""

    material: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    tilt: float = 0.0
    pattern: str = "plain"
    pitch: float = 0.3


@dataclass(frozen=True)
class Room:
    """What stays the same in all recordings of a subject. Lengths in metres, colours RGB in 0..1."""

    body: Body
    camera: Camera
    colours: dict[str, Colour]
    furniture: tuple[Furniture, ...]
    half_width: float
    head_wall: float
    blanket: bool
    stripes: float


def bedroom(plan: Plan) -> Footage:
    """A human recording. Room, body and camera follow from the subject's name, events from the recording's."""
    room = draw_room(plan)
    random = generator(plan.recording_id, "footage")
    t = np.arange(plan.frames) / float(plan.fps)
    signs = seizure_signs(t, plan.seizure, generator(plan.recording_id, "seizure"))
    movements = ordinary_movements(ORDINARY, RHYTHM_HZ, plan.duration_s, random, PAUSE_S)
    patient = body_limbs(human_pose(t, signs, movements, room.body, random), room.body, room.blanket)
    carer_side = float(random.choice((-1.0, 1.0)))
    carer = _carer(t, room, carer_side, random)
    # A carer on the far side of the bed is painted before the patient, one on the near side after.
    near = room.camera.eye[1] * carer_side > -0.3
    colours = {name: _seen(colour, name, plan.night) for name, colour in room.colours.items()}
    return Footage(
        background=(255 * _still(plan, room, colours)).astype(np.float32),
        strokes=[_stroke(limb, room, colours) for limb in ([*patient, *carer] if near else [*carer, *patient])],
        gain=random.uniform(0.95, 1.15) * (1 + 0.02 * drift(t, random, 120, 30)),
        vignette=vignette(plan.width, plan.height, 0.45 if plan.night else 0.2),
        noise=random.uniform(3.5, 5.0) if plan.night else random.uniform(2.0, 3.0),
    )


def draw_room(plan: Plan) -> Room:
    """The subject's room: the same whichever of the subject's recordings is asked for."""
    random = generator(plan.subject_id, "room")
    backrest = random.uniform(0.1, 0.45) if random.random() < 0.5 else 0.0
    body = draw_body(random, backrest)
    camera = draw_camera(random, plan.width, plan.height)
    blanket = bool(random.random() < 0.6)
    half_width, head_wall = random.uniform(1.7, 2.3), random.uniform(1.1, 1.35)
    return Room(
        body=body,
        camera=camera,
        colours=_draw_colours(random),
        furniture=tuple(_draw_furniture(random, backrest, half_width, head_wall, blanket)),
        half_width=half_width,
        head_wall=head_wall,
        blanket=blanket,
        stripes=float(random.choice((0.0, 0.08, 0.15))),
    )


def _draw_colours(random: np.random.Generator) -> dict[str, Colour]:
    def tint(low: float, high: float, saturation: float) -> Colour:
        return np.clip(random.uniform(low, high) + saturation * random.uniform(-1, 1, 3), 0.05, 0.97)

    colours = {
        "wall": tint(0.55, 0.75, 0.05),
        "floor": tint(0.4, 0.6, 0.06),
        "frame": tint(0.25, 0.6, 0.1),
        "sheet": tint(0.78, 0.9, 0.04),
        "pillow": tint(0.6, 0.75, 0.08),
        "cupboard": tint(0.3, 0.7, 0.12),
        "shirt": tint(0.3, 0.7, 0.3),
        "trousers": tint(0.2, 0.6, 0.2),
        "blanket": tint(0.3, 0.7, 0.3),
        "tunic": tint(0.5, 0.8, 0.2),
        "skin": np.array(SKIN[random.integers(len(SKIN))]),
        "hair": np.array(HAIR[random.integers(len(HAIR))]),
        "carer_hair": np.array(HAIR[random.integers(len(HAIR))]),
        "eye": np.array((0.08, 0.07, 0.07)),
        "mouth": np.array((0.5, 0.22, 0.2)),
    }
    return {**colours, "sleeve": 0.92 * colours["shirt"]}


def _draw_furniture(
    random: np.random.Generator, backrest: float, half_width: float, head_wall: float, blanket: bool
) -> list[Furniture]:
    half, top, bed = BED_LENGTH / 2, MATTRESS_TOP, random.uniform(0.44, 0.5)
    foot_half, head_half = (HIP_X + half) / 2, (half + 0.05 - HIP_X) / 2
    cos, sin = np.cos(backrest), np.sin(backrest)

    def on_backrest(distance: float, above: float) -> tuple[float, float, float]:
        return (HIP_X + distance * cos - above * sin, 0.0, top + distance * sin + above * cos)

    side = random.choice((-1.0, 1.0))
    pieces = [
        Furniture("frame", (0.0, 0.0, 0.3), (half + 0.06, bed + 0.04, 0.12)),
        Furniture("frame", (half + 0.08, 0.0, 0.55), (0.03, bed + 0.04, 0.45)),
        Furniture("frame", (-half - 0.08, 0.0, 0.42), (0.03, bed + 0.04, 0.28)),
        Furniture("sheet", (HIP_X - foot_half + 0.04, 0.0, top - 0.08), (foot_half, bed, 0.08)),
        Furniture("sheet", on_backrest(head_half, -0.08), (head_half, bed, 0.08), backrest),
        Furniture("pillow", on_backrest(0.72, 0.03), (0.2, 0.3, 0.04), backrest),
        Furniture("cupboard", (0.75, side * (half_width - 0.3), 0.35), (0.25, 0.25, 0.35), 0.0, "stripes", 0.5),
        Furniture("cupboard", (-0.9, -side * (half_width - 0.15), 0.5), (0.5, 0.15, 0.5)),
    ]
    if blanket:
        pieces.append(Furniture("blanket", (-0.55, 0.0, top + 0.01), (0.44, bed + 0.03, 0.02), 0.0, "stripes", 0.22))
    if random.random() < 0.6:
        window = (head_wall, random.uniform(-0.8, 0.8), 1.5)
        pieces.append(Furniture("sheet", window, (0.02, 0.35, 0.3), 0.0, "plain"))
    return pieces


def _still(plan: Plan, room: Room, colours: dict[str, Colour]) -> Array:
    """The empty room, (C, H, W) in 0..1: by day lit from a window, at night from the infrared lamp on the camera."""
    middle, half = (room.head_wall + FOOT_WALL) / 2, (room.head_wall - FOOT_WALL) / 2
    covering = "tiles" if room.half_width > 2.0 else "planks"
    floor = Box((middle, 0.0, 0.0), (half, room.half_width, 0.005), colours["floor"], pattern=covering, pitch=0.4)
    walls = Box((middle, 0.0, 1.5), (half, room.half_width, 1.6), colours["wall"], inside_out=True)
    boxes = [Box(p.centre, p.half, colours[p.material], p.tilt, p.pattern, p.pitch) for p in room.furniture]
    lamp = room.camera.eye if plan.night else np.array((-0.8, -0.6 * room.half_width, 2.4))
    return cast(room.camera, [*boxes, floor, walls], lamp, plan.width, plan.height, generator(plan.subject_id, "grain"))


def _carer(t: Curve, room: Room, side: float, random: np.random.Generator) -> list[Limb]:
    """Somebody who walks up to the bed, stays a while and leaves, at times drawn evenly over the recording."""
    there = np.zeros_like(t)
    now = random.exponential(CARER_EVERY_S) - 15
    while now < t[-1]:
        stay_s = random.uniform(5, 12)
        there = np.maximum(there, smoothstep((t - now) / 3.5) * smoothstep((now + 7 + stay_s - t) / 3.5))
        now += 7 + stay_s + random.exponential(CARER_EVERY_S)
    outside = np.array((-4.5, side * (room.half_width + 0.2)))
    beside = np.array((random.uniform(-0.4, 0.3), side * 0.78))
    place = outside + there[:, None] * (beside - outside)
    sway = 0.02 * drift(t, random, 5, 1.5)
    stride = 0.16 * np.sin(4 * np.pi * np.cumsum(np.abs(np.gradient(there))))

    def at(along: Curve | float, across: float, height: float) -> Array:
        x = place[:, 0] + along + sway
        return np.stack((x, place[:, 1] + across, np.full_like(x, height)), axis=-1)

    seen: Curve = (there > 0.01).astype(float)
    lean = -side * 0.15
    parts = (
        (at(stride, 0.08, 0.1), at(0, 0.08, 0.85), 0.06, 0.08, "trousers"),
        (at(-stride, -0.08, 0.1), at(0, -0.08, 0.85), 0.06, 0.08, "trousers"),
        (at(0, 0, 0.9), at(0, lean, 1.35), 0.16, 0.18, "tunic"),
        (at(0, lean + 0.2, 1.35), at(-stride, lean + 0.15, 0.9), 0.055, 0.045, "tunic"),
        (at(0, lean - 0.2, 1.35), at(stride, lean - 0.15, 0.9), 0.055, 0.045, "tunic"),
        (at(0, 1.4 * lean, 1.6), at(0, 1.4 * lean, 1.6), 0.11, 0.11, "carer_hair"),
    )
    return [Limb(*part, opacity=seen) for part in parts]


def _stroke(limb: Limb, room: Room, colours: dict[str, Colour]) -> Stroke:
    start, start_scale = room.camera.project(limb.start)
    end, end_scale = room.camera.project(limb.end)
    return Stroke(
        start=start.astype(np.float32),
        end=end.astype(np.float32),
        start_radius=(limb.start_radius * start_scale).astype(np.float32),
        end_radius=(limb.end_radius * end_scale).astype(np.float32),
        colour=(255 * colours[limb.material]).astype(np.float32),
        stripes=room.stripes if limb.material in STRIPED else 0.0,
        opacity=None if limb.opacity is None else limb.opacity.astype(np.float32),
    )


def _seen(colour: Colour, material: str, night: bool) -> Colour:
    """By day the colour (3,); in infrared one grey (1,), where materials reflect more alike than in the light."""
    if not night:
        return colour
    grey = 0.35 + 0.5 * float(colour @ np.array((0.3, 0.59, 0.11)))
    return np.array([grey * DARK_IN_INFRARED.get(material, 1.0)])
