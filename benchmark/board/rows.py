"""From run folders to rows of the board: predictions are read and scored; no video, no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmark.board.table import BoardRow
from benchmark.run.tables import RunTables, read_tables, row_name
from benchmark.run.units import Record, RunCard
from benchmark.score.summary import MethodScores, RunScores, score_run

INIT_NAMES = {"random": "random-init"}


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


def _rows_of(path: Path) -> list[BoardRow]:
    return rows_of(read_tables(path), path)


def rows_of(tables: RunTables, path: Path) -> list[BoardRow]:
    """One row a method; `path` is the run's folder."""
    scores, card, records = score_run(tables.made, tables.clips, tables.planned), tables.card, tables.records
    of_row: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: r.status == "done"):
        of_row.setdefault(row_name(record), []).append(record)
    return [_row(of_row[method.method], card, path, method) for method in scores.methods]


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
