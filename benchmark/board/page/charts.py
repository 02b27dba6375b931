"""Charts as SVG, in the colours of the page's style sheet, so that they follow light, dark and print.

Shapes and positions carry the meaning, one colour is enough. Each chart has a title and a description in itself; the
templates put the same figures beside it as a table or a sentence. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from benchmark.board.digits import rounded
from benchmark.board.entry import Bin, Entry, Figure, Ranked, TrackBoard
from benchmark.score.groups import letter
from benchmark.score.metrics import Metric

MOST_ROWS = 40  # of a track in one chart
MOST_GROUPS = 16
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
NAME = 34  # characters of a name beside a point


@dataclass(frozen=True)
class Box:
    """A plot area in pixels whose both axes run from 0 to 1."""

    left: float
    top: float
    width: float
    height: float

    def x(self, value: float) -> float:
        return self.left + value * self.width

    def y(self, value: float) -> float:
        return self.top + (1 - value) * self.height

    @property
    def bottom(self) -> float:
        return self.top + self.height


def strip(figure: Figure, expected: float | None) -> Markup:
    """A figure's interval on a line from 0 to 1, for a cell; a tick where knowing nothing would be."""
    parts = [f'<path class="e" d="M{100 * expected:.1f} 0v10"/>'] if expected is not None else []
    if figure.low is not None and figure.high is not None:
        parts.append(f'<path class="w" d="M{100 * figure.low:.1f} 5H{100 * figure.high:.1f}"/>')
    if figure.value is not None:
        parts.append(f'<path class="v" d="M{100 * figure.value:.1f} 5h0"/>')
    return Markup('<svg class="strip" viewBox="-3 0 106 10" aria-hidden="true">' + "".join(parts) + "</svg>")


def by_shot(name: str, figures: Mapping[int, Figure | None], expected: float | None, what: str) -> Markup:
    """A metric at each number of shots, with intervals. `name`: of the metric; `what`: of the row."""
    box = Box(30, 10, 150, 96)
    parts = [*_levels(box), *_expected(box, expected)]
    for place, (shots, figure) in enumerate(figures.items()):
        x = box.x((place + 0.5) / len(figures))
        parts.append(_text(x, box.bottom + 15, str(shots), "middle"))
        parts += _whisker(x, box, figure) if figure is not None else []
    parts.append(_text(box.x(0.5), box.bottom + 31, "shots", "middle"))
    told = "; ".join(f"{shots} shots: {_said(figure)}" for shots, figure in figures.items())
    return _svg(190, 142, f"{name} by number of shots, {what}", told, parts)


def by_shot_of(entry: Entry, metric: Metric, shots: Sequence[int], expected: float | None) -> Markup:
    """`by_shot` of an entry's metric; numbers of shots that it lacks keep their place."""
    figures = {at: entry.per_shot.get(at, {}).get(metric) for at in shots}
    return by_shot(metric.replace("_", " "), figures, expected, entry.method)


def roc(points: Sequence[tuple[float, float]], what: str) -> Markup:
    """True against false positive rate; the diagonal is chance."""
    box = Box(40, 10, 210, 210)
    parts = [*_grid(box), _path("e", f"M{box.x(0):.1f} {box.y(0):.1f}L{box.x(1):.1f} {box.y(1):.1f}")]
    parts += [_path("curve", _line(box, points)), *_axes(box, "false positive rate", "true positive rate")]
    return _svg(260, 262, f"ROC curve, {what}", roc_in_words(points), parts)


def pr(points: Sequence[tuple[float, float]], expected: float | None, what: str) -> Markup:
    """Precision against recall; the dashed line is the prevalence."""
    box = Box(40, 10, 210, 210)
    parts = [*_grid(box), *_expected(box, expected), _path("curve", _line(box, points))]
    parts += _axes(box, "recall", "precision")
    return _svg(260, 262, f"Precision-recall curve, {what}", pr_in_words(points), parts)


def reliability(bins: Sequence[Bin], what: str) -> Markup:
    """Share of positives against the mean score, with intervals; on the diagonal a score is a probability."""
    box = Box(40, 10, 210, 210)
    parts = [*_grid(box), _path("e", f"M{box.x(0):.1f} {box.y(0):.1f}L{box.x(1):.1f} {box.y(1):.1f}")]
    for point in bins:
        parts += _whisker(box.x(point.score), box, Figure(point.share, point.low, point.high))
    parts += _axes(box, "mean score", "share of positives")
    told = "; ".join(
        f"mean score {rounded(b.score, 2)}: {rounded(b.share, 2)} positive of {b.clips} clips" for b in bins
    )
    return _svg(260, 262, f"Reliability, {what}", told or "No bin has clips.", parts)


def patients(values: Sequence[float | None], what: str) -> Markup:
    """One point a patient, lowest first, by ROC-AUC within the patient."""
    known = [value for value in values if value is not None]
    box = Box(40, 10, 210, 210)
    parts = [*_grid(box, upright=False), *_expected(box, 0.5)]
    for place, value in enumerate(known):
        x, y = box.x((place + 0.5) / len(known)), box.y(value)
        parts += [_path("stem", f"M{x:.1f} {box.y(0.5):.1f}V{y:.1f}"), _path("v", f"M{x:.1f} {y:.1f}h0")]
    parts += _axes(box, "patients, lowest first", "ROC-AUC within the patient", ticks=False)
    return _svg(260, 262, f"Each patient by itself, {what}", patients_in_words(values), parts)


def roc_in_words(points: Sequence[tuple[float, float]]) -> str:
    """The curve at three places that a reader may care for."""
    best = {limit: max((t for f, t in points if f <= limit), default=0.0) for limit in (0.1, 0.2, 0.5)}
    return "Finds " + ", ".join(
        f"{rounded(found, 2)} of the positives at a false positive rate of {limit:g} or less"
        for limit, found in best.items()
    )


def pr_in_words(points: Sequence[tuple[float, float]]) -> str:
    """The curve at three places that a reader may care for."""
    best = {least: max((p for r, p in points if r >= least), default=0.0) for least in (0.25, 0.5, 0.75)}
    return "Precision is " + ", ".join(
        f"{rounded(found, 2)} at a recall of {least:g} or more" for least, found in best.items()
    )


def patients_in_words(values: Sequence[float | None]) -> str:
    """The same figures as a sentence; nobody is named."""
    known = [rounded(value, 2) for value in values if value is not None]
    without = len(values) - len(known)
    said = f"Of {len(values)} patients, lowest first: {', '.join(known) or 'none'}"
    return said + (f"; {without} with clips of one class only, so without a figure" if without else "")


def shown_in_chart(track: TrackBoard) -> list[Ranked]:
    """Rows with an average, best first: at most MOST_ROWS of them, and every trivial one."""
    rows = [ranked for ranked in track.rows if _roc_auc(ranked.entry) is not None]
    return [ranked for place, ranked in enumerate(rows) if place < MOST_ROWS or ranked.entry.kind == "trivial"]


def groups_of(track: TrackBoard) -> list[tuple[str, list[str]]]:
    """Letter and methods of each group that is not told apart, among the rows in the chart."""
    names = {ranked.entry.submission: ranked.entry.method for ranked in shown_in_chart(track)}
    kept = [[names[name] for name in group if name in names] for group in track.joined]
    return [(letter(at), methods) for at, methods in enumerate(kept[:MOST_GROUPS]) if methods]


def apart(track: TrackBoard) -> Markup:
    """ROC-AUC of a track's rows with intervals; a bar joins rows of which no two are told apart."""
    rows, groups = shown_in_chart(track), _joined_places(track)
    box = Box(8, 26, 260, 22 * len(rows))
    parts = [_path("grid", f"M{box.x(tick):.1f} {box.top}V{box.bottom}") for tick in TICKS]
    parts += [_path("e", f"M{box.x(0.5):.1f} {box.top}V{box.bottom}")]
    parts += [_text(box.x(tick), box.bottom + 16, f"{tick:g}", "middle") for tick in (0, 0.5, 1)]
    for place, ranked in enumerate(rows):
        parts += _row(box, box.top + 22 * place + 11, ranked.entry)
    for at, (name, places) in enumerate(groups):
        x, heights = 520 + 18 * at, [box.top + 22 * place + 11 for place in places]
        parts.append(_text(x, 17, name, "middle"))
        parts.append(_path("join", f"M{x} {heights[0]}V{heights[-1]}"))
        parts += [_path("dot", f"M{x} {y}h0") for y in heights]
    parts.append(_text(box.x(0.5), box.bottom + 34, "ROC-AUC", "middle"))
    told = "; ".join(f"{ranked.entry.method}: {_said(_roc_auc(ranked.entry))}" for ranked in rows)
    title = f"ROC-AUC with 95% intervals, in the order of the table: {track.title}"
    return _svg(514 + 18 * len(groups), round(box.bottom) + 42, title, told, parts)


def _joined_places(track: TrackBoard) -> list[tuple[str, list[int]]]:
    """Letter of each group, and where its rows stand in the chart."""
    place = {ranked.entry.submission: at for at, ranked in enumerate(shown_in_chart(track))}
    kept = [sorted(place[name] for name in group if name in place) for group in track.joined]
    return [(letter(at), places) for at, places in enumerate(kept[:MOST_GROUPS]) if places]


def _row(box: Box, y: float, entry: Entry) -> list[str]:
    figure = _roc_auc(entry)
    name = entry.method if len(entry.method) <= NAME else entry.method[: NAME - 1] + "…"
    parts = [_text(box.left + box.width + 16, y + 4, name, "start", "name")]
    if figure is None or figure.value is None:
        return parts
    if figure.low is not None and figure.high is not None:
        parts.append(_path("w", f"M{box.x(figure.low):.1f} {y}H{box.x(figure.high):.1f}"))
    hollow = ' class="hollow"' if entry.kind == "trivial" else ' class="point"'
    return [*parts, f'<circle{hollow} cx="{box.x(figure.value):.1f}" cy="{y}" r="4"/>']


def _roc_auc(entry: Entry) -> Figure | None:
    figure = entry.averaged.get("roc_auc") if entry.averaged else None
    return figure if figure is not None and figure.value is not None else None


def _whisker(x: float, box: Box, figure: Figure) -> list[str]:
    if figure.value is None:
        return []
    known = figure.low is not None and figure.high is not None
    bar = [_path("w", f"M{x:.1f} {box.y(figure.low or 0):.1f}V{box.y(figure.high or 0):.1f}")] if known else []
    return [*bar, _path("v", f"M{x:.1f} {box.y(figure.value):.1f}h0")]


def _said(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "withheld, fewer than 5 patients" if figure is not None and figure.suppressed else "no figure"
    if figure.low is None or figure.high is None:
        return f"{rounded(figure.value, 3)}, no interval"
    return f"{rounded(figure.value, 3)}, interval {figure.low:.2f} to {figure.high:.2f}"


def _levels(box: Box) -> list[str]:
    """Horizontal lines with their values at 0, 0.5 and 1."""
    lines = [_path("grid", f"M{box.left} {box.y(at):.1f}h{box.width}") for at in (0, 0.5, 1)]
    return lines + [_text(box.left - 6, box.y(at) + 4, f"{at:g}", "end") for at in (0, 0.5, 1)]


def _grid(box: Box, upright: bool = True) -> list[str]:
    lines = [_path("grid", f"M{box.left} {box.y(tick):.1f}h{box.width}") for tick in TICKS]
    return lines + [_path("grid", f"M{box.x(tick):.1f} {box.top}v{box.height}") for tick in TICKS if upright]


def _axes(box: Box, below: str, beside: str, ticks: bool = True) -> list[str]:
    marks = (0, 0.5, 1)
    parts = [_text(box.left - 6, box.y(at) + 4, f"{at:g}", "end") for at in marks]
    parts += [_text(box.x(at), box.bottom + 15, f"{at:g}", "middle") for at in marks if ticks]
    turned = f'<text transform="translate(11 {box.y(0.5):.1f}) rotate(-90)" text-anchor="middle">{beside}</text>'
    return [*parts, _text(box.x(0.5), box.bottom + 33, below, "middle"), turned]


def _expected(box: Box, value: float | None) -> list[str]:
    return [] if value is None else [_path("e", f"M{box.left} {box.y(value):.1f}h{box.width}")]


def _line(box: Box, points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{box.x(x):.1f} {box.y(y):.1f}" for x, y in points) if points else ""


def _path(name: str, d: str) -> str:
    return f'<path class="{name}" d="{d}"/>'


def _text(x: float, y: float, text: str, anchor: str, name: str = "") -> str:
    named = f' class="{name}"' if name else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: int, title: str, told: str, parts: Iterable[str]) -> Markup:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg class="chart" role="img" {size}><title>{escape(title)}</title><desc>{escape(told)}</desc>'
    return Markup(head + "".join(parts) + "</svg>")
