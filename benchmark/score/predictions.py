"""The long table of predictions, checked and turned into arrays: what every score and every test starts from.

    predictions, clips, planned -> prediction_table -> split_by_shots -> Shot.averaged()

Row order is irrelevant. What was planned and not made is NaN, never filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.score.metrics import FloatArray
from tasks.errors import BadInput

UNIT = ["method", "shots", "episode", "replicate"]
KEY = [*UNIT, "clip_id"]


def prediction_table(
    predictions: pd.DataFrame, clips: pd.DataFrame, planned: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every planned prediction (score NaN where it was not made) and the labelled clips, ordered by id.

    Args:
        predictions: method, shots, episode, replicate, clip_id, score (in [0, 1]), one row per predicted clip.
        clips: clip_id, subject_id, label (1.0, 0.0; NaN for windows that were left out), one row per clip.
        planned: method, shots, episode, replicate, clip_id: every prediction there should be. Without it, what any
            method predicted in an episode is expected of every method and of every replicate it has.

    Raises:
        BadInput: a doubled, unplanned, unlabelled or out-of-range prediction; the sentence names it.
    """
    clips = _checked_clips(clips)
    predictions = _checked_predictions(predictions, clips)
    return _planned_and_made(predictions, _expected(predictions) if planned is None else planned, clips), clips


@dataclass(frozen=True)
class Shot:
    """One method's predictions at one number of shots; both arrays are (replicates, episodes, clips)."""

    shots: int
    planned: NDArray[np.bool_]
    scores: FloatArray  # NaN where no prediction was made

    def averaged(self) -> FloatArray:
        """Mean score over episodes, (replicates, clips); NaN for a clip that some replicate never predicted."""
        means = mean_over_episodes(self.scores)
        return np.where(np.isnan(means).any(axis=0), np.nan, means)


def split_by_shots(rows: pd.DataFrame, clips: pd.DataFrame) -> list[Shot]:
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
        found.append(Shot(shots=int(shots), planned=planned, scores=made))
    return found


def mean_over_episodes(scores: FloatArray) -> FloatArray:
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
