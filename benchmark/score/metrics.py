"""Four figures for a set of clips: balanced accuracy at 0.5, ROC-AUC, PR-AUC (average precision), Brier score.

Each exists twice. `clip_metrics` asks scikit-learn and is what a published value comes from. The `weighted_*` forms
give the same figure for many weightings of the same clips at once, which is what a bootstrap needs: weight 2 means
"this clip was drawn twice", weight 0 "not drawn". Both agree to 1e-12, ties included (see the tests).

With clips of one class only no figure is defined: `None` from the first form, NaN from the second, where it never
leaves `benchmark.score`. The Brier score alone would have a value there; it is withheld too, so that all figures of a
row stand on the same episodes and the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss, roc_auc_score

Metric = Literal["balanced_accuracy", "roc_auc", "pr_auc", "brier"]
FloatArray = NDArray[np.float64]

METRICS: tuple[Metric, ...] = get_args(Metric)
THRESHOLD = 0.5


def clip_metrics(labels: FloatArray, scores: FloatArray) -> dict[Metric, float | None]:
    """The four figures of N clips, by scikit-learn; all `None` where one class is missing.

    labels: (N,) of 0.0 and 1.0; scores: (N,) in [0, 1]. A score of exactly 0.5 counts as a warning.
    """
    if not _both_classes(labels):
        return dict.fromkeys(METRICS)
    return {
        "balanced_accuracy": float(balanced_accuracy_score(labels == 1, scores >= THRESHOLD)),
        "roc_auc": float(roc_auc_score(labels, scores)),
        "pr_auc": float(average_precision_score(labels, scores)),
        "brier": float(brier_score_loss(labels, scores)),
    }


def quick_metrics(labels: FloatArray, scores: FloatArray) -> dict[Metric, float | None]:
    """`clip_metrics` without scikit-learn's checks, ten times as fast: for thousands of small episodes."""
    if not _both_classes(labels):
        return dict.fromkeys(METRICS)
    once = np.ones((1, len(labels)))
    return {name: float(WEIGHTED[name](labels, scores, once)[0]) for name in METRICS}


def weighted_balanced_accuracy(labels: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean of sensitivity and specificity at 0.5. labels, scores: (N,); weights: (B, N), >= 0; returns (B,)."""
    positive, warned = labels == 1, scores >= THRESHOLD
    sensitivity = _ratio(_total(weights, positive & warned), _total(weights, positive))
    specificity = _ratio(_total(weights, ~positive & ~warned), _total(weights, ~positive))
    return (sensitivity + specificity) / 2


def weighted_roc_auc(labels: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """P(positive scores above negative), a tie counting half (Mann-Whitney). Shapes as above; returns (B,)."""
    positive, negative = _mass_at_each_score(labels, scores, weights)
    above = np.cumsum(positive, axis=1) - positive / 2
    wins = (negative * above).sum(axis=1)
    return _ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))


def weighted_average_precision(labels: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """sum_n (R_n - R_{n-1}) P_n over distinct scores, highest first; tied clips enter together. Returns (B,)."""
    positive, negative = _mass_at_each_score(labels, scores, weights)
    hits = np.cumsum(positive, axis=1)
    warned = hits + np.cumsum(negative, axis=1)
    precision = np.divide(hits, warned, out=np.zeros_like(hits), where=warned > 0)
    value = _ratio((positive * precision).sum(axis=1), hits[:, -1])
    return np.where(negative.sum(axis=1) > 0, value, np.nan)


def weighted_brier(labels: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean squared distance of score and label. Shapes as above; returns (B,)."""
    positive = _total(weights, labels == 1)
    total = weights.sum(axis=1)
    value = _ratio((weights * (scores - labels) ** 2).sum(axis=1), total)
    return np.where((positive > 0) & (positive < total), value, np.nan)


WEIGHTED: Mapping[Metric, Callable[[FloatArray, FloatArray, FloatArray], FloatArray]] = {
    "balanced_accuracy": weighted_balanced_accuracy,
    "roc_auc": weighted_roc_auc,
    "pr_auc": weighted_average_precision,
    "brier": weighted_brier,
}


def _both_classes(labels: FloatArray) -> bool:
    positives = int((labels == 1).sum())
    return 0 < positives < len(labels)


def _total(weights: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    return np.asarray(weights[:, chosen].sum(axis=1), dtype=np.float64)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio


def _mass_at_each_score(labels: FloatArray, scores: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight of positives and of negatives at each distinct score, highest score first: two (B, G) arrays."""
    order = np.argsort(-scores, kind="stable")
    ranked, positive, mass = scores[order], labels[order] == 1, weights[:, order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    return np.add.reduceat(mass * positive, starts, axis=1), np.add.reduceat(mass * ~positive, starts, axis=1)
