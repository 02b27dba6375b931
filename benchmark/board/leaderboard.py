"""The board as text: `render_markdown(board)`, `render_csv`, `render_json`, `render_latex`; pure, no clock, no place.

One table a track. Markdown and LaTeX show the averages and the ROC-AUC shot by shot; CSV and JSON hold every figure.
Whatever keeps a number from being read as a result stands over its table. Texts come from strangers: each is escaped
for where it goes, so that it opens no cell, tag, link, formula or command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmark.board.digits import rounded
from benchmark.board.entry import Board, Entry, Figure, Ranked, TrackBoard
from benchmark.board.table import ABSENT, aligned, cell, csv_text
from benchmark.board.tracks import MARKS, groups_by_row, quotation, warnings_of
from benchmark.score.metrics import METRICS, Metric
from benchmark.submission.card import BOARD_SHOTS
from benchmark.words import counted

SCHEMA = 1
SHOTS = ", ".join(map(str, BOARD_SHOTS))
READING = (
    "**Status.** *reported*: the submitter's own figures; *re-scored*: scored here from the submitted predictions; "
    "*reproduced*: run again here with the same predictions, within tolerance.",
    f"**Figures** are averaged over {SHOTS} shots, clips' scores being averaged over episodes first; brackets: 95% "
    "interval over patients. bacc: balanced accuracy at 0.5. Worst patient: the lowest ROC-AUC within a patient, low "
    "by luck alone where patients have few clips. Cost: seconds of training and prediction a unit (an episode), on the "
    "submitter's machine. Pre-training: as declared; none means that none was declared.",
    "**Not in the tables**: balanced accuracy, PR-AUC and Brier score shot by shot are in leaderboard.csv, "
    "leaderboard.json and the page.",
)
NOTHING = "No submissions yet; `seizure-bench submit RUN` makes one."
HEAD: dict[Metric, str] = {"balanced_accuracy": "bacc", "roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "brier": "Brier"}
_LATEX = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}", "`": r"\char96{}"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # behind \\ they would be read as its arguments
    **{"—": "---", "†": r"\textdagger{}"},
}


_FIGURE = str.maketrans({"*": r"\*", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True)
class Column:
    """A column of the tables to be read. `figure`: made of numbers by us, so it needs no escape in Markdown."""

    title: str
    text: Callable[[Ranked], str]
    figure: bool = False


def render_markdown(board: Board) -> str:
    """Tables to read. An empty board says so."""
    parts = ["# Leaderboard", "Made of `submissions/` by `seizure-bench leaderboard`; it is not edited by hand."]
    parts += ["\n".join(f"- {line}" for line in READING)] if board.tracks else [NOTHING]
    return "\n\n".join([*parts, *(_markdown_track(track) for track in board.tracks)]) + "\n"


def render_csv(board: Board) -> str:
    """Every figure: a line for the average of each row, then one for each number of shots. No cell is a formula."""
    return csv_text([line for track in board.tracks for line in _csv_lines(track)])


def render_json(board: Board) -> str:
    """Every figure; strict JSON, null where there is none."""
    content = {"schema_version": SCHEMA, "tracks": [_json_track(track) for track in board.tracks]}
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def render_latex(board: Board) -> str:
    """Tables for a paper; they need the packages booktabs and graphicx."""
    head = "% Made by `seizure-bench leaderboard`. In the preamble: \\usepackage{booktabs,graphicx}"
    return "\n\n".join([head, *(_latex_track(track) for track in board.tracks)]) + "\n"


def latex(text: object) -> str:
    """Text of a stranger as inert LaTeX: no command, group, comment, mathematics, cell or argument."""
    visible = "".join(c if c.isprintable() else " " for c in str(text))
    return "".join(_LATEX.get(character, character) for character in visible) or _LATEX[ABSENT]


def columns_of(track: TrackBoard) -> list[Column]:
    """What a table to be read shows; a publication's has no more than it printed."""
    digits = 4 if track.reported_only else 3  # as printed
    averages = [
        Column(f"{HEAD[metric]} [95%]", partial(_averaged, metric=metric, digits=digits), True) for metric in METRICS
    ]
    by_shot = [
        Column(f"ROC-AUC, {shots} shots", partial(_at, shots=shots, digits=digits), True) for shots in track.shots
    ]
    if track.reported_only:
        kind = Column("kind", lambda row: row.entry.kind)
        return [Column("method", _method), kind, *averages[:-1], *by_shot, Column("status", lambda r: r.entry.status)]
    groups = groups_by_row(track)
    return [
        Column("rank, group", partial(_rank, groups=groups)),
        Column("method", _method),
        Column("init", lambda row: row.entry.init),
        Column("pool", lambda row: row.entry.pool),
        Column("size", lambda row: row.entry.size),
        *averages[:-1],
        *by_shot,
        averages[-1],
        Column("worst patient", lambda row: _number(row.entry.worst_patient, 2), True),
        Column("s a unit", lambda row: ABSENT if row.entry.cost_s is None else f"{row.entry.cost_s:.3g}", True),
        Column("pre-training", lambda row: row.entry.pretraining),
        Column("status", lambda row: row.entry.status),
        Column("date", lambda row: row.entry.date or ABSENT),
    ]


def _markdown_track(track: TrackBoard) -> str:
    columns = columns_of(track)
    body = [
        [column.text(row).translate(_FIGURE) if column.figure else cell(column.text(row)) for column in columns]
        for row in track.rows
    ]
    table = aligned([column.title for column in columns], body, [not column.figure for column in columns])
    parts = [
        f"## {cell(track.title)}",
        *(f"**{warning}**" for warning in warnings_of(track)),
        _list(_facts(track)),
        table,
    ]
    notes = notes_of(track, columns)
    parts += [f"In their words:\n\n> {cell(track.quoted)}"] if track.quoted else []
    return "\n\n".join([*parts, *([_list(notes)] if notes else [])])


def notes_of(track: TrackBoard, columns: Sequence[Column]) -> list[str]:
    """The track's notes without those on marks that stand in none of these columns."""
    shown = "".join(column.text(row) for column in columns if column.figure for row in track.rows)
    unseen = {said for mark, said in MARKS.items() if mark not in shown}
    return [note for note in track.notes if note not in unseen]


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {cell(line)}" for line in lines)


def _facts(track: TrackBoard) -> list[str]:
    data = track.data
    if track.patients is not None:
        patients = counted(track.patients, "patient")
        data += f": {track.positives} positive and {track.negatives} negative clips of {patients}"
    return [f"Task: {track.task}", f"Protocol: {track.protocol}", f"Data: {data}"]


def _rank(row: Ranked, groups: dict[str, str]) -> str:
    tie = f"({row.tied} tied)" if row.tied > 1 else ""
    words = (str(row.rank), groups.get(row.entry.submission, ""), tie)
    return ABSENT if row.rank is None else " ".join(word for word in words if word)


def _method(row: Ranked) -> str:
    """The name, and what must be read with it."""
    entry = row.entry
    tails = ["(trivial)"] * (entry.kind == "trivial") + [f"[{warning}]" for warning in entry.warnings]
    return " ".join([entry.method, *tails])


def _averaged(row: Ranked, metric: Metric, digits: int) -> str:
    averaged = row.entry.averaged
    return _figure(averaged.get(metric) if averaged else None, digits)


def _at(row: Ranked, shots: int, digits: int) -> str:
    return _figure(row.entry.per_shot.get(shots, {}).get("roc_auc"), digits)


def _figure(figure: Figure | None, digits: int) -> str:
    """`0.612 [0.40, 0.80]~`; no brackets where there never was an interval."""
    if figure is None or figure.value is None:
        return "suppressed" if figure is not None and figure.suppressed else ABSENT
    if figure.low is None or figure.high is None:
        return _number(figure.value, digits) + figure.mark
    ends = ABSENT if figure.low == figure.high else f"{rounded(figure.low, 2)}, {rounded(figure.high, 2)}"
    return f"{_number(figure.value, digits)} [{ends}]{figure.mark}"


def _number(value: float | None, digits: int) -> str:
    return ABSENT if value is None else rounded(value, digits)


def _csv_lines(track: TrackBoard) -> Iterator[dict[str, object]]:
    groups, warnings = groups_by_row(track), warnings_of(track)
    for row in track.rows:
        letters = groups.get(row.entry.submission, "")
        same: dict[str, object] = {"track": track.name, "task": track.task, "protocol": track.protocol}
        same |= {
            "data": track.data,
            "rank": _plain(row.rank),
            "tied": row.tied or "",
            "groups": letters,
            **_words(row.entry),
        }
        yield from _csv_row(row.entry, same | {"warnings": " ".join((*warnings, *row.entry.warnings))})


def _csv_row(entry: Entry, same: dict[str, object]) -> Iterator[dict[str, object]]:
    averaged = [(f"average of {SHOTS.replace(',', '')}", entry.averaged)] if entry.averaged else []
    for shots, figures in [*averaged, *((str(shots), entry.per_shot[shots]) for shots in sorted(entry.per_shot))]:
        line: dict[str, object] = {**same, "shots": shots}
        for metric in METRICS:
            figure = asdict(figures[metric]) if metric in figures else dict.fromkeys(asdict(Figure(None)))
            line[metric] = _plain(figure.pop("value"))
            line |= {f"{metric}_{key}": _plain(value) for key, value in figure.items()}
        yield line


def _plain(value: object) -> object:
    return "" if value is None else value


def _words(entry: Entry) -> dict[str, object]:
    """Of a row all but its figures by shots, plots and card."""
    return {
        "submission": entry.submission,
        "method": entry.method,
        "kind": entry.kind,
        "baseline": entry.baseline,
        "init": entry.init,
        "pool": entry.pool,
        "size": entry.size,
        "pretraining": entry.pretraining,
        "status": entry.status,
        "rendered": entry.rendered,
        "random_init": entry.random_init,
        "worst_patient": entry.worst_patient,
        "cost_s": entry.cost_s,
        "device": entry.device,
        "date": entry.date,
    }


def _json_track(track: TrackBoard) -> dict[str, Any]:
    plain = ("name", "digest", "title", "task", "protocol", "data", "onset_type", "rendered", "reported_only")
    counts = ("patients", "positives", "negatives", "shots", "joined")
    return {
        **{key: getattr(track, key) for key in (*plain, *counts)},
        "warnings": warnings_of(track),
        "notes": track.notes,
        "in_their_words": track.quoted or None,
        "rows": [_json_row(row) for row in track.rows],
    }


def _json_row(row: Ranked) -> dict[str, Any]:
    entry = row.entry
    per_shot = {str(shots): _json_figures(entry.per_shot[shots]) for shots in sorted(entry.per_shot)}
    averaged = _json_figures(entry.averaged) if entry.averaged is not None else None
    return {
        "rank": row.rank,
        "tied": row.tied or None,
        **_words(entry),
        "warnings": entry.warnings,
        "averaged": averaged,
        "per_shot": per_shot,
    }


def _json_figures(figures: Any) -> dict[str, Any]:
    return {metric: asdict(figures[metric]) for metric in METRICS if metric in figures}


def _latex_track(track: TrackBoard) -> str:
    columns = columns_of(track)
    over = " ".join(latex(text) for text in (f"{track.title}.", *warnings_of(track), "; ".join(_facts(track))))
    lines = [r"\begin{table*}", r"\centering", rf"\caption{{{over}}}", rf"\label{{tab:{track.name}}}"]
    lines += [
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{''.join('r' if c.figure else 'l' for c in columns)}}}",
    ]
    lines += [r"\toprule", _latex_line([column.title for column in columns]), r"\midrule"]
    for above, row in zip((None, *track.rows), track.rows, strict=False):
        if above is not None and _part(track, above) != _part(track, row):
            lines.append(r"\midrule")
        lines.append(_latex_line([column.text(row) for column in columns]))
    lines += [r"\bottomrule", r"\end{tabular}}"]
    quoted = [f"In their words: {quotation(track.quoted)}"] if track.quoted else []
    notes = " ".join(latex(note) for note in (*quoted, *notes_of(track, columns)))
    lines += [r"\par\smallskip\footnotesize " + notes] if notes else []
    return "\n".join([*lines, r"\end{table*}"])


def _part(track: TrackBoard, row: Ranked) -> object:
    """What a line parts: what is ranked from what is not; in a publication its methods from its ablations."""
    return row.entry.kind if track.reported_only else row.rank is None


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(latex(re.sub(r"\s+", " ", text)) for text in cells) + r" \\"
