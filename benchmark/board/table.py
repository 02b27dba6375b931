"""Tables of local runs as Markdown: `render(rows) -> str`, the same bytes for the same rows.

Only rows on the same data, task, protocol and shots stand in one table. In it they are sorted by ROC-AUC averaged over
shots, without rank numbers: the order is no verdict, since intervals of neighbours mostly overlap. Chance stands at
the bottom wherever its luck put it: it is the floor to be cleared, not a contestant.

What makes text inert (`cell`, `csv_text`) and tables (`pipe`) is here for every other table too. Names may come from
strangers: they are escaped for Markdown and kept from being formulas in CSV.
"""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any

from tabulate import tabulate

from benchmark.score.metrics import METRICS, Metric
from benchmark.score.summary import MethodScores, Scores
from benchmark.score.uncertainty import CLIPS, PATIENTS, Interval
from benchmark.words import counted

RENDERED = "Rendered demo data: these numbers say nothing about patients."
RANDOM_INIT = (
    "Rows marked random-init start from random weights: they show that the code runs, not what the published method "
    "of that name can do."
)
HOW_SCORED = "Each clip's scores are averaged over episodes, then scored once; brackets: 95% interval over patients."
ORDER = (
    "Per episode ± SD is the paper's way; that SD is between episodes and says nothing about other patients. "
    "The order is no verdict: overlapping intervals do not tell methods apart."
)

TITLES: dict[Metric, str] = {
    "balanced_accuracy": "bacc at 0.5",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
}
ABSENT = "—"
MARKDOWN = re.compile(  # cells, links, code, emphasis, headings, lists; addresses that would become links by themselves
    r"[\\`*|\[\]~$@]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|:(?=//)|(?<=www)\.|^[#+=-](?=.)", re.IGNORECASE
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
INTERVAL_COLUMNS = ("low", "high", "source", "degenerate", "validated")


@dataclass(frozen=True)
class BoardRow:
    """One scored method: what it is, what it was run on, its figures."""

    method: str  # row name: baseline and its non-default settings
    baseline: str  # registered name; "chance" goes to the bottom
    init: str  # "k400", "k400-ssl", "random-init"; "none" for methods without weights
    pool: str  # how a network makes one feature of its tokens: "mean", "first"; "-" without tokens
    size: str  # "tiny", "base"
    data: str  # e.g. "rendered demo"
    rendered: bool  # drawn by a program: nobody was filmed
    task: str
    protocol: str
    commit: str
    run: str  # name of the run's folder
    versions: int  # how many states of the method's code and defaults its units come from
    scores: MethodScores

    @property
    def random_init(self) -> bool:
        """Whether it started from random weights."""
        return self.init.startswith("random")

    @property
    def identity(self) -> dict[str, str | bool]:
        """Every field but the scores, in order, with random weights always called random-init."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "scores"}
        return {**named, "init": "random-init" if self.random_init else self.init}


def render(rows: Sequence[BoardRow]) -> str:
    """The tables to read, as Markdown. No patient is named."""
    return "\n\n".join(_markdown_table(table) for table in _tables(rows)) + "\n"


def warnings_of(rows: Sequence[BoardRow]) -> list[str]:
    """The sentences that must stand over these rows."""
    return warnings_if(any(row.rendered for row in rows), any(row.random_init for row in rows))


def warnings_if(rendered: bool, random_init: bool) -> list[str]:
    """The same, by what is so of any row."""
    return [*([RENDERED] if rendered else []), *([RANDOM_INIT] if random_init else [])]


@dataclass(frozen=True)
class _Table:
    """Rows that may stand side by side, sorted."""

    task: str
    protocol: str
    data: str
    shots: tuple[int, ...]
    rows: tuple[BoardRow, ...]

    @property
    def warnings(self) -> list[str]:
        return warnings_of(self.rows)


def _tables(rows: Sequence[BoardRow]) -> list[_Table]:
    def comparable(row: BoardRow) -> tuple[str, str, str, tuple[int, ...]]:
        return row.task, row.protocol, row.data, row.scores.averaged.shots

    return [
        _Table(*key, rows=tuple(sorted(members, key=position)))
        for key, members in groupby(sorted(rows, key=comparable), key=comparable)
    ]


def position(row: BoardRow) -> tuple[Any, ...]:
    """The order of a table: by ROC-AUC, chance at the bottom."""
    value = row.scores.averaged.metrics["roc_auc"].per_clip.value
    order = (row.baseline == "chance", value is None, -(value or 0.0))
    return (*order, *map(str, row.identity.values()), row.scores.model_dump_json())


def _markdown_table(table: _Table) -> str:
    shots = ", ".join(map(str, table.shots))
    scale = f"mean of {shots} shots" if len(table.shots) > 1 else f"{shots} shots"
    heading = f"### {cell(table.task)}, {cell(table.protocol)}: {cell(table.data)}, {scale}"
    names = Counter(row.method for row in table.rows)
    headers = ["method", "init", "size", "pool", *(f"{TITLES[metric]} [95%]" for metric in METRICS)]
    headers += ["ROC-AUC per episode ± SD"]
    body = [_markdown_row(row, alone=names[row.method] == 1) for row in table.rows]
    notes = [f"{HOW_SCORED} {ORDER}", *footnotes(table.rows)]
    return "\n\n".join([heading, *table.warnings, _clips(table), pipe(headers, body, left=4), *notes])


def _clips(table: _Table) -> str:
    """How much data the table stands on, from the row that is most complete."""
    most = max((row.scores.averaged.counts for row in table.rows), key=lambda counts: counts.predictions)
    patients = counted(most.patients, "patient")
    return f"{most.positive_clips} positive and {most.negative_clips} negative clips of {patients}."


def _markdown_row(row: BoardRow, alone: bool) -> list[str]:
    """`alone`: no other row has this method's name, so the run need not be named."""
    metrics = row.scores.averaged.metrics
    episodes = metrics["roc_auc"].per_episode
    return [
        cell(row.method if alone else f"{row.method} (run {row.run})") + marks(row),
        *(cell(row.identity[key]) for key in ("init", "size", "pool")),
        *(with_interval(metrics[metric].per_clip.value, metrics[metric].per_clip.interval) for metric in METRICS),
        f"{_number(episodes.mean)} ± {_number(episodes.sd)}" if episodes.mean is not None else ABSENT,
    ]


def marks(row: BoardRow) -> str:
    """What `footnotes` explains, to be put behind a row's name."""
    few = r" \*" if any(interval.source == CLIPS for interval in _intervals(row.scores.averaged)) else ""
    missing = " ‡" if row.scores.averaged.counts.missing_predictions else ""
    return few + missing + (" §" if row.versions > 1 else "")


def footnotes(rows: Sequence[BoardRow]) -> list[str]:
    """Explanations of the marks that these rows bear."""
    notes = []
    intervals = [interval for row in rows for interval in _intervals(row.scores.averaged)]
    if any(interval.source == CLIPS for interval in intervals):
        notes.append(
            r"\* Fewer than 8 patients: the interval resamples clips within each class. It can be too narrow, "
            "since clips of one patient are alike."
        )
    if any(interval.source == PATIENTS and not interval.validated for interval in intervals):
        notes.append(
            "~ Not validated: in some simulated cohorts such intervals covered the truth in 91 to 93 of 100 (PR-AUC, "
            "Brier), or fewer than 8 patients have clips of one class. Take it for a little less than a 95% interval."
        )
    if any(interval.degenerate for interval in intervals):
        notes.append(
            "† All resamples gave the same value: at 0 or 1 the other end is the exact limit for that many patients; "
            "elsewhere there is no interval to tell."
        )
    for row in rows:
        counts = row.scores.averaged.counts
        if counts.missing_predictions:
            planned = counts.predictions + counts.missing_predictions
            notes.append(
                f"‡ {cell(row.method)}: {counts.missing_predictions} of {planned} predictions are missing "
                f"(failed units: {counts.missing_units}); scored on the rest, nothing filled in."
            )
        if row.versions > 1:
            notes.append(
                f"§ {cell(row.method)}: its units come from {row.versions} states of its code; run it again with all "
                "these shots to renew them."
            )
    return notes


def pipe(headers: list[str], body: list[list[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are text."""
    return aligned(headers, body, [place < left for place in range(len(headers))])


def aligned(headers: list[str], body: list[list[str]], left: Sequence[bool]) -> str:
    """A Markdown table; left: which columns are text."""
    align = ["left" if text else "right" for text in left]
    return tabulate(body, headers=headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def with_interval(value: float | None, interval: Interval | None) -> str:
    """A figure as `0.612 [0.40, 0.80]`."""
    if value is None:
        return ABSENT
    if interval is None:
        return f"{_number(value)} [{ABSENT}]"
    mark = "†" if interval.degenerate else ""
    if interval.low == interval.high:
        return f"{_number(value)} [{ABSENT}]{mark}"
    unproven = "~" if interval.source == PATIENTS and not interval.validated else ""
    return f"{_number(value)} [{interval.low:.2f}, {interval.high:.2f}]{mark}{unproven}"


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def _intervals(scores: Scores) -> list[Interval]:
    found = (scores.metrics[metric].per_clip.interval for metric in METRICS)
    return [interval for interval in found if interval is not None]


def cell(text: object) -> str:
    """Text of a stranger as one inert Markdown cell: no new cell, line, tag, link, code or hidden character."""
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    plain = " ".join(visible.split())
    inert = re.sub(MARKDOWN, r"\\\g<0>", plain)
    return html.escape(inert, quote=False) or ABSENT


def csv_text(lines: Sequence[dict[str, object]]) -> str:
    """Lines as CSV with a heading, in which nothing is a formula."""
    out = io.StringIO()
    columns = list(dict.fromkeys(column for line in lines for column in line))
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _csv_safe(value) for key, value in line.items()} for line in lines)
    return out.getvalue()


def csv_lines(row: BoardRow, warnings: Sequence[str]) -> Iterable[dict[str, object]]:
    """A row's figures by column: averaged over shots, then (if there are several) shot by shot."""
    single = row.scores.per_shot if len(row.scores.per_shot) > 1 else ()  # of one shot, the average is it
    for scores in (row.scores.averaged, *single):
        line: dict[str, object] = {"status": "scored", **row.identity, "shots": _csv_shots(scores.shots)}
        line |= scores.counts.model_dump()
        for metric in METRICS:
            score = scores.metrics[metric]
            interval = asdict(score.per_clip.interval) if score.per_clip.interval else {}
            line[metric] = score.per_clip.value
            line |= {f"{metric}_{key}": interval.get(key) for key in INTERVAL_COLUMNS}
            line[f"{metric}_resamples_dropped"] = interval.get("resamples_dropped")
            line |= {f"{metric}_per_episode_{key}": value for key, value in score.per_episode.model_dump().items()}
            line |= {f"{metric}_across_seeds_{key}": value for key, value in score.across_seeds.model_dump().items()}
        yield {**line, "warning": " ".join(warnings)}


def _csv_shots(shots: Sequence[int]) -> str:
    return str(shots[0]) if len(shots) == 1 else "average of " + " ".join(map(str, shots))


def _csv_safe(value: object) -> object:
    """Spreadsheets run cells that begin like a formula; a leading apostrophe makes them text."""
    formula = isinstance(value, str) and len(value) > 1 and value.startswith(FORMULA)
    return f"'{value}" if formula else value
