"""Methods of one or several runs, paired by construction: the same clips, patients, labels and episodes, or refused.

run folders -> read_meeting -> Meeting: what all share, and an Entrant a method
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.board.rows import rows_of
from benchmark.board.table import BoardRow
from benchmark.run.records import first_difference
from benchmark.run.tables import RunTables, read_tables
from benchmark.run.units import RunCard
from benchmark.score.metrics import FloatArray, Metric, clip_metrics, quick_metrics
from benchmark.score.predictions import Shot, prediction_table, split_by_shots
from tasks.errors import BadInput


@dataclass(frozen=True, eq=False)
class Entrant:
    """One method of one run, at the shots that all entrants share."""

    name: str  # unique among the entrants
    path: Path
    row: BoardRow
    shots: tuple[Shot, ...]

    @property
    def scores(self) -> FloatArray:
        """(shots, replicates, clips), averaged over episodes; NaN for a clip that no episode asks about."""
        return np.stack([shot.averaged() for shot in self.shots])

    def per_seed(self, metric: Metric, labels: FloatArray) -> FloatArray:
        """The figure of each replicate, averaged over shots: (replicates,)."""
        return np.mean([[_figure(labels, row, metric) for row in shot.averaged()] for shot in self.shots], axis=0)

    def per_episode(self, metric: Metric, labels: FloatArray) -> list[FloatArray]:
        """For each number of shots the figure in each episode, averaged over replicates: (episodes,), NaN for none."""
        return [
            np.array([[_in_episode(labels, row, metric) for row in replicate] for replicate in shot.scores]).mean(
                axis=0
            )
            for shot in self.shots
        ]


@dataclass(frozen=True, eq=False)
class Meeting:
    """What the entrants share. Clips: all labelled ones of the run, in the order of their ids."""

    card: RunCard
    shots: tuple[int, ...]
    left_out: tuple[int, ...]  # shots that only some of the methods have
    labels: FloatArray  # (clips,)
    patients: tuple[str, ...]  # (clips,)
    entrants: tuple[Entrant, ...]


def read_meeting(paths: Sequence[Path]) -> Meeting:
    """Read every method of every run.

    Raises:
        BadInput: not a run; runs on other data, tasks, protocols or episodes; a prediction is missing; one method only.
    """
    doubled = [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if doubled:
        raise BadInput(f"{doubled[0]}: named twice; name each run once")
    runs = {path: read_tables(path) for path in paths}
    first = paths[0]
    for path in paths[1:]:
        _refuse_other_data(first, runs[first], path, runs[path])
    clips, found = runs[first].clips, []
    for path, tables in runs.items():
        rows = {row.scores.method: row for row in rows_of(tables, path)}
        table, clips = prediction_table(tables.made, tables.clips, tables.planned)
        for name, predictions in table.groupby("method", sort=True):
            found.append(Entrant(str(name), path, rows[str(name)], tuple(split_by_shots(predictions, clips))))
    if len(found) < 2:
        raise BadInput(f"{first}: {found[0].name} is its only method; name a second run, or add a method to this one")
    shots = set.intersection(*({shot.shots for shot in entrant.shots} for entrant in found))
    if not shots:
        raise BadInput(f"{first}: the methods have no number of shots in common; run them all with the same --shots")
    for path, other in pairwise(paths):
        _refuse_other_episodes(path, runs[path], other, runs[other], shots)
    shared = [replace(one, shots=tuple(s for s in one.shots if s.shots in shots)) for one in _named(found)]
    for entrant in shared:
        _refuse_unfinished(entrant)
    return Meeting(
        card=runs[first].card,
        shots=tuple(sorted(shots)),
        left_out=tuple(sorted({shot.shots for entrant in found for shot in entrant.shots} - shots)),
        labels=clips["label"].to_numpy(dtype=np.float64),
        patients=tuple(str(subject) for subject in clips["subject_id"]),
        entrants=tuple(shared),
    )


def _refuse_other_data(first: Path, one: RunTables, path: Path, other: RunTables) -> None:
    def card(tables: RunTables) -> dict[str, Any]:
        content = tables.card.model_dump(mode="json")
        del content["data"]["name"]  # the same clips may lie in another folder
        return content

    if card(one) != card(other):
        raise BadInput(
            f"{first}: cannot be compared with {path} ({first_difference(card(other), card(one))}); runs must share "
            "task, protocol, seed, split and data"
        )


def _refuse_other_episodes(first: Path, one: RunTables, path: Path, other: RunTables, shots: set[int]) -> None:
    here, there = (
        {(record.unit.shots, record.unit.episode): record.unit.episode_digest for record in tables.records}
        for tables in (one, other)
    )
    for place in sorted(here.keys() & there.keys()):
        if place[0] in shots and here[place] != there[place]:
            raise BadInput(
                f"{path}: episode {place[1]} of {place[0]} shots has another support or query than in {first}; the "
                "two were drawn by different versions, run both again"
            )


def _refuse_unfinished(entrant: Entrant) -> None:
    for shot in entrant.shots:
        planned, made = int(shot.planned.sum()), int(np.isfinite(shot.scores).sum())
        if made < planned:
            raise BadInput(
                f"{entrant.path}: {entrant.name} lacks {planned - made} of {planned} predictions at {shot.shots} "
                f"shots; finish that run (the same `seizure-bench run` with --out {entrant.path}), then compare"
            )


def _named(found: Sequence[Entrant]) -> list[Entrant]:
    """Entrants by the name of their row; those with a name in common with their run's folder, or its whole path."""
    names = [_name(entrant.row) for entrant in found]
    for where in (lambda entrant: entrant.row.run, lambda entrant: str(entrant.path.resolve())):
        doubled = Counter(names)
        names = [
            name if doubled[name] == 1 else f"{_name(entrant.row)} (run {where(entrant)})"
            for name, entrant in zip(names, found, strict=True)
        ]
    return [replace(entrant, name=name) for name, entrant in zip(names, found, strict=True)]


def _name(row: BoardRow) -> str:
    return row.method if row.size == "-" else f"{row.method} [{row.size}, {row.identity['init']}]"


def _figure(labels: FloatArray, scores: FloatArray, metric: Metric) -> float:
    known = np.isfinite(scores)
    value = clip_metrics(labels[known], scores[known])[metric]
    if value is None:
        raise BadInput("the scored clips are all of one class; a comparison needs clips of both")
    return value


def _in_episode(labels: FloatArray, scores: FloatArray, metric: Metric) -> float:
    made = np.isfinite(scores)
    value = quick_metrics(labels[made], scores[made])[metric]
    return np.nan if value is None else value
