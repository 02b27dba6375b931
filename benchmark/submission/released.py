"""What a house's own scoring may say outside, as results.json: aggregates only, and none of a few patients.

A cell is a number of shots. What stands behind it are the patients with a positive clip and those with a negative one;
if either are fewer than 5, its figures, intervals and counts are left out. An average over shots is a plain mean, so
one hidden cell could be worked out of it and the others: it is hidden with any of its cells.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from benchmark.score.summary import MethodScores, Scores
from benchmark.submission.card import SMALLEST_CELL, ClaimedFigure, ClaimedScores, Results


def released(scores: MethodScores, small: Collection[int]) -> Results:
    """A method's figures, but for those at the numbers of shots in `small`. No figure of a single patient."""
    return Results(
        replicates=scores.replicates,
        per_shot=tuple(_cell(at, at.shots[0] in small) for at in scores.per_shot),
        averaged=_cell(scores.averaged, not set(small).isdisjoint(scores.averaged.shots)),
    )


def small_cells(made: pd.DataFrame, clips: pd.DataFrame) -> frozenset[int]:
    """Numbers of shots with fewer than 5 patients behind them.

    made: shots, clip_id of every prediction; clips: clip_id, subject_id, label.
    """
    scored = made[["shots", "clip_id"]].drop_duplicates().merge(clips, on="clip_id")
    return frozenset(int(str(shots)) for shots, cell in scored.groupby("shots") if _patients(cell) < SMALLEST_CELL)


def _patients(cell: pd.DataFrame) -> int:
    return min(int(cell.loc[cell["label"] == label, "subject_id"].nunique()) for label in (0, 1))


def _cell(scores: Scores, small: bool) -> ClaimedScores:
    counts = scores.counts
    return ClaimedScores(
        shots=scores.shots,
        patients=None if small else counts.patients,
        positive_clips=None if small else counts.positive_clips,
        negative_clips=None if small else counts.negative_clips,
        episodes=counts.episodes,
        missing_predictions=counts.missing_predictions,
        metrics={
            metric: ClaimedFigure(value=None, interval=None, suppressed=True)
            if small
            else ClaimedFigure(value=score.per_clip.value, interval=score.per_clip.interval)
            for metric, score in scores.metrics.items()
        },
    )
