"""Score predictions again where labels are at hand: `rescored(verified, cache)`, and hold the claims against it.

Scoring is `benchmark.score.summary.score_run`, as for a run in the house; clips and patients go by their tokens. The
outcome is kept by content under CACHE/scores: predictions, episodes, reference and the code that scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache as once
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError
from sklearn.metrics import precision_recall_curve, roc_curve

import benchmark.score
from benchmark.files import write_atomically
from benchmark.score.calibration import Bin, reliability_bins
from benchmark.score.metrics import FloatArray
from benchmark.score.predictions import prediction_table, split_by_shots
from benchmark.score.result import Result
from benchmark.score.summary import MethodScores, score_run
from benchmark.submission import files
from benchmark.submission.card import BOARD_SHOTS, Card
from benchmark.submission.claims import check_claims_hold
from benchmark.submission.reference import Reference
from benchmark.submission.released import small_cells
from benchmark.submission.verify import Verified

UNNAMED = "-"  # predictions do not know whose they are: the same ones are scored once
Point = tuple[float, float]


class Curves(Result):
    """What a page draws, of each clip's mean score over replicates and shots; no patient is named."""

    roc: tuple[Point, ...] = Field(description="(false positive rate, true positive rate), from left to right.")
    pr: tuple[Point, ...] = Field(description="(recall, precision), from left to right.")
    reliability: tuple[Bin, ...]
    patients: tuple[float | None, ...] = Field(description="ROC-AUC within each patient, lowest first, null last.")


class Rescored(Result):
    """The figures of a submission, made here. `averaged`, patients and curves are over the shots that the board has,
    or over all where one of them is missing."""

    scores: MethodScores
    curves: Curves
    claims_off_by: float = Field(default=0.0, description="Largest difference of a claimed figure; 0 without claims.")


def rescored(verified: Verified, cache: Path) -> Rescored:
    """Scores of a submission with predictions and a Reference, and a check of its claims against them.

    cache: the folder of `benchmark.files.cache_folder`.

    Raises:
        BadInput: a claimed figure differs by more than 1e-9; the sentence tells both.
    """
    card, results = verified.card, verified.results
    assert isinstance(card, Card)
    assert results is not None
    assert verified.predictions is not None
    assert verified.reference is not None
    path = cache / "scores" / f"{_key(card, verified.reference)}.json"
    found = _kept(path)
    if found is None:
        found = scored(verified.predictions, verified.reference)
        write_atomically(path, found.model_dump_json() + "\n")
    scores = found.scores.model_copy(update={"method": card.method.name})
    claimed = verified.path / files.RESULTS
    off_by = check_claims_hold(claimed, results, scores.per_shot, scores.averaged, _small(verified.reference))
    return Rescored(scores=scores, curves=found.curves, claims_off_by=off_by)


def scored(predictions: pd.DataFrame, reference: Reference) -> Rescored:
    """Score predictions (shots, episode, replicate, clip, score), complete as `verify` saw to."""
    table = predictions.rename(columns={"clip": "clip_id"}).assign(method=UNNAMED)
    clips = reference.clips.rename(columns={"clip": "clip_id", "patient": "subject_id"}).astype({"label": np.float64})
    shots = set(table["shots"].tolist())
    (scores,) = score_run(table, clips).methods
    board = table
    if set(BOARD_SHOTS) < shots:
        board = table[table["shots"].isin(BOARD_SHOTS)]
        (over_board,) = score_run(board, clips).methods
        scores = over_board.model_copy(update={"per_shot": scores.per_shot})
    return Rescored(scores=scores, curves=_curves(board, clips, scores))


def board_shots(shots: Sequence[int]) -> tuple[int, ...]:
    """Which of the shots averages are over: the board's, or all where one of those is missing."""
    return BOARD_SHOTS if set(BOARD_SHOTS) <= set(shots) else tuple(sorted(set(shots)))


def _curves(rows: pd.DataFrame, clips: pd.DataFrame, scores: MethodScores) -> Curves:
    table, clips = prediction_table(rows, clips)
    averages = np.stack([shot.averaged() for shot in split_by_shots(table, clips)])
    means: FloatArray = averages.mean(axis=(0, 1))
    known = ~np.isnan(means)
    means, labels = means[known], clips["label"].to_numpy(dtype=np.float64)[known]
    roc, pr = _lines(means, labels) if 0 < labels.sum() < len(labels) else ((), ())
    within = [patient.roc_auc for patient in scores.patients]
    return Curves(
        roc=roc,
        pr=pr,
        reliability=reliability_bins(means, labels),
        patients=tuple(sorted(within, key=lambda auc: (auc is None, auc or 0.0))),
    )


def _lines(scores: FloatArray, labels: FloatArray) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    false, true, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    roc = tuple(zip(false.tolist(), true.tolist(), strict=True))
    return roc, tuple(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True))


@lru_cache(maxsize=64)
def _small(reference: Reference) -> frozenset[int]:
    """Shots at which fewer than 5 patients stand behind a class."""
    queries = reference.queries.rename(columns={"clip": "clip_id"})
    return small_cells(queries, reference.clips.rename(columns={"clip": "clip_id", "patient": "subject_id"}))


def _key(card: Card, reference: Reference) -> str:
    parts = (str(card.hashes.predictions), card.hashes.episodes, reference.digest, _code())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@once
def _code() -> str:
    """Digest of the sources that make scores and curves."""
    sources = [*sorted(Path(benchmark.score.__path__[0]).glob("*.py")), Path(__file__)]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _kept(path: Path) -> Rescored | None:
    try:
        return Rescored.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
