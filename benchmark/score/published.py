"""What a published figure and the number of clips alone allow to be said; no prediction is needed.

    reach(figure, clips) -> (low, high)     a 95% interval
    pair(a, b, clips, correlation)          can two figures on the same clips be told apart?

Clips are taken as independent. Those of one patient are not, so everything here is the best case: true intervals are
wider, by about sqrt(1 + (m - 1) * r) with m clips a patient that correlate by r (Kish's design effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import expit, logit

PublishedMetric = Literal["balanced_accuracy", "roc_auc", "pr_auc"]

LEVEL, POWER = 0.95, 0.80
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
Z_POWER = float(stats.norm.ppf(POWER))


@dataclass(frozen=True)
class ClipCount:
    """Clips of each class that a figure was measured on."""

    positives: int
    negatives: int

    def times(self, factor: float) -> ClipCount:
        """As many times the clips, rounded up."""
        return ClipCount(int(np.ceil(self.positives * factor)), int(np.ceil(self.negatives * factor)))


def roc_auc_error(value: float, clips: ClipCount) -> float:
    """Standard error of a ROC-AUC (Hanley and McNeil, Radiology 1982)."""
    both_above, both_below = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (
        value * (1 - value)
        + (clips.positives - 1) * (both_above - value**2)
        + (clips.negatives - 1) * (both_below - value**2)
    )
    return float(np.sqrt(variance / (clips.positives * clips.negatives)))


def balanced_accuracy_error(value: float, clips: ClipCount) -> float:
    """Binomial standard error at equal sensitivity and specificity, the largest that this mean of them allows."""
    return float(np.sqrt(value * (1 - value) * (1 / clips.positives + 1 / clips.negatives)) / 2)


def pr_auc_error(value: float, clips: ClipCount) -> float:
    """Binomial standard error over the positives (Boyd, Eng and Page, ECML PKDD 2013)."""
    return float(np.sqrt(value * (1 - value) / clips.positives))


ERRORS: Mapping[PublishedMetric, Callable[[float, ClipCount], float]] = {
    "balanced_accuracy": balanced_accuracy_error,
    "roc_auc": roc_auc_error,
    "pr_auc": pr_auc_error,
}


def reach(metric: PublishedMetric, value: float, clips: ClipCount) -> tuple[float, float]:
    """95% interval of a published figure, on the logit scale."""
    half = Z * ERRORS[metric](value, clips) / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-half, half]))
    return float(low), float(high)


@dataclass(frozen=True)
class Pair:
    """Two figures on the same clips: their difference, its standard error and the two-sided p of no difference."""

    difference: float
    error: float
    p: float


def pair(metric: PublishedMetric, a: float, b: float, clips: ClipCount, correlation: float) -> Pair:
    """Compare two figures whose errors correlate by `correlation`, which no table of figures tells.

    Two methods that err on the same clips correlate; 0 would be two sets of clips (Hanley and McNeil, Radiology 1983).
    """
    error_a, error_b = ERRORS[metric](a, clips), ERRORS[metric](b, clips)
    error = float(np.sqrt(error_a**2 + error_b**2 - 2 * correlation * error_a * error_b))
    return Pair(a - b, error, float(2 * stats.norm.sf(abs(a - b) / error)))


def correlation_needed(metric: PublishedMetric, a: float, b: float, clips: ClipCount) -> float | None:
    """From which correlation on p would be below 0.05 without any correction; None: at none below 1."""
    error_a, error_b = ERRORS[metric](a, clips), ERRORS[metric](b, clips)
    needed = (error_a**2 + error_b**2 - ((a - b) / Z) ** 2) / (2 * error_a * error_b)
    return None if needed >= 1 else max(0.0, float(needed))


def detectable(metric: PublishedMetric, value: float, clips: ClipCount, correlation: float) -> float:
    """The difference from `value` that a test at 0.05 would find in 80 of 100 such studies."""
    return (Z + Z_POWER) * pair(metric, value, value, clips, correlation).error


def clips_needed(metric: PublishedMetric, a: float, b: float, clips: ClipCount, correlation: float) -> ClipCount:
    """How many clips, in the same proportion, this difference needs for 80% power at 0.05."""
    found = pair(metric, a, b, clips, correlation)
    return clips.times(((Z + Z_POWER) * found.error / found.difference) ** 2)
