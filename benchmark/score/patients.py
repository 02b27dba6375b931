"""One patient at a time: `per_patient(scores, labels, patients)` and `worst_patient(...)`, pure and deterministic.

A method may rank the clips of one patient well and those of another badly; the figure of the whole run hides it. But
the lowest of a few noisy figures is low by luck alone: with 2 + 2 clips each and no difference between patients, the
worst of ten with a ROC-AUC of 0.75 is at 0.25 or below in more than half of cases. So `worst_patient` also says which
minimum to expect if all patients were alike: the clips of each class are dealt anew among the patients, everyone
keeping their numbers of positives and negatives, 1,000 times. Only a minimum below 2.5% of these is worse than luck.

Each replicate (seed) is scored by itself, then averaged; averages over shots are None as soon as one shot has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from benchmark.score.metrics import FloatArray, quick_metrics
from benchmark.score.result import Result

DEALS = 1000
TAILS = (0.025, 0.5, 0.975)
DIGITS = 12  # means of equal terms may differ by an ulp
AT_ONCE = 2_000_000


class PatientResult(Result):
    """One patient's scored clips, averaged over replicates, then over shots."""

    patient: str
    positives: int = Field(description="Positive clips scored at any number of shots.")
    negatives: int
    roc_auc: float | None = Field(description="Within the patient; null with one class only or a missing shot.")
    balanced_accuracy: float | None = Field(description="At 0.5, within the patient; null as above.")
    brier: float | None = Field(description="Null with a missing shot.")
    positive_score: float | None = Field(description="Mean score of the positives; null without one at some shot.")
    negative_score: float | None = Field(description="Mean score of the negatives; null without one at some shot.")


class Worst(Result):
    """The lowest ROC-AUC within a patient, and what it would be by luck."""

    patient: str = Field(description="Of those who share the minimum the one with most clips, then the first by id.")
    roc_auc: float
    positives: int = Field(description="Clips that it stands on.")
    negatives: int
    shared_by: int = Field(description="Patients with this very figure.")
    patients: int = Field(description="Patients with clips of both classes: the minimum is taken over these.")
    expected_low: float | None = Field(description="2.5% of the minima if all patients were alike; null with one.")
    expected_median: float | None
    expected_high: float | None = Field(description="97.5% of them.")
    worse_than_luck: bool | None = Field(description="Whether the minimum lies below expected_low.")


def per_patient(scores: FloatArray, labels: FloatArray, patients: Sequence[str]) -> tuple[PatientResult, ...]:
    """Every patient with a scored clip, by id.

    scores: (shots, replicates, N) in [0, 1], NaN where a clip has none (it is then left out of all replicates of that
    shot); labels: (N,) of 0.0 and 1.0; patients: (N,) names.
    """
    known: NDArray[np.bool_] = np.isfinite(scores).min(axis=1)
    owners = np.asarray(patients, dtype=str)
    found = []
    for name in np.unique(owners[known.any(axis=0)]):
        own = owners == name
        used = own & known.any(axis=0)
        figures = [_figures(shot[:, own & here], labels[own & here]) for shot, here in zip(scores, known, strict=True)]
        found.append(
            PatientResult(
                patient=str(name),
                positives=int((labels[used] == 1).sum()),
                negatives=int((labels[used] == 0).sum()),
                **{key: _mean([shot[key] for shot in figures]) for key in figures[0]},
            )
        )
    return tuple(found)


def worst_patient(
    scores: FloatArray, labels: FloatArray, patients: Sequence[str], *, deals: int = DEALS, seed: int = 0
) -> Worst | None:
    """The patient whose clips are ranked worst; None where no patient has clips of both classes.

    Shapes as in `per_patient`. Only clips that are scored at every number of shots take part. That all patients are
    alike means here: the clips of a class could be anyone's. Where scores lie higher in one patient than in another as
    a whole, ranks within patients are better than dealt ones, and "worse than luck" is said too seldom.
    """
    known = ~np.isnan(scores).any(axis=(0, 1))
    scores, labels = scores[:, :, known], labels[known]
    owners = np.asarray(patients, dtype=str)[known]
    both = [r for r in per_patient(scores, labels, [str(name) for name in owners]) if r.roc_auc is not None]
    if not both:
        return None
    figures = np.array([result.roc_auc for result in both], dtype=np.float64).round(DIGITS)
    shared = [result for result, figure in zip(both, figures, strict=True) if figure == figures.min()]
    worst = max(shared, key=lambda result: result.positives + result.negatives)
    assert worst.roc_auc is not None
    expected: tuple[float, ...] | None = None
    if len(both) > 1:
        minima = _dealt_minima(scores, labels, owners, [r.patient for r in both], deals, seed)
        expected = tuple(float(q) for q in np.quantile(minima, TAILS, method="inverted_cdf"))
    low, median, high = expected or (None, None, None)
    return Worst(
        patient=worst.patient,
        roc_auc=worst.roc_auc,
        positives=worst.positives,
        negatives=worst.negatives,
        shared_by=len(shared),
        patients=len(both),
        expected_low=low,
        expected_median=median,
        expected_high=high,
        worse_than_luck=None if low is None else bool(figures.min() < low),
    )


def _figures(scores: FloatArray, labels: FloatArray) -> dict[str, float | None]:
    """A patient's figures at one number of shots, each the mean over replicates; scores: (replicates, clips)."""
    ranked = [quick_metrics(labels, row) for row in scores]
    positive = labels == 1
    return {
        "roc_auc": _mean([row["roc_auc"] for row in ranked]),
        "balanced_accuracy": _mean([row["balanced_accuracy"] for row in ranked]),
        "brier": float(np.mean((scores - labels) ** 2)) if len(labels) else None,
        "positive_score": float(scores[:, positive].mean()) if positive.any() else None,
        "negative_score": float(scores[:, ~positive].mean()) if not positive.all() else None,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present and len(present) == len(values) else None


def _dealt_minima(
    scores: FloatArray, labels: FloatArray, owners: NDArray[np.str_], names: Sequence[str], deals: int, seed: int
) -> FloatArray:
    """The lowest ROC-AUC within a patient in each deal, (deals,).

    A ROC-AUC is the share of pairs won, and averages over replicates and shots are means over the same pairs: so the
    pairs are compared once, and a deal is a choice of them.
    """
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wins = np.zeros((len(positive), len(negative)))
    for row in scores.reshape(-1, scores.shape[2]):
        difference = row[positive][:, None] - row[negative]
        wins += (difference > 0) + 0.5 * (difference == 0)
    wins /= scores.shape[0] * scores.shape[1]
    random = np.random.default_rng(seed)
    hands = [random.permuted(np.tile(np.arange(n), (deals, 1)), axis=1) for n in wins.shape]
    minima = np.full(deals, np.inf)
    for name in names:
        places = [np.flatnonzero(owners[of_class] == name) for of_class in (positive, negative)]
        block = max(1, AT_ONCE // (len(places[0]) * len(places[1])))
        for first in range(0, deals, block):
            rows = slice(first, first + block)
            winners, losers = (hand[rows][:, own] for hand, own in zip(hands, places, strict=True))
            dealt = wins[winners[:, :, None], losers[:, None, :]].mean(axis=(1, 2))
            minima[rows] = np.minimum(minima[rows], dealt)
    return minima.round(DIGITS)
