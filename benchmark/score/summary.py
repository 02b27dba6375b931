"""From predictions to the figures of a run: `score_run(predictions, clips) -> RunScores`, pure and deterministic.

Two ways to score the same predictions, both kept, because they answer different questions:

- `per_clip`: each clip's scores are averaged over the episodes that had it in their query, then the clips are scored
  once. Every clip counts once, so an interval over patients is honest. This is the benchmark's figure.
- `per_episode`: each episode's query is scored on its own; mean and SD over episodes. This is the way of the paper
  (arXiv 2603.12887). The SD tells how the draw of support clips moves the figure, nothing about other patients.

Replicates (several seeds of one untrained rule) are scored one by one, as if each were a method, then averaged; so a
chance row with 20 seeds is one statistic. Averages over shots are plain means of the shots' figures, and are null as
soon as one shot has none: a mean over other shots would not be comparable. What a failed unit left unpredicted is
counted, never filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from benchmark.score.metrics import METRICS, THRESHOLD, FloatArray, Metric, clip_metrics, quick_metrics
from benchmark.score.uncertainty import LEVEL, RESAMPLES, Interval, patient_intervals
from tasks.errors import BadInput

UNIT = ["method", "shots", "episode", "replicate"]
KEY = [*UNIT, "clip_id"]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PerClip(_Result):
    """Scored once over clips, each clip's scores averaged over episodes before."""

    value: float | None = Field(description="The figure; null with one class only or a missing shot.")
    interval: Interval | None = Field(description="Over patients (see its `source`); null where value is.")


class PerEpisode(_Result):
    """Scored in every episode apart: the paper's way."""

    mean: float | None = Field(description="Mean over episodes; averaged: mean of the shots' means.")
    sd: float | None = Field(description="SD over episodes (n - 1); averaged: mean of the shots' SDs.")
    episodes: int = Field(description="Episodes whose scored query held both classes; averaged: their sum.")


class MetricScore(_Result):
    """One metric, scored both ways."""

    per_clip: PerClip
    per_episode: PerEpisode


class Counts(_Result):
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


class Scores(_Result):
    """The figures of a method at one number of shots, or averaged over several."""

    shots: tuple[int, ...] = Field(description="Support clips per class; several: averaged over these.")
    counts: Counts
    metrics: dict[Metric, MetricScore] = Field(description="balanced_accuracy (at 0.5), roc_auc, pr_auc, brier.")


class MethodScores(_Result):
    """All figures of one method of a run."""

    method: str = Field(description="Row name: baseline and its non-default settings.")
    replicates: int = Field(description="Seeds of an untrained rule, scored apart and averaged; mostly 1.")
    per_shot: tuple[Scores, ...]
    averaged: Scores


class RunScores(_Result):
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
    clips = _checked_clips(clips)
    predictions = _checked_predictions(predictions, clips)
    table = _planned_and_made(predictions, _expected(predictions) if planned is None else planned, clips)
    methods = tuple(
        _score_method(str(name), rows, clips, resamples, seed) for name, rows in table.groupby("method", sort=True)
    )
    return RunScores(resamples=resamples, seed=seed, methods=methods)


def _checked_clips(clips: pd.DataFrame) -> pd.DataFrame:
    _require(clips, ["clip_id", "subject_id", "label"], "clips")
    _refuse_doubles(clips, ["clip_id"], "clips")
    labelled = clips.loc[clips["label"].notna(), ["clip_id", "subject_id", "label"]]
    strange = labelled.loc[~labelled["label"].isin([0.0, 1.0])]
    if len(strange):
        row = strange.iloc[0]
        raise BadInput(
            f"clips: label {row['label']} of clip {row['clip_id']} is neither 1, 0 nor empty; derive labels anew."
        )
    return labelled.sort_values("clip_id", ignore_index=True)


def _checked_predictions(predictions: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    _require(predictions, [*KEY, "score"], "predictions")
    if predictions.empty:
        raise BadInput("predictions: there are none to score; run at least one work unit first.")
    _refuse_doubles(predictions, KEY, "predictions")
    outside = predictions.loc[~predictions["score"].between(0.0, 1.0)]
    if len(outside):
        row = outside.iloc[0]
        raise BadInput(
            f"predictions: score {row['score']} of {_place(row)} is not in [0, 1]; predict probabilities, never NaN."
        )
    unknown = predictions.loc[~predictions["clip_id"].isin(clips["clip_id"])]
    if len(unknown):
        raise BadInput(
            f"predictions: {_place(unknown.iloc[0])} has no labelled clip in the clips table; "
            "score with the clips that the run was made from."
        )
    return predictions


def _expected(predictions: pd.DataFrame) -> pd.DataFrame:
    queries = predictions[["shots", "episode", "clip_id"]].drop_duplicates()
    return predictions[["method", "replicate"]].drop_duplicates().merge(queries, how="cross")


def _planned_and_made(predictions: pd.DataFrame, planned: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """One row per planned prediction, score NaN where it was not made."""
    _require(planned, KEY, "planned predictions")
    _refuse_doubles(planned, KEY, "planned predictions")
    table = planned[KEY].merge(predictions[[*KEY, "score"]], on=KEY, how="outer", indicator=True)
    extra = table.loc[table["_merge"] == "right_only"]
    if len(extra):
        raise BadInput(
            f"predictions: {_place(extra.iloc[0])} was not planned; score with the episodes of the same run."
        )
    unknown = table.loc[~table["clip_id"].isin(clips["clip_id"])]
    if len(unknown):
        raise BadInput(f"planned predictions: {_place(unknown.iloc[0])} has no labelled clip in the clips table.")
    return table


def _require(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise BadInput(f"{what}: column {absent[0]} is missing; expected {', '.join(columns)}.")


def _refuse_doubles(frame: pd.DataFrame, key: list[str], what: str) -> None:
    doubled = frame.duplicated(key)
    if doubled.any():
        row = frame.loc[doubled, key].iloc[0]
        where = ", ".join(f"{column} {row[column]}" for column in key)
        raise BadInput(f"{what}: {where} stands there twice; keep one row.")


def _place(row: pd.Series) -> str:
    return ", ".join(f"{column} {row[column]}" for column in KEY)


@dataclass(frozen=True)
class _Shot:
    """One method's predictions at one number of shots; both arrays are (replicates, episodes, clips)."""

    shots: int
    planned: NDArray[np.bool_]
    scores: FloatArray  # NaN where no prediction was made

    def averaged(self) -> FloatArray:
        """Mean score over episodes, (replicates, clips); NaN for a clip that some replicate never predicted."""
        means = _mean_over_episodes(self.scores)
        return np.where(np.isnan(means).any(axis=0), np.nan, means)


def _score_method(name: str, rows: pd.DataFrame, clips: pd.DataFrame, resamples: int, seed: int) -> MethodScores:
    clips = clips.loc[clips["clip_id"].isin(rows["clip_id"])]
    labels = clips["label"].to_numpy(dtype=np.float64)
    patients = [str(subject) for subject in clips["subject_id"]]
    shots = _split_by_shots(rows, clips)
    averages = np.stack([shot.averaged() for shot in shots])
    intervals = patient_intervals(averages, labels, patients, resamples=resamples, seed=seed)
    per_shot = []
    for index, shot in enumerate(shots):
        per_clip = _score_clips(averages[index], labels)
        per_episode = _score_episodes(shot, labels)
        metrics = {
            metric: MetricScore(
                per_clip=PerClip(value=per_clip[metric], interval=intervals[metric].per_shot[index]),
                per_episode=per_episode[metric],
            )
            for metric in METRICS
        }
        counts = _count([shot], averages[[index]], labels, patients)
        per_shot.append(Scores(shots=(shot.shots,), counts=counts, metrics=metrics))
    averaged = Scores(
        shots=tuple(shot.shots for shot in shots),
        counts=_count(shots, averages, labels, patients),
        metrics={
            metric: _average([scores.metrics[metric] for scores in per_shot], intervals[metric].averaged)
            for metric in METRICS
        },
    )
    replicates = rows["replicate"].nunique()
    return MethodScores(method=name, replicates=replicates, per_shot=tuple(per_shot), averaged=averaged)


def _split_by_shots(rows: pd.DataFrame, clips: pd.DataFrame) -> list[_Shot]:
    """Dense arrays from the long table; clips in the order of `clips`, the rest sorted."""
    clip_of_row = pd.Index(clips["clip_id"]).get_indexer(pd.Index(rows["clip_id"]))
    replicates, replicate_of_row = np.unique(rows["replicate"].to_numpy(), return_inverse=True)
    scores = rows["score"].to_numpy(dtype=np.float64)
    shots_of_row = rows["shots"].to_numpy()
    found = []
    for shots in np.unique(shots_of_row):
        here = shots_of_row == shots
        episodes, episode_of_row = np.unique(rows["episode"].to_numpy()[here], return_inverse=True)
        cell = (replicate_of_row[here], episode_of_row, clip_of_row[here])
        shape = (len(replicates), len(episodes), len(clips))
        planned, made = np.zeros(shape, dtype=bool), np.full(shape, np.nan)
        planned[cell], made[cell] = True, scores[here]
        found.append(_Shot(shots=int(shots), planned=planned, scores=made))
    return found


def _mean_over_episodes(scores: FloatArray) -> FloatArray:
    """Mean over axis 1 of (replicates, episodes, clips), of what is there; NaN where nothing is.

    Taken from the smallest value upward, so that a constant averages to itself to the last bit: otherwise clips seen in
    7 and in 9 episodes would differ by an ulp, and a constant score would get a ROC-AUC made of rounding errors.
    """
    ranked = np.sort(scores, axis=1)  # NaN last
    smallest, largest = ranked[:, 0], np.fmax.reduce(ranked, axis=1)
    seen = ~np.isnan(ranked)
    above = np.where(seen, ranked - smallest[:, None], 0.0).sum(axis=1)
    means: FloatArray = np.minimum(smallest + above / np.maximum(seen.sum(axis=1), 1), largest)
    return means


def _score_clips(averaged: FloatArray, labels: FloatArray) -> dict[Metric, float | None]:
    """Mean over replicates of each metric; averaged: (replicates, clips), NaN for clips left out."""
    known = ~np.isnan(averaged).any(axis=0)
    found = [clip_metrics(labels[known], scores[known]) for scores in averaged]
    return {metric: _mean([values[metric] for values in found]) for metric in METRICS}


def _score_episodes(shot: _Shot, labels: FloatArray) -> dict[Metric, PerEpisode]:
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


def _average(per_shot: Sequence[MetricScore], interval: Interval | None) -> MetricScore:
    value = _mean([score.per_clip.value for score in per_shot])
    return MetricScore(
        per_clip=PerClip(value=value, interval=None if value is None else interval),
        per_episode=PerEpisode(
            mean=_mean([score.per_episode.mean for score in per_shot]),
            sd=_mean([score.per_episode.sd for score in per_shot]),
            episodes=sum(score.per_episode.episodes for score in per_shot),
        ),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Plain mean; None as soon as one part is missing."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present and len(present) == len(values) else None


def _count(shots: Sequence[_Shot], averages: FloatArray, labels: FloatArray, patients: Sequence[str]) -> Counts:
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
