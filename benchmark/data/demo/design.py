"""The design of the demo set, as frozen data: who is filmed, how, and when a seizure begins.

    recording of a patient, seizure early    |..pre-ictal|SEIZURE|post|........75 s off........|inter-ictal|
    recording of a patient, seizure late     |inter-ictal.........|........75 s off........|pre-ictal|SEIZURE|

The two are mirror images, so that the position in the recording does not tell pre-ictal from inter-ictal.
The reasons are in docs/demo_set.md. Nothing here may change without a new DEMO_VERSION, which seeds everything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

DEMO_VERSION = "1"
SOURCE_DATASET = "seizure-bench demo (rendered)"

SIZES = ((128, 96), (144, 108), (160, 120))
RATES = (Fraction(15), Fraction(25, 2), Fraction(20))

PATIENTS = {"evaluate": ("pt", 12), "develop": ("dv", 4)}
PRETRAIN_HUMANS = 6
RODENTS = 10
RODENT_CLIPS_PER_CLASS = 6

PATIENT_RECORDING_S = (181.0, 185.0)
PRETRAIN_HUMAN_S = 60
RODENT_CLIP_S = 10

SEIZURE_S = (15.0, 22.0)
TAIL_S = (3.0, 8.0)  # from the end of a late seizure to the end of its recording
MIRROR_S = 14.0  # a late seizure begins this much nearer to the end than an early one to the start: see `_onset`
HUMAN_LEAD_S = 12.0
RODENT_ONSET_S = (4.0, 6.0)
RODENT_LEAD_S = (2.5, 4.0)
JERK_HZ = (3.0, 5.0)


@dataclass(frozen=True)
class Seizure:
    """When and how one seizure runs. `side` is the jerking forelimb: 1 left, -1 right; the head turns away from it."""

    onset_s: float
    duration_s: float
    lead_s: float
    jerk_hz: float
    side: int


@dataclass(frozen=True)
class Plan:
    """All that is decided about a recording before it is drawn; the rest follows from its names by seed."""

    recording_id: str
    subject_id: str
    species: str
    split: str
    session_id: str
    width: int
    height: int
    fps: Fraction
    frames: int
    night: bool
    seizure: Seizure | None

    @property
    def duration_s(self) -> float:
        """Exact length in seconds."""
        return float(self.frames / self.fps)


def generator(*names: str) -> np.random.Generator:
    """A random generator that depends on the names and DEMO_VERSION alone."""
    digest = hashlib.sha256("/".join((DEMO_VERSION, *names)).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest[:16], "big")))


def complete_design() -> tuple[Plan, ...]:
    """Every recording of the demo set, in the order of its manifest."""
    patients = [
        plan
        for split, (prefix, number) in PATIENTS.items()
        for index in range(number)
        for plan in _patient(f"{prefix}{index + 1:02d}", index, split)
    ]
    humans = [_pretrain_human(f"pr{index + 1:02d}", index) for index in range(PRETRAIN_HUMANS)]
    rodents = [plan for index in range(RODENTS) for plan in _rodent(f"rd{index + 1:02d}", index)]
    return (*patients, *humans, *rodents)


def _patient(subject: str, index: int, split: str) -> list[Plan]:
    random = generator(subject, "plan")
    (width, height), fps = _camera(index)
    frames = round(random.uniform(*PATIENT_RECORDING_S) * fps)
    side, jerk_hz = int(random.choice((-1, 1))), random.uniform(*JERK_HZ)
    plans = []
    for number, early in enumerate((True, False), start=1):
        duration_s = round(random.uniform(*SEIZURE_S), 3)
        seizure = Seizure(
            onset_s=_onset(early, duration_s, random.uniform(*TAIL_S), float(frames / fps)),
            duration_s=duration_s,
            lead_s=HUMAN_LEAD_S,
            jerk_hz=round(float(np.clip(jerk_hz + random.uniform(-0.3, 0.3), *JERK_HZ)), 3),
            side=side,
        )
        # Even patients have the early seizure by day, odd ones by night.
        night = early == bool(index % 2)
        plans.append(
            Plan(
                f"{subject}_s{number}",
                subject,
                "human",
                split,
                f"s{number}",
                width,
                height,
                fps,
                frames,
                night,
                seizure,
            )
        )
    return plans


def _onset(early: bool, duration_s: float, tail_s: float, recording_s: float) -> float:
    """Seconds from the start to the onset, at an irregular time.

    A window that ends a little before a late onset is centred about 7 s before it; the mirror image of that window
    lies 7 s nearer to the start than its own early onset. Hence the early onset is 14 s further in.
    """
    from_the_edge = duration_s + tail_s
    return round(from_the_edge + MIRROR_S if early else recording_s - from_the_edge, 3)


def _pretrain_human(subject: str, index: int) -> Plan:
    (width, height), fps = _camera(index)
    frames = round(PRETRAIN_HUMAN_S * fps)
    night = bool(index % 2)
    return Plan(f"{subject}_s1", subject, "human", "pretrain", "s1", width, height, fps, frames, night, None)


def _rodent(subject: str, index: int) -> list[Plan]:
    random = generator(subject, "plan")
    (width, height), fps = _camera(index)
    species = ("mouse", "rat")[index % 2]
    frames = round(RODENT_CLIP_S * fps)
    side, jerk_hz = int(random.choice((-1, 1))), round(random.uniform(*JERK_HZ), 3)
    seizures: list[Seizure | None] = [None] * RODENT_CLIPS_PER_CLASS
    for _ in range(RODENT_CLIPS_PER_CLASS):
        onset_s = round(random.uniform(*RODENT_ONSET_S), 3)
        duration_s = round(RODENT_CLIP_S - onset_s, 3)
        lead_s = round(random.uniform(*RODENT_LEAD_S), 3)
        seizures.append(Seizure(onset_s, duration_s, lead_s, jerk_hz, side))
    # Half of each class by night; then shuffled, so that neither name nor order tells the class.
    clips = [(seizure, bool(number % 2)) for number, seizure in enumerate(seizures)]
    return [
        Plan(
            f"{subject}_s{number:02d}", subject, species, "pretrain", f"s{number:02d}", width, height, fps, frames,
            *(clips[drawn][1], clips[drawn][0]),
        )
        for number, drawn in enumerate(random.permutation(len(clips)), start=1)
    ]  # fmt: skip


def _camera(index: int) -> tuple[tuple[int, int], Fraction]:
    """Picture size and frame rate of a subject: all nine pairs occur."""
    return SIZES[index % 3], RATES[(index // 3 + index) % 3]
