"""What methods score where there is nothing to learn: `score_control(...) -> (ControlScores, ...)`.

In a control every episode deals the labels anew (`protocols.episodes.permuted`), so a clip has no label of its own and
cannot be scored over episodes: each episode is scored alone. Without a leak the labels of a query are, given the
support, a fair draw, so every episode's ROC-AUC and balanced accuracy have a mean of exactly 0.5; and as each is dealt
for itself, they are independent. Hence Student's t interval over episodes, and the mean misses 0.5 only by luck, or
because something other than the seizure leads from the labels of the support to those of the query: a leak.

A control asks of all its methods at once whether any leaks, so its intervals hold together: with m methods each has
level 1 - 0.05 / m (Bonferroni), and without a leak all of them hold 0.5 in 95 of 100 controls. PR-AUC and Brier have no
such value that all methods share, and are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import stats

from benchmark.score.metrics import FloatArray, quick_metrics
from benchmark.score.multiple import holm
from benchmark.score.predictions import prediction_table
from benchmark.score.result import Result
from benchmark.score.uncertainty import LEVEL

ControlMetric = Literal["balanced_accuracy", "roc_auc"]
CONTROL_METRICS: tuple[ControlMetric, ...] = get_args(ControlMetric)
NOTHING_LEARNT = 0.5


class ControlFigure(Result):
    """A metric's mean over episodes, each with labels of its own."""

    mean: float | None = Field(description="Null without an episode whose query held both classes.")
    low: float | None = Field(
        description="Of the mean, Student's t over episodes, 95% over all methods; null with one."
    )
    high: float | None
    p: float | None = Field(description="Two-sided, of a mean of 0.5; null with one.")
    p_holm: float | None = Field(description="The same, Holm over the methods of the run.")
    episodes: int

    @property
    def holds_half(self) -> bool | None:
        """Whether 0.5 is in the interval; None without one."""
        return None if self.low is None or self.high is None else self.low <= NOTHING_LEARNT <= self.high


class ControlScores(Result):
    """A method's figures in a control."""

    method: str
    shots: tuple[int, ...]
    missing_predictions: int = Field(description="Planned, not made: their episodes are left out.")
    metrics: dict[ControlMetric, ControlFigure]


def score_control(
    predictions: pd.DataFrame,
    clips: pd.DataFrame,
    planned: pd.DataFrame,
    positives: Mapping[tuple[int, int], Collection[str]],
) -> tuple[ControlScores, ...]:
    """Score every method of a control, sorted by name.

    Args:
        predictions, clips, planned: as for `score_run`; labels of `clips` play no part.
        positives: by (shots, episode), the clips that were called positive there.

    Raises:
        BadInput: a doubled, unplanned, unknown or out-of-range prediction.
    """
    table, _ = prediction_table(predictions, clips, planned)
    called = {place: frozenset(clips) for place, clips in positives.items()}
    methods = list(table.groupby("method", sort=True))
    level = 1 - (1 - LEVEL) / len(methods)
    found = [_score_method(str(name), rows, called, level) for name, rows in methods]
    adjusted = {metric: holm([one.metrics[metric].p for one in found]) for metric in CONTROL_METRICS}
    return tuple(
        one.model_copy(
            update={
                "metrics": {
                    metric: figure.model_copy(update={"p_holm": adjusted[metric][place]})
                    for metric, figure in one.metrics.items()
                }
            }
        )
        for place, one in enumerate(found)
    )


def _score_method(
    name: str, rows: pd.DataFrame, positives: Mapping[tuple[int, int], frozenset[str]], level: float
) -> ControlScores:
    values: dict[ControlMetric, list[float]] = {metric: [] for metric in CONTROL_METRICS}
    for place, unit in rows.groupby(["shots", "episode"]):
        if unit["score"].isna().any():
            continue
        shots, episode = map(int, np.array(place))
        labels = unit["clip_id"].isin(positives[shots, episode]).to_numpy(dtype=np.float64)
        scores, replicate = unit["score"].to_numpy(dtype=np.float64), unit["replicate"].to_numpy()
        seeds = [quick_metrics(labels[replicate == one], scores[replicate == one]) for one in np.unique(replicate)]
        for metric in CONTROL_METRICS:
            own = [value for seed in seeds if (value := seed[metric]) is not None]
            if own:
                values[metric].append(float(np.mean(own)))
    return ControlScores(
        method=name,
        shots=tuple(int(shots) for shots in np.unique(rows["shots"])),
        missing_predictions=int(rows["score"].isna().sum()),
        metrics={metric: mean_of_episodes(np.array(values[metric]), level) for metric in CONTROL_METRICS},
    )


def mean_of_episodes(values: FloatArray, level: float = LEVEL) -> ControlFigure:
    """Mean, Student's t interval at a level, and p of a mean of 0.5, of independent episodes' figures (N,).

    Where all figures are equal t says nothing. Equal to 0.5, as of a constant score, the mean is known to be 0.5; equal
    to anything else, the interval is withheld and p is the sign test's: two in 2^N.
    """
    count = len(values)
    mean = float(values.mean()) if count else None
    if count < 2 or mean is None:
        return ControlFigure(mean=mean, low=None, high=None, p=None, p_holm=None, episodes=count)
    error = float(values.std(ddof=1) / np.sqrt(count))
    if np.ptp(values) == 0.0:
        null = mean == NOTHING_LEARNT
        ends = NOTHING_LEARNT if null else None
        p = 1.0 if null else 2.0 ** (1 - count)
        return ControlFigure(mean=mean, low=ends, high=ends, p=p, p_holm=None, episodes=count)
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    p = float(2 * stats.t.sf(abs(mean - NOTHING_LEARNT) / error, count - 1))
    return ControlFigure(mean=mean, low=mean - reach, high=mean + reach, p=p, p_holm=None, episodes=count)
