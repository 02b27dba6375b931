"""Can a score be read as a probability? `calibration(scores, labels, patients) -> Calibration`, pure.

With L the logit of a score (clipped to [1e-6, 1 - 1e-6] first), two logistic regressions of the label y:

- slope: b of y ~ a + b L (Cox, Biometrika 1958). 1 is right; below 1 the scores are too extreme, above 1 too timid,
  below 0 they run the wrong way.
- intercept, "calibration in the large": a of y ~ a + L, the slope held at 1 (Van Calster et al., BMC Medicine 2019). 0
  is right; above 0 the scores are too low on the whole, below 0 too high.

Their 95% intervals leave out one patient at a time (jackknife with t[0.975, n - 1]; Efron and Tibshirani 1993, ch. 11).
ECE: mean distance of score and share of positives over ten bins of equal width (Naeini et al., AAAI 2015).

What cannot be said is None, and `unsaid` tells why: one class only, one score for all clips, classes that do not
overlap (the best slope is then infinite), fewer than 8 patients (no interval), fewer than 100 clips (no ECE). Nothing
is NaN. Replicates (seeds) are taken one by one and their figures averaged, as everywhere in `benchmark.score`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats
from scipy.special import expit, logit

from benchmark.score.metrics import FloatArray
from benchmark.score.result import Result
from benchmark.score.uncertainty import LEVEL, MIN_PATIENTS

EDGE = 1e-6  # a score of 0 or 1 has no logit
DIGITS = 9  # of a logit: beyond, two scores differ by rounding alone
MIN_CLIPS_FOR_ECE = 100
ECE_BINS = 10
CLIPS_A_BIN = 8
MOST_BINS = 10
STEPS, ROUNDING, SMALLEST = 100, 1e-12, 1e-300

Flags = NDArray[np.bool_]


class Estimate(Result):
    """A figure with its 95% interval; what is None is explained by `unsaid`."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unsaid: str | None = Field(default=None, description="Why value or interval is null; null when both are there.")


class Calibration(Result):
    """How far scores can be read as probabilities, at the share of positives among these clips."""

    slope: Estimate = Field(description="1 is right; below 1 the scores are too extreme.")
    intercept: Estimate = Field(description="0 is right; above 0 the scores are too low on the whole.")
    ece: float | None = Field(description="Expected calibration error, 10 bins; null below 100 clips.")
    ece_unsaid: str | None = Field(description="Why ece is null.")
    patients: int = Field(description="Patients with a scored clip.")
    clips: int = Field(description="Scored clips.")


class Bin(Result):
    """Clips of neighbouring scores, as one point of a reliability plot."""

    clips: int
    score: float = Field(description="Mean score.")
    share: float = Field(description="Share of positives.")
    low: float = Field(description="95% Wilson interval of the share, as if clips were independent.")
    high: float


def calibration(scores: FloatArray, labels: FloatArray, patients: Sequence[str]) -> Calibration:
    """Slope, intercept and ECE of one score a clip.

    scores: (N,), or (replicates, N), in [0, 1], NaN for clips without one (left out of all replicates); labels: (N,) of
    0.0 and 1.0; patients: (N,) names.
    """
    table = np.atleast_2d(scores)
    known = ~np.isnan(table).any(axis=0)
    table, positive = table[:, known], labels[known] == 1
    owners = np.unique(np.asarray(patients, dtype=str)[known], return_inverse=True)[1]
    count = int(owners.max()) + 1 if len(owners) else 0
    logits = logit(table.clip(EDGE, 1 - EDGE))
    kept = np.concatenate([np.ones((1, len(owners)), dtype=bool), owners != np.arange(count)[:, None]])
    slope, intercept = (_estimate(fit, logits, positive, kept) for fit in (_slopes, _intercepts))
    few = f"it needs {MIN_CLIPS_FOR_ECE} clips, there are {len(owners)}" if len(owners) < MIN_CLIPS_FOR_ECE else None
    ece = None if few else float(np.mean([_ece(row, positive) for row in table]))
    return Calibration(slope=slope, intercept=intercept, ece=ece, ece_unsaid=few, patients=count, clips=len(owners))


def reliability_bins(scores: FloatArray, labels: FloatArray) -> tuple[Bin, ...]:
    """Bins of equal numbers of clips, lowest scores first: 8 clips a bin at least (or all there are), 10 bins at most.

    scores: (N,) in [0, 1], NaN for clips without one; labels: (N,) of 0.0 and 1.0. Equal scores share a bin, so that
    bins may differ in size. Empty without clips.
    """
    known = ~np.isnan(scores)
    order = np.argsort(scores[known], kind="stable")
    ranked, positive = scores[known][order], labels[known][order] == 1
    count = len(ranked)
    size = -(-count // min(MOST_BINS, max(1, count // CLIPS_A_BIN)))
    ends = np.flatnonzero(np.concatenate([ranked[1:] != ranked[:-1], np.ones(min(count, 1), dtype=bool)])) + 1
    cuts = [0]
    for end in ends:
        if end == count or (end - cuts[-1] >= size and count - end >= min(size, CLIPS_A_BIN)):
            cuts.append(int(end))
    return tuple(_bin(ranked[a:b], positive[a:b]) for a, b in pairwise(cuts))


def _bin(scores: FloatArray, positive: Flags) -> Bin:
    hits, clips = int(positive.sum()), len(positive)
    wilson = stats.binomtest(hits, clips).proportion_ci(LEVEL, method="wilson")
    mean = float(scores[0] + (scores - scores[0]).mean())  # equal scores average to themselves
    return Bin(clips=clips, score=mean, share=hits / clips, low=float(wilson.low), high=float(wilson.high))


def _ece(scores: FloatArray, positive: Flags) -> float:
    place = np.minimum((scores * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    return float(np.abs(np.bincount(place, weights=scores - positive)).sum() / len(scores))


def _estimate(
    fit: Callable[[FloatArray, Flags, Flags], FloatArray], logits: FloatArray, positive: Flags, kept: Flags
) -> Estimate:
    """A figure and its jackknife; logits: (replicates, N), kept: all clips, then those without each patient in turn."""
    if not len(positive):
        return Estimate(unsaid="no clip is scored")
    value, *others = np.mean([fit(row, positive, kept) for row in logits], axis=0)
    if np.isnan(value):
        return Estimate(unsaid=_why_undefined(logits, positive))
    patients, lost = len(others), int(np.isnan(others).sum())
    if patients < MIN_PATIENTS:
        return Estimate(value=value, unsaid=f"no interval: it needs {MIN_PATIENTS} patients, there are {patients}")
    if lost:
        why = f"no interval: the figure does not exist when one of {lost} patients (of {patients}) is left out"
        return Estimate(value=value, unsaid=why)
    spread = np.std(others) * np.sqrt(patients - 1)
    if np.round(spread, DIGITS) == 0:
        return Estimate(value=value, unsaid="no interval: the figure is the same whichever patient is left out")
    reach = float(stats.t.ppf((1 + LEVEL) / 2, patients - 1) * spread)
    return Estimate(value=value, low=value - reach, high=value + reach)


def _why_undefined(logits: FloatArray, positive: Flags) -> str:
    if positive.all() or not positive.any():
        return "all clips are of one class"
    if (np.ptp(logits.round(DIGITS), axis=1) == 0).any():
        return "all clips have the same score"
    return "the scores of the two classes do not overlap, so the best slope is infinite"


def _intercepts(logits: FloatArray, positive: Flags, kept: Flags) -> FloatArray:
    """Maximum likelihood a of y ~ a + logits; logits, positive: (N,), kept: (B, N); (B,), NaN with one class only.

    The likelihood is best where the expected number of positives is the observed one: bisection finds that point.
    """
    found = np.full(len(kept), np.nan)
    hits, clips = (kept & positive).sum(axis=1), kept.sum(axis=1)
    both = (hits > 0) & (hits < clips)
    centre = logit(hits[both] / clips[both])
    low, high = centre - logits.max(), centre - logits.min()
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = (kept[both] * expit(middle[:, None] + logits)).sum(axis=1) > hits[both]
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    found[both] = (low + high) / 2
    return found


def _slopes(logits: FloatArray, positive: Flags, kept: Flags) -> FloatArray:
    """Maximum likelihood b of y ~ a + b * logits, shapes as above; NaN where there is none (one class, no overlap)."""
    found = np.full(len(kept), np.nan)
    overlap = _overlap(logits, positive, kept)
    if overlap.any():
        found[overlap] = _newton(logits - np.median(logits), positive, kept[overlap].astype(np.float64))
    return found


def _overlap(logits: FloatArray, positive: Flags, kept: Flags) -> Flags:
    """Whether each class reaches beyond the other's nearest score: then, and only then, the best slope is finite.

    Albert and Anderson (Biometrika 1984) for one covariate; touching is not enough.
    """

    def end(best: np.ufunc, among: Flags, nothing: float) -> FloatArray:
        return best.reduce(np.where(kept & among, logits.round(DIGITS), nothing), axis=1)

    lowest = [end(np.minimum, among, np.inf) for among in (positive, ~positive)]
    highest = [end(np.maximum, among, -np.inf) for among in (positive, ~positive)]
    return (lowest[0] < highest[1]) & (lowest[1] < highest[0])


def _newton(x: FloatArray, positive: Flags, weights: FloatArray) -> FloatArray:
    """The slope by Newton's steps, each halved until the likelihood does not fall; x: (N,), weights: (B, N).

    A step is a weighted regression of residuals on x, by deviations from the weighted mean: scores that are all but
    the same would make the 2 x 2 matrix singular.
    """
    sign = np.where(positive, 1.0, -1.0)

    def loss(predictor: FloatArray) -> FloatArray:
        return (weights * np.logaddexp(0, -sign * predictor)).sum(axis=1)

    slope, predictor = np.zeros(len(weights)), np.zeros(weights.shape)
    for _ in range(STEPS):
        chance = expit(predictor)
        residual, inertia = weights * (positive - chance), weights * chance * (1 - chance)
        total = np.maximum(inertia.sum(axis=1), SMALLEST)
        deviation = x - (inertia @ x / total)[:, None]
        spread = np.maximum((inertia * deviation**2).sum(axis=1), SMALLEST)
        turn = (residual * deviation).sum(axis=1) / spread
        step = (residual.sum(axis=1) / total)[:, None] + turn[:, None] * deviation
        bound, size = loss(predictor) * (1 + ROUNDING), np.ones(len(weights))
        while (worse := (loss(predictor + size[:, None] * step) > bound) & (size > EDGE)).any():
            size[worse] /= 2
        slope, predictor = slope + size * turn, predictor + size[:, None] * step
        moved, reached = ((weights * np.abs(values)).max(axis=1) for values in (step, predictor))
        if (moved <= ROUNDING * (1 + reached)).all():
            break
    return slope
