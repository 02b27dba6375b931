"""What a paired test over n patients can find: power, smallest detectable difference, patients needed.

    outlook(contributions, difference, tests) -> the spread between patients, and what follows from it

The model: each patient adds (difference + noise) / n, the noise normal with the standard deviation sd of the observed
patients about the observed difference. For up to 12 patients (16 at small levels) the sign-flip test itself is run on
such cohorts, since its p can only be a multiple of 2 / 2^n: at 8 patients and a level of 0.83% all signs must agree.
Beyond that it is a paired t test, whose power is that of the noncentral t distribution with n - 1 degrees of freedom
and noncentrality sqrt(n) difference / sd. What it says of other numbers of patients holds for new patients like these
with as many clips each.

sd is itself an estimate from n patients: its 95% interval comes from chi-square with n - 1 degrees of freedom, and
everything here scales with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import stats

from benchmark.score.comparison import ALPHA, MOST_ENUMERATED, TIE, Contributions, all_flips, crossings
from benchmark.score.metrics import FloatArray

POWER = 0.8
MOST_PATIENTS = 10_000
FEW = 12  # patients: the test itself is run
COARSE = 16  # values of p at or below alpha: fewer, and a t test's power is several points off
COHORTS = 4000

_STRICT = ConfigDict(allow_inf_nan=False, extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Range:
    """A figure at the observed sd, and the two at the ends of sd's 95% interval; None where there is no such figure."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, config=_STRICT)
class Plan:
    """What a test at level `alpha` can find."""

    alpha: float
    power: Annotated[Range, Field(description="chance to find the difference asked about, with these patients")]
    detectable: Annotated[Range, Field(description="smallest difference found with 80% power; None: p stays above")]
    patients: Annotated[Range, Field(description="needed for 80% power at that difference; None: above 10,000")]
    patients_for_observed: Annotated[Range, Field(description="the same, were the observed difference the true one")]


@dataclass(frozen=True, config=_STRICT)
class Outlook:
    """What this and other numbers of such patients can find."""

    difference: Annotated[float, Field(description="the difference asked about")]
    sd: Annotated[Range, Field(description="between patients, of n times their contributions; 95% by chi-square")]
    alone: Annotated[Plan, Field(description="this pair alone, at 5%")]
    family: Annotated[Plan, Field(description="at 5% over the number of tests: Holm's first step")]


def outlook(of: Contributions, difference: float, tests: int) -> Outlook | None:
    """Power and needs at 5% and at 5% over `tests`; None where patients do not differ, or there is only one."""
    spread, patients, observed = spread_of(of), len(of.values), float(of.values.sum())
    if spread <= TIE:
        return None
    ends = (float(spread * np.sqrt((patients - 1) / stats.chi2.ppf(q, patients - 1))) for q in (0.975, 0.025))
    sds = (spread, *ends)

    def plan(alpha: float) -> Plan:
        smallest = detectable_effect(patients, alpha)
        return Plan(
            alpha=alpha,
            power=_at_ends(sds, lambda value: power(difference / value, patients, alpha)),
            detectable=_at_ends(sds, lambda value: None if smallest is None else smallest * value),
            patients=_at_ends(sds, lambda value: patients_needed(difference / value, alpha)),
            patients_for_observed=_at_ends(sds, lambda value: patients_needed(observed / value, alpha)),
        )

    return Outlook(difference, Range(*sds), plan(ALPHA), plan(ALPHA / tests))


def _at_ends(sds: Sequence[float], of: Callable[[float], float | None]) -> Range:
    """`of` at sd and at the two ends of its interval, the smaller of these first."""
    value, *ends = map(of, sds)
    low, high = sorted(ends, key=lambda end: np.inf if end is None else end)
    return Range(value, low, high)


def spread_of(of: Contributions) -> float:
    """sd over patients of n (c_p - D w_p), D being the observed difference; 0 for a single patient."""
    patients = len(of.values)
    if patients < 2:
        return 0.0
    return float(patients * np.std(of.values - of.values.sum() * of.weights, ddof=1))


def power(effect: float, patients: int, alpha: float) -> float:
    """Chance that a two-sided test at `alpha` finds a true difference of `effect` standard deviations."""
    if 2.0 ** (1 - patients) > alpha:
        return 0.0
    effect, steps = abs(effect), alpha * 2.0 ** (min(patients, MOST_ENUMERATED) - 1)
    if patients <= FEW or (patients <= MOST_ENUMERATED and steps < COARSE):
        found = _effects_found(patients, alpha)
        return float(np.mean(found < effect) + np.mean(found < -effect))
    level = int(steps) / 2.0 ** (patients - 1) if patients <= MOST_ENUMERATED else alpha
    bound, shift = stats.t.ppf(1 - level / 2, patients - 1), effect * np.sqrt(patients)
    if shift > 3 * bound + 10:
        return 1.0  # and scipy's series fails
    wrong_side = stats.nct.cdf(-bound, patients - 1, shift) if shift < 4 else 0.0  # under 1e-7 beyond, or NaN
    return float(stats.nct.sf(bound, patients - 1, shift) + wrong_side)


def detectable_effect(patients: int, alpha: float, target: float = POWER) -> float | None:
    """The smallest effect, in standard deviations, found with `target` power; None where p cannot reach alpha."""
    low, high = 0.0, 1.0
    if power(np.inf, patients, alpha) < target:
        return None
    while power(high, patients, alpha) < target:
        low, high = high, 2 * high
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, patients, alpha) >= target else (middle, high)
    return high


def patients_needed(effect: float, alpha: float, target: float = POWER) -> int | None:
    """The smallest number of patients that finds `effect` with `target` power; None above 10,000."""
    few = next((n for n in range(2, FEW + 1) if power(effect, n, alpha) >= target), None)
    if few is not None:
        return few
    low, high = FEW, 2 * FEW
    while power(effect, high, alpha) < target:
        if high > MOST_PATIENTS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, alpha) >= target else (middle, high)
    return high if high <= MOST_PATIENTS else None


@lru_cache(maxsize=64)
def _effects_found(patients: int, alpha: float) -> FloatArray:
    """From which effect on each of several thousand cohorts of unit noise, and of their mirror images, is found.

    The test finds an effect d in cohort z iff -d lies outside the interval of z.
    """
    cohorts = COHORTS if patients <= FEW else COHORTS // 4
    noise = np.random.default_rng(patients).standard_normal((cohorts, patients)) / patients
    flips = all_flips(patients)[: 2 ** (patients - 1)]  # a vector and its opposite tell the same
    place = int(alpha * len(flips))
    weights = np.full(patients, 1 / patients)
    ends = []
    for block in np.array_split(noise, 16):
        lows, highs = crossings(block, weights, flips)
        ends += [-np.partition(lows, place)[:, place], -np.partition(-highs, place)[:, place]]
    return np.concatenate(ends)
