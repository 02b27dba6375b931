"""A run as the tables that scoring reads: what was predicted, what should have been, and the labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.run.records import RunFolder
from benchmark.run.units import Record, RunCard
from tasks.errors import BadInput


@dataclass(frozen=True)
class RunTables:
    """A run as the tables that `score_run` and `prediction_table` read; methods go by `row_name`."""

    card: RunCard
    records: list[Record]
    clips: pd.DataFrame
    made: pd.DataFrame
    planned: pd.DataFrame


def read_tables(path: Path) -> RunTables:
    """Everything that scoring needs.

    Raises:
        BadInput: not a run, or nothing in it has finished; a control, whose clips have no labels of their own.
    """
    tables = read_predictions(path)
    if tables.card.permuted_labels:
        raise BadInput(
            f"{path}: a control with permuted labels, which has no result; `seizure-bench score {path}` reads it"
        )
    return tables


def read_predictions(path: Path) -> RunTables:
    """The same of any run, a control included.

    Raises:
        BadInput: not a run, or nothing in it has finished.
    """
    folder = RunFolder(path)
    card, records = folder.card(), folder.records()
    done = [r for r in records if r.predictions is not None]
    if not done:
        raise BadInput(f"{path}: no unit of this run has finished; run it again and read its errors")
    queries, replicates = folder.episode_queries(), _replicates(records)
    return RunTables(card, records, folder.clips(), _made(done, replicates), _planned(records, queries, replicates))


def row_name(record: Record) -> str:
    """What keeps the rows of one run apart: the method, and for a network its size and initial weights."""
    unit = record.unit
    return unit.method if unit.size == "-" else f"{unit.method} [{unit.size}, {unit.init}]"


@dataclass(frozen=True)
class _Replicates:
    """How often a method was trained on an episode, and how many scores each training gives a clip.

    Both make replicates, numbered from the first training's first to the last one's last.
    """

    train_seeds: int
    each: int

    def number(self, train_seed: int, replicate: int) -> int:
        return train_seed * self.each + replicate


def _replicates(records: Sequence[Record]) -> dict[str, _Replicates]:
    """By row. What failed, or is not there yet, is counted by what is there of the same row."""
    found: dict[str, _Replicates] = {}
    for record in records:
        made = len(record.predictions.scores) if record.predictions else 1
        known = found.get(row_name(record), _Replicates(1, 1))
        found[row_name(record)] = _Replicates(max(known.train_seeds, record.unit.train_seed + 1), max(known.each, made))
    return found


def _made(records: Sequence[Record], replicates: dict[str, _Replicates]) -> pd.DataFrame:
    """Every prediction as a row of the table that `score_run` reads."""
    parts: list[tuple[Sequence[str], tuple[str, int, int, int]]] = []
    scores: list[float] = []
    for record in records:
        if record.predictions is None:
            continue
        unit, number = record.unit, replicates[row_name(record)].number
        for replicate, of_clips in enumerate(record.predictions.scores):
            place = (row_name(record), unit.shots, unit.episode, number(unit.train_seed, replicate))
            parts.append((record.predictions.clip_ids, place))
            scores += of_clips
    return _table(parts).assign(score=np.array(scores))


def _planned(
    records: Sequence[Record],
    queries: dict[tuple[int, int], tuple[str, ...]],
    replicates: dict[str, _Replicates],
) -> pd.DataFrame:
    """Every prediction there should be: each method that has begun, on each saved episode of its shots."""
    begun = {(row_name(record), record.unit.shots) for record in records}
    return _table(
        [
            (queries[shots, episode], (name, shots, episode, number))
            for (name, shots) in sorted(begun)
            for (of_shots, episode) in sorted(queries)
            if of_shots == shots
            for number in range(replicates[name].number(replicates[name].train_seeds, 0))
        ]
    )


def _table(parts: Sequence[tuple[Sequence[str], tuple[str, int, int, int]]]) -> pd.DataFrame:
    """A row a clip of every part: its id, then method, shots, episode and replicate. One frame, not one a part."""
    places = pd.DataFrame([place for _, place in parts], columns=["method", "shots", "episode", "replicate"])
    rows = places.loc[places.index.repeat([len(clips) for clips, _ in parts])].reset_index(drop=True)
    rows.insert(0, "clip_id", [clip for clips, _ in parts for clip in clips])
    return rows
