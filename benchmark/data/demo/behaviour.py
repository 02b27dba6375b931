"""What a body does over time, as curves: the stages of a seizure, and ordinary movement. Both species use this file.

    arrest    _____/------------------------------------\\____     the behavioural clock stops: movement freezes
    jerk      _______.,.,:,:|:|:|_____________________________     3-5 Hz, one forelimb, waxing
    head      _____,,--''''------------\\______________________     slow deviation
    tonic     __________________/'''\\,,,,,,,,,,_______________     stiffening
    clonic    _____________________/|/|/|/ | / | /____________     bilateral, slowing from 3.5 to 1.5 Hz
                    lead     onset                end

Times in seconds; every curve is an array over the frames' times, (T,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.demo.design import Seizure

Curve = NDArray[np.float64]

ARREST_SHARE = 0.25  # of the lead: how long ordinary movement takes to freeze
TONIC_SHARE = 0.25  # of the seizure
CLONIC_HZ = (3.5, 1.5)
POSTICTAL_STILL_S = (35.0, 50.0)
RECOVERY_S = 8.0
LONG_PAUSE_S = (8.0, 20.0)
LONG_PAUSE_SHARE = 0.2


@dataclass(frozen=True)
class Signs:
    """The seizure as curves (T,). `clock_s` is the time that ordinary behaviour has lived through."""

    clock_s: Curve
    jerk: Curve  # 0..1
    head: Curve  # 0..1
    tonic: Curve  # 0..1
    clonic: Curve  # 0..1
    exhaustion: Curve  # 0..1: post-ictal, slow deep breathing
    side: int


@dataclass(frozen=True)
class Movement:
    """One ordinary movement in behavioural time. `settle` is drawn anew for each: how far a new posture goes, -1..1."""

    kind: str
    start_s: float
    duration_s: float
    side: int
    strength: float
    hz: float
    settle: float


def smoothstep(x: Curve) -> Curve:
    """0 below 0, 1 above 1, without a jolt between."""
    clipped = np.clip(x, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def bump(t: Curve, start_s: float, duration_s: float, rise_s: float) -> Curve:
    """Rises in `rise_s`, holds, and is back at 0 after `duration_s`."""
    return smoothstep((t - start_s) / rise_s) * smoothstep((start_s + duration_s - t) / rise_s)


def pulses(phase: Curve) -> Curve:
    """Brief rhythmic contractions, 0..1: sharper than a sine, one a cycle of 2 pi."""
    return np.square(0.5 + 0.5 * np.cos(phase))


def seizure_signs(t: Curve, seizure: Seizure | None, random: np.random.Generator) -> Signs:
    """The curves of one recording; without a seizure the clock runs on and all else is 0."""
    nothing = np.zeros_like(t)
    if seizure is None:
        return Signs(t, nothing, nothing, nothing, nothing, nothing, side=1)
    onset, lead, length = seizure.onset_s, seizure.lead_s, seizure.duration_s
    end = onset + length
    still_s = random.uniform(*POSTICTAL_STILL_S)
    step_s = t[1] - t[0]

    freeze = smoothstep((t - onset + lead) / (ARREST_SHARE * lead))
    arrest = freeze * (1 - smoothstep((t - end - still_s) / RECOVERY_S))
    clock = np.cumsum((1 - arrest) * step_s)

    jerk_hz = seizure.jerk_hz * (1 + 0.06 * np.sin(2 * np.pi * 0.13 * t + random.uniform(0, 6.3)))
    waxing = np.clip(1 + (t - onset) / lead / 0.85, 0, 1)
    bursts = 0.75 + 0.25 * np.sin(2 * np.pi * 0.4 * t + random.uniform(0, 6.3))
    jerk = np.sqrt(waxing) * bursts * pulses(_phase(jerk_hz, step_s)) * (1 - smoothstep(t - onset))

    head = smoothstep((t - onset + lead) / (0.9 * lead)) * (1 - smoothstep((t - end) / 4))
    stiff = smoothstep((t - onset) / 0.8) * (1 - 0.7 * smoothstep((t - onset - TONIC_SHARE * length) / 2))
    tremor = 1 + 0.06 * np.sin(_phase(np.full_like(t, 6.0), step_s))
    tonic = stiff * tremor * (1 - smoothstep((t - end) / 0.7))

    progress = np.clip((t - onset) / length, 0, 1)
    clonic_hz = CLONIC_HZ[0] + (CLONIC_HZ[1] - CLONIC_HZ[0]) * progress
    wobble = 0.85 + 0.15 * np.sin(2 * np.pi * 0.7 * t + random.uniform(0, 6.3))
    envelope = smoothstep((progress - 0.8 * TONIC_SHARE) / 0.15) * (t < end)
    clonic = envelope * wobble * pulses(_phase(clonic_hz, step_s))
    exhaustion = smoothstep((t - end) / 2) * (1 - smoothstep((t - end - still_s) / RECOVERY_S))
    return Signs(clock, jerk, head, tonic, clonic, exhaustion, seizure.side)


def ordinary_movements(
    kinds: dict[str, tuple[float, float, float]],
    rhythm_hz: tuple[float, float],
    until_s: float,
    random: np.random.Generator,
    pause_s: float,
) -> Sequence[Movement]:
    """Movements and pauses in turn, from before the recording's start to `until_s`.

    `kinds` maps a name to (weight, shortest, longest duration); `pause_s` is the mean of the short pauses.
    """
    names = list(kinds)
    weights = np.array([kinds[name][0] for name in names])
    movements, now = [], -random.uniform(0, 10)
    while now < until_s:
        kind = names[int(random.choice(len(names), p=weights / weights.sum()))]
        duration_s = random.uniform(*kinds[kind][1:])
        movements.append(
            Movement(
                kind, now, duration_s, int(random.choice((-1, 1))),
                random.uniform(0.6, 1.0), random.uniform(*rhythm_hz), random.uniform(-1, 1),
            )
        )  # fmt: skip
        long_pause = random.random() < LONG_PAUSE_SHARE
        now += duration_s + (random.uniform(*LONG_PAUSE_S) if long_pause else random.exponential(pause_s))
    return movements


def drift(t: Curve, random: np.random.Generator, slowest_s: float, quickest_s: float) -> Curve:
    """A slow wander of unit size at random phase: it says nothing about the time."""
    periods, phases = random.uniform(quickest_s, slowest_s, 4), random.uniform(0, 2 * np.pi, 4)
    waves = [np.sin(2 * np.pi * t / period + phase) for period, phase in zip(periods, phases, strict=True)]
    return np.sum(waves, axis=0) / np.sqrt(2.0)


def _phase(hz: Curve, step_s: float) -> Curve:
    return 2 * np.pi * np.cumsum(hz) * step_s
