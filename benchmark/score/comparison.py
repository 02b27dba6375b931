"""Is one method better than another on the same clips? An exact test over patients, and the differences it leaves open.

    contributions(metric, a, b, labels, patients) -> what each patient adds to the difference of the two methods
    paired_test(contributions)                    -> difference, p, 95% interval

If two methods are alike, the scores that they give to a patient's clips may as well be exchanged. So the difference is
set against those after exchanging the methods' scores for every subset of the patients; a patient is swapped with all
of its clips, since clips of one patient are alike. ROC-AUC compares ranks, so scores become mid-ranks within each
method first: scale and calibration play no role (Venkatraman and Begg, Biometrika 1996, and Bandos, Rockette and Gur,
Statistics in Medicine 2005, who swap cases).

**A swap is a sign flip.** After it the difference is sum_p s_p c_p, s_p being -1 for a swapped patient and +1 else,
where c_p, the contribution, does not depend on s. For ROC-AUC

    c_p = sum over p's positives of [F(a) - F(b)] / P - sum over p's negatives of [G(a) - G(b)] / N

with a, b the mid-ranks of a clip by the two methods, P and N the numbers of positives and negatives, F(x) the share
below x of the negatives' ranks by both methods together, G(x) that of the positives'; ties count half. (Write the AUC
of the swapped scores in terms of s_p and s_q: the products s_p s_q cancel between the two sides.) So nothing is scored
again; that it equals swapping and scoring again to 1e-12 is tested. For balanced accuracy and the Brier score, sums
over clips, a contribution is a patient's own part.

**The interval** holds every difference delta that the same test does not reject once delta w_p is taken off c_p, w_p
being the patient's weight (they sum to 1): Hartigan's typical values (JASA 1969). With C and W the sums of c and w over
the flipped patients, and C', W' over the others, a flip is at least as extreme iff delta lies between C / W and
C' / W'; the observed difference always lies between them. So the ends are order statistics of these ratios, and p is
below 5% exactly where 0 lies outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.stats import rankdata

from benchmark.score.metrics import THRESHOLD, FloatArray, Metric
from tasks.errors import BadInput

ALPHA = 0.05
MOST_ENUMERATED = 16  # patients: 65,536 sign vectors
SIGN_VECTORS = 20_000
TIE = 1e-12  # of the sum of all |c|: sums in another order may miss by an ulp

IDENTICAL = "swapping the methods changes nothing, for any patient"
NO_SPREAD = "every patient shows the same difference, so there is no spread to make an interval of"
TOO_FEW = "with so few patients the test can reject no difference at all"


@plain_dataclass(frozen=True, eq=False)
class Contributions:
    """What each of n patients adds to the difference of two methods; positive where the first is better."""

    values: FloatArray  # c, (n,); their sum is the difference
    weights: FloatArray  # w, (n,), > 0; their sum is 1

    @property
    def contributing(self) -> NDArray[np.bool_]:
        """(n,): whose swap changes anything. A contribution of 0 has no sign to flip."""
        return _without_dust(self.values, self.values) != 0


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False, extra="forbid"))
class PairedTest:
    """Two methods on the same clips; a difference is positive where the first is better (Brier score: lower)."""

    difference: float
    p: Annotated[float, Field(description="two-sided, over the sign vectors")]
    smallest_p: Annotated[float, Field(description="2 / 2^contributing: below it p cannot fall")]
    low: Annotated[float | None, Field(description="95% interval: the differences that the test does not reject")]
    high: float | None
    no_interval: Annotated[str | None, Field(description="why there is none")]
    patients: Annotated[int, Field(description="with a scored clip")]
    contributing: Annotated[int, Field(description="patients whose swap changes anything")]
    exact: Annotated[
        bool, Field(description="p counts all sign vectors; else it is (1 + b) / (1 + m) of m random ones")
    ]


def contributions(
    metric: Metric, a: FloatArray, b: FloatArray, labels: FloatArray, patients: Sequence[str]
) -> Contributions:
    """Each patient's part in the difference, averaged over shots and over all pairs of replicates.

    Args:
        metric: any but pr_auc, which is no sum over patients.
        a, b: (shots, replicates, N) scores, NaN where a clip has none: of the same clips at each shot.
        labels: (N,) of 0.0 and 1.0.
        patients: (N,) names.

    Raises:
        BadInput: the metric is pr_auc, the methods do not score the same clips, or a shot's clips are of one class.
    """
    if metric not in _GAINS:
        raise BadInput(
            f"--metric {metric}: it is scored, not tested, being no sum over patients; use {', '.join(_GAINS)}"
        )
    known = np.asarray(np.isfinite(a).all(axis=1))
    if not np.array_equal(known, np.isfinite(b).all(axis=1)):
        raise BadInput("the two methods do not score the same clips at the same shots; finish both runs, then compare")
    names, patient_of_clip = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    values, weights = np.zeros(len(names)), np.zeros(len(names))
    for shot, here in enumerate(known):
        positive = labels[here] == 1
        if positive.all() or not positive.any():
            raise BadInput("the scored clips are all of one class; a comparison needs clips of both")
        gains = np.mean([_GAINS[metric](x, y, positive) for x in a[shot][:, here] for y in b[shot][:, here]], axis=0)
        share = np.full(len(positive), 1 / len(positive)) if metric == "brier" else _share_of_class(positive) / 2
        values += np.bincount(patient_of_clip[here], gains, len(names)) / len(known)
        weights += np.bincount(patient_of_clip[here], share, len(names)) / len(known)
    scored = weights > 0
    return Contributions(values[scored], weights[scored])


def paired_test(of: Contributions, *, alpha: float = ALPHA, seed: int = 0) -> PairedTest:
    """Difference, two-sided p, and the interval at level 1 - alpha, all from the same sign vectors.

    All of them for up to 16 patients, else 20,000 random ones. Where at most 16 patients of more contribute, p still
    counts all of their signs; only the interval, which the others move too, rests on random ones.
    """
    flips, exact = _sign_vectors(of.contributing, seed)
    lows, highs = crossings(of.values, of.weights, flips)
    extra = 0 if exact else 1  # the observed signs, which random vectors need not hold
    place = int(alpha * (len(flips) + extra)) - extra
    low, high = float(np.partition(lows, place)[place]), -float(np.partition(-highs, place)[place])
    contributing = int(of.contributing.sum())
    no_interval = _why_no_interval(low, high, contributing)
    return PairedTest(
        difference=float(of.values.sum()),
        p=(np.count_nonzero((lows <= 0) & (highs >= 0)) + extra) / (len(flips) + extra),
        smallest_p=min(1.0, 2.0 ** (1 - contributing)),
        low=None if no_interval else max(low, -1.0),
        high=None if no_interval else min(high, 1.0),
        no_interval=no_interval,
        patients=len(of.values),
        contributing=contributing,
        exact=exact,
    )


def is_validated(metric: Metric, patients: int, clips: int, figures: Sequence[float]) -> bool:
    """Whether simulations like these data bear the interval and the power out (perf/paired_test.py).

    There, within the simulations' own error, the interval covered at least 93% of true differences and power came
    within 3 points of what was predicted. Not so near a bound, with few clips a patient, or for balanced accuracy,
    which moves in such steps that many patients show no difference at all. The test itself keeps its level everywhere.
    """
    central = metric == "brier" or all(0.1 <= figure <= 0.9 for figure in figures)
    return metric != "balanced_accuracy" and central and patients >= 8 and clips >= 3 * patients


def crossings(values: FloatArray, weights: FloatArray, flips: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Between which differences each sign vector is at least as extreme as the observed signs, (m,) each.

    values: (n,) or, for several cohorts, (cohorts, n); weights: (n,); flips: (m, n), True for a swapped patient.
    All patients or none flipped: between -inf and inf.
    """
    chosen = flips.astype(np.float64).T
    flipped = _without_dust(values @ chosen, values)
    others = _without_dust(values.sum(axis=-1, keepdims=True) - flipped, values)
    weight = weights @ chosen
    count = flips.sum(axis=1)
    proper = (count > 0) & (count < flips.shape[1])
    one, other = flipped / np.where(proper, weight, 1), others / np.where(proper, weights.sum() - weight, 1)
    return np.where(proper, np.minimum(one, other), -np.inf), np.where(proper, np.maximum(one, other), np.inf)


def all_flips(patients: int) -> NDArray[np.bool_]:
    """Every sign vector of so many patients, (2^patients, patients)."""
    return (np.arange(2**patients)[:, None] >> np.arange(patients) & 1).astype(bool)


def _sign_vectors(contributing: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.bool_], bool]:
    """Flips (m, n), and whether they hold every sign vector of the contributing patients equally often."""
    patients, random = len(contributing), np.random.default_rng(seed)
    listed = np.ones(patients, dtype=bool) if patients <= MOST_ENUMERATED else contributing
    if listed.sum() > MOST_ENUMERATED:
        return random.random((SIGN_VECTORS, patients)) < 0.5, False
    every = all_flips(int(listed.sum()))
    if listed.all():
        return every, True
    flips = random.random((len(every) * -(-SIGN_VECTORS // len(every)), patients)) < 0.5
    flips[:, listed] = np.tile(every, (len(flips) // len(every), 1))
    return flips, True


def _why_no_interval(low: float, high: float, contributing: int) -> str | None:
    if not contributing:
        return IDENTICAL
    if not np.isfinite(low):
        return TOO_FEW
    return NO_SPREAD if high - low <= TIE else None


def _auc_gains(a: FloatArray, b: FloatArray, positive: NDArray[np.bool_]) -> FloatArray:
    ranks = np.stack([rankdata(a), rankdata(b)])
    toward = np.where(
        positive,
        np.subtract(*_share_below(ranks, ranks[:, ~positive])),
        -np.subtract(*_share_below(ranks, ranks[:, positive])),
    )
    return toward * _share_of_class(positive)


def _share_below(values: FloatArray, among: FloatArray) -> FloatArray:
    """Share of `among` below each value, ties counting half; the shape of values."""
    ordered = np.sort(among, axis=None)
    below, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (below + upto) / (2 * ordered.size)


def _accuracy_gains(a: FloatArray, b: FloatArray, positive: NDArray[np.bool_]) -> FloatArray:
    right = [(scores >= THRESHOLD) == positive for scores in (a, b)]
    return np.subtract(*(row.astype(np.float64) for row in right)) * _share_of_class(positive) / 2


def _brier_gains(a: FloatArray, b: FloatArray, positive: NDArray[np.bool_]) -> FloatArray:
    return ((b - positive) ** 2 - (a - positive) ** 2) / len(positive)


def _share_of_class(positive: NDArray[np.bool_]) -> FloatArray:
    """One over the number of clips of its class, for each clip."""
    return np.where(positive, 1 / positive.sum(), 1 / (~positive).sum())


def _without_dust(sums: FloatArray, of: FloatArray) -> FloatArray:
    """Sums of some of `of`, those that are nothing but rounding set to 0."""
    return np.where(np.abs(sums) <= TIE * np.abs(of).sum(axis=-1, keepdims=True), 0.0, sums)


_GAINS: Mapping[Metric, Callable[[FloatArray, FloatArray, NDArray[np.bool_]], FloatArray]] = {
    "roc_auc": _auc_gains,
    "balanced_accuracy": _accuracy_gains,
    "brier": _brier_gains,
}
