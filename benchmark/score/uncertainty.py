"""How far a figure might have been off with other patients: a 95% interval by resampling patients.

Clips of one patient are alike, so the patient is drawn, with all of its clips (cluster bootstrap, 2,000 draws). The
episodes are NOT resampled: with one fixed pool of clips that would measure the sampler of episodes, not the patients.
Every draw is applied to all shots and all replicates together, so that their average is one statistic.

The draws give the standard error s; the interval is taken on the logit scale, where a figure near 1 has the longer
side towards 0.5, with Student's t for the number n of patients:

    logit(figure) +- t[0.975, n - 1] * s / (figure * (1 - figure)),   s = SD of the draws * sqrt(n / (n - 1))

Percentiles of the draws are not used: at 8 to 20 patients and a ROC-AUC of 0.9 they covered the truth in 85 to 93% of
simulated cohorts instead of 95% (docs/statistics.md has the table; Obuchowski and McClish 1997 on the logit).

By rule, and said in the result:

- fewer than 8 patients: too few distinct draws. Clips are drawn within each class (`source` names it). Such an
  interval ignores that clips of a patient are alike and can be too narrow.
- `validated` is False wherever simulations did not show at least 93% coverage for a cohort of this shape.
- every draw gives the same value (`degenerate`), as after perfect separation: a bootstrap would print [1, 1]. At a
  bound of the metric the other end comes from the exact one-sided binomial limit for n patients without an
  exception, 0.05 ** (1 / n) (Clopper and Pearson, Biometrika 1934; its approximation is the "rule of three", Hanley
  and Lippman-Hand, JAMA 1983), n being the smaller of the patients with a positive and with a negative clip. Away
  from the bounds (a constant score has a ROC-AUC of 0.5 in any sample) the interval stays one point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import stats
from scipy.special import expit, logit

from benchmark.score.metrics import METRICS, WEIGHTED, FloatArray, Metric

LEVEL = 0.95
RESAMPLES = 2000
MIN_PATIENTS = 8
VALIDATED: tuple[Metric, ...] = ("roc_auc", "balanced_accuracy")
Source = Literal["patients", "clips, class-stratified (fewer than 8 patients)"]
PATIENTS: Source = "patients"
CLIPS: Source = "clips, class-stratified (fewer than 8 patients)"

_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False, extra="forbid"))
class Interval:
    """A bootstrap interval of one statistic, and what it rests on."""

    low: Annotated[float, Field(description="Lower end.")]
    high: Annotated[float, Field(description="Upper end.")]
    level: Annotated[float, Field(description="Nominal coverage, two-sided.")]
    source: Annotated[Source, Field(description="What was resampled: the variance that the interval carries.")]
    patients: Annotated[int, Field(description="Patients with at least one scored clip.")]
    clips: Annotated[int, Field(description="Scored clips.")]
    resamples_dropped: Annotated[int, Field(description="Resamples left out for lack of one class.")]
    standard_error: Annotated[float, Field(description="SD of the resamples, for few units: times sqrt(n / (n - 1)).")]
    degenerate: Annotated[
        bool,
        Field(description="All resamples agreed; at 0 or 1 the other end is the exact limit for n patients."),
    ]
    validated: Annotated[bool, Field(description="Simulations of such cohorts show a coverage of at least 93%.")]


def is_validated(metric: Metric, patients: int) -> bool:
    """Whether such an interval may be called a 95% one: simulations covered the truth at least 93 times in 100.

    patients: those with clips of the class that fewer of them have. The simulations are perf/coverage.py, their table
    is in docs/statistics.md: PR-AUC and Brier fall to 91 and 92.5 in some cells, so their intervals never claim it.
    """
    return metric in VALIDATED and patients >= MIN_PATIENTS


@dataclass(frozen=True)
class ShotIntervals:
    """Intervals of one metric: for each shot, and for the average over shots; `None` where undefined."""

    per_shot: tuple[Interval | None, ...]
    averaged: Interval | None


def patient_interval(
    metric: Metric,
    scores: FloatArray,
    labels: FloatArray,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """95% interval of one metric for one score per clip; scores, labels, patients: (N,). None if one class only."""
    found = patient_intervals(scores[None, None], labels, patients, metrics=(metric,), resamples=resamples, seed=seed)
    return found[metric].averaged


def patient_intervals(
    scores: FloatArray,
    labels: FloatArray,
    patients: Sequence[str],
    *,
    metrics: Sequence[Metric] = METRICS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[Metric, ShotIntervals]:
    """95% intervals of the mean over replicates, for each shot and averaged over shots.

    scores: (shots, replicates, N), NaN where a clip has no score; labels: (N,) of 0.0 and 1.0; patients: (N,) names.
    The draws depend on the seed and the number of patients (or of clips) only: methods scored on the same clips
    meet the same resamples. All shots share one choice of what to resample, from the patients of all of them.
    """
    known = np.isfinite(scores).min(axis=1)
    names, patient_of_clip = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    used = known.max(axis=0)
    draws, unit_of_clip, source = _draw(labels, patient_of_clip, used, len(names), resamples, seed)
    itself = np.ones((1, draws.shape[1]), dtype=np.int64)
    drawn = _resampled_values(scores, known, labels, np.concatenate([itself, draws]), unit_of_clip, metrics)

    def interval(metric: Metric, values: FloatArray, among: NDArray[np.bool_]) -> Interval | None:
        return _interval(metric, values[0], values[1:], labels[among], patient_of_clip[among], source)

    return {
        metric: ShotIntervals(
            per_shot=tuple(interval(metric, row, here) for row, here in zip(values, known, strict=True)),
            averaged=interval(metric, values.mean(axis=0), used),
        )
        for metric, values in drawn.items()
    }


def _draw(
    labels: FloatArray,
    patient_of_clip: NDArray[np.integer],
    used: NDArray[np.bool_],
    patients: int,
    resamples: int,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.integer], Source]:
    """How often each unit is drawn, (B, units); which unit a clip belongs to, (N,); what a unit is."""
    random = np.random.default_rng(seed)
    present = np.unique(patient_of_clip[used])
    if len(present) >= MIN_PATIENTS:
        counts = np.zeros((resamples, patients), dtype=np.int64)
        counts[:, present] = _with_replacement(random, len(present), resamples)
        return counts, patient_of_clip, PATIENTS
    counts = np.zeros((resamples, len(labels)), dtype=np.int64)
    for value in (0.0, 1.0):
        of_class = np.flatnonzero(used & (labels == value))
        if len(of_class):
            counts[:, of_class] = _with_replacement(random, len(of_class), resamples)
    return counts, np.arange(len(labels)), CLIPS


def _with_replacement(random: np.random.Generator, units: int, resamples: int) -> NDArray[np.int64]:
    return random.multinomial(units, np.full(units, 1 / units), size=resamples)


def _resampled_values(
    scores: FloatArray,
    known: NDArray[np.bool_],
    labels: FloatArray,
    draws: NDArray[np.int64],
    unit_of_clip: NDArray[np.integer],
    metrics: Sequence[Metric],
) -> dict[Metric, FloatArray]:
    """The mean over replicates of each metric for every shot and draw: (shots, B) each, NaN with one class only."""
    shots, replicates, clips = scores.shape
    values: dict[Metric, FloatArray] = {metric: np.zeros((shots, len(draws))) for metric in metrics}
    block = max(1, _WEIGHTS_AT_ONCE // max(1, clips))
    for shot, here in enumerate(known):
        if not here.any():
            for metric in metrics:
                values[metric][shot] = np.nan
            continue
        for first in range(0, len(draws), block):
            rows = slice(first, first + block)
            weights = draws[rows][:, unit_of_clip[here]].astype(np.float64)
            for replicate in scores[shot][:, here]:
                for metric in metrics:
                    values[metric][shot, rows] += WEIGHTED[metric](labels[here], replicate, weights) / replicates
    return values


def _interval(
    metric: Metric,
    figure: float,
    values: FloatArray,
    labels: FloatArray,
    patient_of_clip: NDArray[np.integer],
    source: Source,
) -> Interval | None:
    kept = values[~np.isnan(values)]
    if np.isnan(figure) or not len(kept):
        return None
    patients = len(np.unique(patient_of_clip))
    with_class = [len(np.unique(patient_of_clip[labels == value])) for value in (0.0, 1.0)]
    units = patients if source == PATIENTS else int(min((labels == 0).sum(), (labels == 1).sum()))
    # A mean of equal terms may miss by an ulp; 12 digits decide what "the same value" means.
    degenerate = bool(np.ptp(kept.round(12)) == 0)
    error = 0.0 if degenerate else float(kept.std() * np.sqrt(units / max(units - 1, 1)))
    low, high = _ends(float(np.round(figure, 12)), error, units, min(with_class))
    return Interval(
        low=low,
        high=high,
        level=LEVEL,
        source=source,
        patients=patients,
        clips=len(labels),
        resamples_dropped=len(values) - len(kept),
        standard_error=error,
        degenerate=degenerate,
        validated=source == PATIENTS and is_validated(metric, min(with_class)),
    )


def _ends(figure: float, error: float, units: int, independent: int) -> tuple[float, float]:
    """Ends of the interval. `units`: what was drawn; `independent`: patients of the class that fewer of them have."""
    if figure in (0.0, 1.0):
        exact = (1 - LEVEL) ** (1 / independent)
        return (exact, 1.0) if figure == 1.0 else (0.0, 1 - exact)
    if error == 0:
        return figure, figure
    if units < 2:
        return 0.0, 1.0
    reach = stats.t.ppf((1 + LEVEL) / 2, units - 1) * error / (figure * (1 - figure))
    low, high = expit(logit(figure) + np.array([-reach, reach]))
    return float(low), float(high)
