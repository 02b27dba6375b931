"""From predictions to the figures of a run: `score_run(predictions, clips) -> RunScores`, pure and deterministic.

Two ways to score the same predictions, both kept, because they answer different questions:

- `per_clip`: each clip's scores are averaged over the episodes that had it in their query, then the clips are scored
  once. Every clip counts once, so an interval over patients is honest. This is the benchmark's figure.
- `per_episode`: each episode's query is scored on its own; mean and SD over episodes. This is the way of the paper
  (arXiv 2603.12887). The SD tells how the draw of support clips moves the figure, nothing about other patients.

Replicates (several training seeds, or several seeds of one untrained rule) are scored one by one, as if each were a
method, then averaged; so a chance row with 20 seeds is one statistic. `across_seeds` tells how far they lie apart: with
the interval (patients) and the SD over episodes (support clips) the third spread, never mixed with the others. Averages
over shots are plain means of the shots' figures, and are null as soon as one shot has none: a mean over other shots
would not be comparable. What a failed unit left unpredicted is counted, never filled in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from benchmark.score.calibration import Calibration, calibration
from benchmark.score.metrics import METRICS, THRESHOLD, FloatArray, Metric, clip_metrics, quick_metrics
from benchmark.score.patients import PatientResult, Worst, per_patient, worst_patient
from benchmark.score.predictions import Shot, prediction_table, split_by_shots
from benchmark.score.result import Result
from benchmark.score.uncertainty import LEVEL, RESAMPLES, Interval, patient_intervals


class PerClip(Result):
    """Scored once over clips, each clip's scores averaged over episodes before."""

    value: float | None = Field(description="The figure; null with one class only or a missing shot.")
    interval: Interval | None = Field(description="Over patients (see its `source`); null where value is.")


class PerEpisode(Result):
    """Scored in every episode apart: the paper's way."""

    mean: float | None = Field(description="Mean over episodes; averaged: mean of the shots' means.")
    sd: float | None = Field(description="SD over episodes (n - 1); averaged: mean of the shots' SDs.")
    episodes: int = Field(description="Episodes whose scored query held both classes; averaged: their sum.")


class AcrossSeeds(Result):
    """How far the figure per clip moves from one training seed (or seed of an untrained rule) to the next."""

    sd: float | None = Field(description="SD over seeds (n - 1) of the figure per clip; null with one seed.")
    seeds: int


class MetricScore(Result):
    """One metric, scored both ways, and the spread over seeds."""

    per_clip: PerClip
    per_episode: PerEpisode
    across_seeds: AcrossSeeds


class Counts(Result):
    """What the figures stand on. For the average over shots: clips and patients of any shot, sums of the rest."""

    positive_clips: int = Field(description="Scored clips followed by an onset (label 1).")
    negative_clips: int = Field(description="Scored clips not followed by one (label 0).")
    prevalence: float | None = Field(description="Share of positives: the PR-AUC of a constant score.")
    patients: int = Field(description="Patients with a scored clip.")
    episodes: int = Field(description="Episodes planned.")
    predictions: int = Field(description="Predictions made, over episodes and replicates.")
    missing_predictions: int = Field(description="Planned, not made. Not imputed.")
    missing_units: int = Field(description="Planned (episode, replicate) pairs without any prediction.")
    unscored_clips: int = Field(description="Planned clips that some replicate never predicted: left out.")


class Scores(Result):
    """The figures of a method at one number of shots, or averaged over several."""

    shots: tuple[int, ...] = Field(description="Support clips per class; several: averaged over these.")
    counts: Counts
    metrics: dict[Metric, MetricScore] = Field(description="balanced_accuracy (at 0.5), roc_auc, pr_auc, brier.")
    calibration: Calibration | None = Field(description="Of the clips' mean scores; null for an average over shots.")


class MethodScores(Result):
    """All figures of one method of a run."""

    method: str = Field(description="Row name: baseline and its non-default settings.")
    replicates: int = Field(description="Training seeds (or seeds of an untrained rule), scored apart, then averaged.")
    per_shot: tuple[Scores, ...]
    averaged: Scores
    patients: tuple[PatientResult, ...] = Field(description="Each patient by itself, averaged over shots.")
    worst_patient: Worst | None = Field(description="The lowest ROC-AUC within a patient; null where none has both.")


class RunScores(Result):
    """The scores of a run: derived from its predictions alone, so they can always be made again."""

    schema_version: int = 1
    threshold: float = Field(default=THRESHOLD, description="A score at or above this is a warning.")
    level: float = Field(default=LEVEL, description="Nominal coverage of every interval.")
    resamples: int = Field(description="Bootstrap resamples drawn for every interval.")
    seed: int = Field(description="Seed of the resampling.")
    methods: tuple[MethodScores, ...] = Field(description="Sorted by name.")

    def to_json(self) -> str:
        """Strict JSON (null, never NaN), the same bytes for the same scores, one newline at the end."""
        return self.model_dump_json(indent=2) + "\n"


def score_run(
    predictions: pd.DataFrame,
    clips: pd.DataFrame,
    planned: pd.DataFrame | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RunScores:
    """Score every method of a run.

    predictions: method, shots, episode, replicate, clip_id, score (in [0, 1]), one row per predicted clip.
    clips: clip_id, subject_id, label (1.0, 0.0; NaN for windows that were left out), one row per clip.
    planned: method, shots, episode, replicate, clip_id: every prediction the run should hold. Without it, what any
    method predicted in an episode is expected of every method and of every replicate it has.

    Row order is irrelevant. Raises BadInput for a doubled, unplanned, unlabelled or out-of-range prediction.
    """
    table, clips = prediction_table(predictions, clips, planned)
    methods = tuple(
        _score_method(str(name), rows, clips, resamples, seed) for name, rows in table.groupby("method", sort=True)
    )
    return RunScores(resamples=resamples, seed=seed, methods=methods)


def _score_method(name: str, rows: pd.DataFrame, clips: pd.DataFrame, resamples: int, seed: int) -> MethodScores:
    clips = clips.loc[clips["clip_id"].isin(rows["clip_id"])]
    labels = clips["label"].to_numpy(dtype=np.float64)
    patients = [str(subject) for subject in clips["subject_id"]]
    shots = split_by_shots(rows, clips)
    averages = np.stack([shot.averaged() for shot in shots])
    intervals = patient_intervals(averages, labels, patients, resamples=resamples, seed=seed)
    by_seed = [_score_seeds(clip_scores, labels) for clip_scores in averages]
    per_shot = []
    for index, shot in enumerate(shots):
        per_episode = _score_episodes(shot, labels)
        metrics = {
            metric: MetricScore(
                per_clip=PerClip(value=_mean(by_seed[index][metric]), interval=intervals[metric].per_shot[index]),
                per_episode=per_episode[metric],
                across_seeds=_across_seeds([by_seed[index][metric]]),
            )
            for metric in METRICS
        }
        counts = _count([shot], averages[[index]], labels, patients)
        calibrated = calibration(averages[index], labels, patients)
        per_shot.append(Scores(shots=(shot.shots,), counts=counts, metrics=metrics, calibration=calibrated))
    averaged = Scores(
        shots=tuple(shot.shots for shot in shots),
        counts=_count(shots, averages, labels, patients),
        metrics={
            metric: _average(
                [scores.metrics[metric] for scores in per_shot],
                intervals[metric].averaged,
                _across_seeds([seeds[metric] for seeds in by_seed]),
            )
            for metric in METRICS
        },
        calibration=per_shot[0].calibration if len(per_shot) == 1 else None,
    )
    return MethodScores(
        method=name,
        replicates=rows["replicate"].nunique(),
        per_shot=tuple(per_shot),
        averaged=averaged,
        patients=per_patient(averages, labels, patients),
        worst_patient=worst_patient(averages, labels, patients, seed=seed),
    )


def _score_seeds(averaged: FloatArray, labels: FloatArray) -> dict[Metric, list[float | None]]:
    """Each metric of each replicate; averaged: (replicates, clips), NaN for clips left out."""
    known = ~np.isnan(averaged).any(axis=0)
    found = [clip_metrics(labels[known], scores[known]) for scores in averaged]
    return {metric: [values[metric] for values in found] for metric in METRICS}


def _across_seeds(by_shot: Sequence[Sequence[float | None]]) -> AcrossSeeds:
    """Of the mean over shots; by_shot: the figure of every replicate (in one order), for each number of shots."""
    means = [_mean(of_seed) for of_seed in zip(*by_shot, strict=True)]
    known = [mean for mean in means if mean is not None]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 and len(known) == len(means) else None
    return AcrossSeeds(sd=spread, seeds=len(means))


def _score_episodes(shot: Shot, labels: FloatArray) -> dict[Metric, PerEpisode]:
    """Mean and SD over episodes within each replicate, both then averaged over replicates."""
    means: dict[Metric, list[float | None]] = {metric: [] for metric in METRICS}
    spreads: dict[Metric, list[float | None]] = {metric: [] for metric in METRICS}
    with_both_classes = set()
    for episodes in shot.scores:
        values: dict[Metric, list[float]] = {metric: [] for metric in METRICS}
        for episode, scores in enumerate(episodes):
            made = ~np.isnan(scores)
            for metric, value in quick_metrics(labels[made], scores[made]).items():
                if value is not None:
                    values[metric].append(value)
                    with_both_classes.add(episode)
        for metric in METRICS:
            means[metric].append(float(np.mean(values[metric])) if values[metric] else None)
            spreads[metric].append(float(np.std(values[metric], ddof=1)) if len(values[metric]) > 1 else None)
    return {
        metric: PerEpisode(mean=_mean(means[metric]), sd=_mean(spreads[metric]), episodes=len(with_both_classes))
        for metric in METRICS
    }


def _average(per_shot: Sequence[MetricScore], interval: Interval | None, across_seeds: AcrossSeeds) -> MetricScore:
    value = _mean([score.per_clip.value for score in per_shot])
    return MetricScore(
        per_clip=PerClip(value=value, interval=None if value is None else interval),
        per_episode=PerEpisode(
            mean=_mean([score.per_episode.mean for score in per_shot]),
            sd=_mean([score.per_episode.sd for score in per_shot]),
            episodes=sum(score.per_episode.episodes for score in per_shot),
        ),
        across_seeds=across_seeds,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Plain mean; None as soon as one part is missing."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present and len(present) == len(values) else None


def _count(shots: Sequence[Shot], averages: FloatArray, labels: FloatArray, patients: Sequence[str]) -> Counts:
    known = np.isfinite(averages).min(axis=1)
    used = known.max(axis=0)
    made = [~np.isnan(shot.scores) for shot in shots]
    missing_units = [shot.planned.any(axis=2) & ~there.any(axis=2) for shot, there in zip(shots, made, strict=True)]
    unscored = [shot.planned.any(axis=(0, 1)) & ~row for shot, row in zip(shots, known, strict=True)]
    predictions = sum(int(there.sum()) for there in made)
    return Counts(
        positive_clips=int((labels[used] == 1).sum()),
        negative_clips=int((labels[used] == 0).sum()),
        prevalence=float((labels[used] == 1).mean()) if used.any() else None,
        patients=len({patient for patient, scored in zip(patients, used, strict=True) if scored}),
        episodes=sum(int(shot.planned.any(axis=(0, 2)).sum()) for shot in shots),
        predictions=predictions,
        missing_predictions=sum(int(shot.planned.sum()) for shot in shots) - predictions,
        missing_units=sum(int(units.sum()) for units in missing_units),
        unscored_clips=sum(int(clips.sum()) for clips in unscored),
    )
