"""From run folders to rows of the board: predictions are read and scored; no video, no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.board.table import BoardRow
from benchmark.run.records import RunFolder
from benchmark.run.units import Record, RunCard
from benchmark.score.summary import MethodScores, RunScores, score_run
from tasks.errors import BadInput

INIT_NAMES = {"random": "random-init"}


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


def score_folder(path: Path) -> tuple[RunScores, RunCard, list[Record]]:
    """Score one run from its records.

    Raises:
        BadInput: not a run, or nothing in it has finished.
    """
    tables = read_tables(path)
    return score_run(tables.made, tables.clips, tables.planned), tables.card, tables.records


def board_rows(paths: Sequence[Path]) -> list[BoardRow]:
    """One row a method and run. Raises BadInput at the first folder that cannot be scored."""
    return [row for path in paths for row in _rows_of(path)]


def found_rows(runs: Path, say: Callable[[str], None]) -> list[BoardRow]:
    """Rows of every run below `runs`; a folder that cannot be scored is named to `say` and left out."""
    rows: list[BoardRow] = []
    for card in sorted(runs.glob("*/run.json")):
        try:
            rows += _rows_of(card.parent)
        except BadInput as error:
            say(f"left out: {error}")
    return rows


def _rows_of(path: Path) -> list[BoardRow]:
    return rows_of(read_tables(path), path)


def rows_of(tables: RunTables, path: Path) -> list[BoardRow]:
    """One row a method; `path` is the run's folder."""
    scores, card, records = score_run(tables.made, tables.clips, tables.planned), tables.card, tables.records
    of_row: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: r.status == "done"):
        of_row.setdefault(row_name(record), []).append(record)
    return [_row(of_row[method.method], card, path, method) for method in scores.methods]


def row_name(record: Record) -> str:
    """What keeps the rows of one run apart: the method, and for a network its size and initial weights."""
    unit = record.unit
    return unit.method if unit.size == "-" else f"{unit.method} [{unit.size}, {unit.init}]"


def _row(records: Sequence[Record], card: RunCard, path: Path, scores: MethodScores) -> BoardRow:
    """A row from a method's records, those that are done last."""
    record = records[-1]
    unit, stamp = record.unit, record.provenance
    return BoardRow(
        method=unit.method + stage1_marks(records, card),
        baseline=unit.baseline,
        init=INIT_NAMES.get(unit.init, unit.init),
        pool=record.card.get("pool", "-"),
        size=unit.size,
        data=data_name(card),
        rendered=card.data.rendered,
        task=f"{card.task.name}, {card.task.window_s:g} s windows",
        protocol=f"{card.protocol.name}, {card.protocol.episodes} episodes a shot, seed {card.seed}"
        + (", PATIENTS SHARED by support and query" if card.protocol.disjoint == "clip" else ""),
        run=path.resolve().name,
        versions=len({(r.unit.code, r.unit.weights, json.dumps(r.unit.settings, sort_keys=True)) for r in records}),
        commit=str(stamp.get("commit", "unknown"))[:12] + ("+dirty" if stamp.get("dirty") else ""),
        scores=scores,
    )


def stage1_marks(records: Sequence[Record], card: RunCard) -> str:
    """Whatever else a row shows, it must not be read without these."""
    most = max(record.checks.get("pretrained_patients", 0) for record in records)
    drawn = not card.data.rendered and any(r.card.get("stage1_video") == "rendered" for r in records)
    marks = [f"PRE-TRAINED ON {most} TEST PATIENTS"] if most else []
    marks += ["STAGE 1 ON RENDERED VIDEO"] if drawn else []
    return "".join(f" [{mark}]" for mark in marks)


def data_name(card: RunCard) -> str:
    """The data set, with whatever keeps a number on it from being a result."""
    marks = [
        *(["develop patients"] if card.split == "develop" else []),
        *(["rendered"] if card.data.rendered else []),
    ]
    return f"{card.data.name} ({', '.join(marks)})" if marks else card.data.name


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
    parts = []
    for record in records:
        if record.predictions is None:
            continue
        number = replicates[row_name(record)].number
        for replicate, scores in enumerate(record.predictions.scores):
            part = _part(record, number(record.unit.train_seed, replicate), record.predictions.clip_ids)
            parts.append(part.assign(score=np.array(scores)))
    return pd.concat(parts, ignore_index=True)


def _planned(
    records: Sequence[Record],
    queries: dict[tuple[int, int], tuple[str, ...]],
    replicates: dict[str, _Replicates],
) -> pd.DataFrame:
    """Every prediction there should be: each method that has begun, on each saved episode of its shots."""
    begun = {(row_name(record), record.unit.shots): record for record in records}
    parts = [
        _part(record, number, queries[shots, episode]).assign(shots=shots, episode=episode)
        for (name, shots), record in sorted(begun.items())
        for (of_shots, episode) in sorted(queries)
        if of_shots == shots
        for number in range(replicates[name].number(replicates[name].train_seeds, 0))
    ]
    return pd.concat(parts, ignore_index=True)


def _part(record: Record, replicate: int, clips: Sequence[str]) -> pd.DataFrame:
    unit = record.unit
    return pd.DataFrame({"clip_id": list(clips)}).assign(
        method=row_name(record), shots=unit.shots, episode=unit.episode, replicate=replicate
    )
