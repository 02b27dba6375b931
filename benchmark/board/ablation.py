"""An ablation as one table and one picture, from the records of its run folders alone.

    read_results(ablation) -> the scored row of every value of the axis
    render_results(...)    -> table.md, table.csv, table.json
    draw_results(...)      -> plot.png, plot.svg: a panel a metric, the axis on x, the interval as a bar

A picture travels without its caption, so what keeps it from being a result (rendered video, random weights) stands
inside it. The same records give the same bytes. What a paper reports for the same axis is never drawn beside ours: it
was measured on other clips.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.board.rows import INIT_NAMES, board_rows
from benchmark.board.style import CHANCE, COLOUR, DOUBT_BOX, SINGLE, pictures
from benchmark.board.table import (
    ABSENT,
    HOW_SCORED,
    TITLES,
    BoardRow,
    cell,
    csv_lines,
    csv_text,
    footnotes,
    marks,
    pipe,
    warnings_of,
    with_interval,
)
from benchmark.files import write_atomically
from benchmark.run.ablate import Ablation, AxisName, Point
from benchmark.score.metrics import METRICS, Metric
from benchmark.score.summary import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN: tuple[Metric, ...] = ("balanced_accuracy", "roc_auc", "pr_auc")
READING = (
    "Where intervals overlap widely, nothing can be said about which value is better; the "
    "best of several rows is the luckiest as well."
)
ALIKE = "Rows differ in one thing, and stand on the same episodes."
OTHER_CLIPS = "Each horizon is another task, with clips of its own."
SHAPES = ("s", "^", "v", "D", "P", "X")


@dataclass(frozen=True)
class ResultRow:
    """One value. `row` is None where no unit of it is finished; `x` is None on an axis of categories.

    `mark` is what the board adds to the method's name, such as that patients of the test were pre-trained on.
    """

    value: str
    x: float | None
    row: BoardRow | None
    mark: str = ""


@dataclass(frozen=True)
class Results:
    """A scored ablation. `title` names the axis in words, `default` is the method's own value."""

    axis: AxisName
    title: str
    model: str
    default: str | None
    rows: tuple[ResultRow, ...]

    @property
    def scored(self) -> list[BoardRow]:
        """The rows that there are."""
        return [result.row for result in self.rows if result.row is not None]


def read_results(ablation: Ablation) -> Results:
    """Score what is finished.

    Raises:
        BadInput: a record or a table of a run folder cannot be read.
    """
    folders = {point.session.folder.path: point.session.folder for point in ablation.points}
    found = {path: board_rows([path]) if folder.any_done() else [] for path, folder in folders.items()}
    rows = [_result(point, found[point.session.folder.path]) for point in ablation.points]
    return Results(ablation.name, ablation.axis.title, ablation.model, ablation.default, tuple(rows))


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write table and plot into `folder`; their paths, none if nothing is finished."""
    if not results.scored:
        return []
    content: dict[str, str | bytes] = {
        f"table.{suffix}": render_results(results, fmt)
        for suffix, fmt in (("md", "markdown"), ("csv", "csv"), ("json", "json"))
    }
    content |= {f"plot.{suffix}": data for suffix, data in draw_results(results).items()}
    for name, data in content.items():
        write_atomically(folder / name, data)
    return [folder / name for name in content]


def render_results(results: Results, fmt: str) -> str:
    """The table as text; fmt: "markdown" to read, "csv" and "json" for every figure."""
    return {"markdown": _markdown, "csv": _csv, "json": _json}[fmt](results)


def _result(point: Point, rows: Sequence[BoardRow]) -> ResultRow:
    unit = point.unit
    network = (unit.size, INIT_NAMES.get(unit.init, unit.init))
    for row in rows:
        mark = row.method.removeprefix(unit.method)
        if (row.size, row.init) == network and row.method.startswith(unit.method) and mark[:2] in ("", " ["):
            anything = row.scores.averaged.counts.predictions > 0
            return ResultRow(point.value, point.x, row if anything else None, mark.strip())
    return ResultRow(point.value, point.x, None)


def _markdown(results: Results) -> str:
    rows, body = results.scored, []
    for result in results.rows:
        if result.row is None:
            body.append([cell(result.value), *[ABSENT] * (len(METRICS) + 5)])
            continue
        for scores in (result.row.scores.averaged, *_per_shot(result.row)):
            shots = ", ".join(map(str, scores.shots))
            counts = scores.counts
            body.append(
                [
                    cell(f"{result.value} {result.mark}") + marks(result.row),
                    f"mean of {shots}" if len(scores.shots) > 1 else shots,
                    *(
                        with_interval(score.per_clip.value, score.per_clip.interval)
                        for score in (scores.metrics[metric] for metric in METRICS)
                    ),
                    f"{counts.positive_clips} + {counts.negative_clips}",
                    str(counts.patients),
                    cell(result.row.init),
                    cell(result.row.size),
                ]
            )
    headers = [results.axis, "shots", *(f"{TITLES[metric]} [95%]" for metric in METRICS)]
    headers += ["clips (+ and -)", "patients", "init", "size"]
    own = [f"The method's own value is {cell(results.default)}."] if results.default else []
    missing = [cell(result.value) for result in results.rows if result.row is None]
    unfinished = [f"No unit is finished for: {', '.join(missing)}."] if missing else []
    heading = f"### {results.axis} of {cell(results.model)}: {cell(_where(rows))}"
    between = OTHER_CLIPS if results.axis == "horizon" else ALIKE
    notes = [*own, *unfinished, f"{HOW_SCORED} {between} {READING}", *footnotes(rows)]
    return "\n\n".join([heading, *warnings_of(rows), pipe(headers, body, left=2), *notes]) + "\n"


def _where(rows: Sequence[BoardRow]) -> str:
    """Task, protocol and data, as far as the rows share them."""
    shared = [dict.fromkeys(getattr(row, key) for row in rows) for key in ("task", "protocol", "data")]
    return "; ".join(next(iter(values)) for values in shared if len(values) == 1)


def _csv(results: Results) -> str:
    warnings = warnings_of(results.scored)
    lines: list[dict[str, object]] = []
    for result in results.rows:
        head: dict[str, object] = {"axis": results.axis, "value": result.value}
        if result.row is None:
            lines.append({**head, "status": "unfinished"})
        else:
            lines += [{**head, **line} for line in csv_lines(result.row, warnings)]
    return csv_text(sorted(lines, key=lambda line: line.get("status") == "unfinished"))


def _json(results: Results) -> str:
    content = {
        "schema_version": 1,
        "axis": results.axis,
        "model": results.model,
        "default": results.default,
        "warnings": warnings_of(results.scored),
        "rows": [
            {
                "value": result.value,
                "x": result.x,
                "mark": result.mark,
                "row": result.row and {**result.row.identity, "scores": result.row.scores.model_dump(mode="json")},
            }
            for result in results.rows
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def draw_results(results: Results) -> dict[str, bytes]:
    """The picture, by file suffix: `png` (200 dots an inch) and `svg`."""
    return pictures(lambda figure: _draw(figure, results), size=(10, 4.2))


def _draw(figure: Figure, results: Results) -> None:
    places = _places(results)
    panels = figure.subplots(1, len(DRAWN), sharey=True)
    for axes, metric in zip(panels, DRAWN, strict=True):
        _draw_metric(axes, results, places, metric)
        axes.set_title(TITLES[metric], fontsize=10)
        axes.set_xlabel(results.title)
        _set_ticks(axes, results, places)
        axes.set_ylim(*_limits(results))
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    start = {f"{row.size}, {row.init}" for row in results.scored if row.size != "-"}
    network = f" ({start.pop()})" if len(start) == 1 else ""
    title = [f"{results.axis} of {results.model}{network}", *textwrap.wrap(_where(results.scored), 110)]
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=10)
    doubts = ["rendered data"] if any(row.rendered for row in results.scored) else []
    doubts += ["random-init"] if any(row.random_init for row in results.scored) else []
    doubts += ["pre-trained on test patients"] if any(result.mark for result in results.rows) else []
    if doubts:
        figure.text(0.99, 0.975, f"{', '.join(doubts)}\nno result", ha="right", va="top", fontsize=8.5, bbox=DOUBT_BOX)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)


def _draw_metric(axes: Axes, results: Results, places: Sequence[float], metric: Metric) -> None:
    """Averages with their intervals, single shots to their right, and chance."""
    from matplotlib.transforms import offset_copy

    found = [(x, result.row) for x, result in zip(places, results.rows, strict=True) if result.row is not None]
    floor = [_chance(row, metric) for _, row in found]
    half = _gap(places) / 2
    edges = [found[0][0] - half, *(x for x, _ in found), found[-1][0] + half]
    label = "chance (PR-AUC: the share of positives)"
    axes.plot(edges, [floor[0], *floor, floor[-1]], "--", color=CHANCE, linewidth=1, label=label, zorder=1)
    averages = [(x, row.scores.averaged.metrics[metric].per_clip) for x, row in found]
    for x, score in averages:
        if score.interval is not None:
            axes.plot([x, x], [score.interval.low, score.interval.high], color=COLOUR, linewidth=1.6, zorder=2)
    singles = {
        shot: [(x, s.metrics[metric].per_clip.value) for x, row in found for s in _per_shot(row) if s.shots == (shot,)]
        for shot in sorted({s.shots[0] for _, row in found for s in _per_shot(row)})
    }
    label = f"{'mean of shots' if singles else 'value'}, 95% interval over patients"
    points = _finite([(x, score.value) for x, score in averages])
    axes.plot(*points, "o", color=COLOUR, markersize=5.5, label=label, zorder=3)
    line: dict[str, Any] = {"linestyle": "none", "markersize": 3.6, "markerfacecolor": "white", "zorder": 4}
    line |= {"markeredgecolor": SINGLE, "markeredgewidth": 0.8}
    for number, (shot, values) in enumerate(singles.items()):
        line |= {"transform": offset_copy(axes.transData, axes.get_figure(root=True), x=6 + 4 * number, units="points")}
        axes.plot(*_finite(values), marker=SHAPES[number % len(SHAPES)], label=f"{shot} shots", **line)


def _chance(row: BoardRow, metric: Metric) -> float:
    prevalence = row.scores.averaged.counts.prevalence
    return prevalence if metric == "pr_auc" and prevalence is not None else 0.5


def _per_shot(row: BoardRow) -> Sequence[Scores]:
    """The single shots; none where the average is one of them."""
    return row.scores.per_shot if len(row.scores.per_shot) > 1 else ()


def _limits(results: Results) -> tuple[float, float]:
    """Limits of the ordinate, the same for all panels: whatever is drawn, and 0.3 to 0.8 at least."""
    drawn = [0.3, 0.8, *(_chance(row, metric) for row in results.scored for metric in DRAWN)]
    for row in results.scored:
        for scores in (row.scores.averaged, *_per_shot(row)):
            for clips in (scores.metrics[metric].per_clip for metric in DRAWN):
                drawn += [] if clips.value is None else [clips.value]
                if scores is row.scores.averaged and clips.interval is not None:
                    drawn += [clips.interval.low, clips.interval.high]
    return min(drawn) - 0.02, max(drawn) + 0.02


def _finite(points: Sequence[tuple[float, float | None]]) -> tuple[list[float], list[float]]:
    there = [(x, y) for x, y in points if y is not None]
    return [x for x, _ in there], [y for _, y in there]


def _places(results: Results) -> list[float]:
    """Where the values lie: a numeric axis is to scale."""
    given = [result.x for result in results.rows]
    return [float(n) if x is None else x for n, x in enumerate(given)]


def _gap(places: Sequence[float]) -> float:
    """The smallest distance of two values."""
    ordered = sorted(set(places))
    return min((b - a for a, b in pairwise(ordered)), default=1.0)


def _set_ticks(axes: Axes, results: Results, places: Sequence[float]) -> None:
    numeric = all(result.x is not None for result in results.rows)
    labels = [f"{x:g}" if numeric else result.value for x, result in zip(places, results.rows, strict=True)]
    long = not numeric and sum(map(len, labels)) > 30
    axes.set_xticks(places, labels, rotation=30 if long else 0, ha="right" if long else "center")
    span, gap = max(places) - min(places), _gap(places)
    axes.set_xlim(min(places) - max(0.6 * gap, 0.05 * span), max(places) + max(0.6 * gap, 0.1 * span))
