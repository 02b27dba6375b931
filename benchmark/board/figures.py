"""Pictures of scored runs: `write_plots(run folders, out) -> paths`, from their records alone.

    reliability-METHOD   a panel a number of shots: mean score against the share of positives in bins of scores, with
                         Wilson bars; every clip as a tick (positives above, negatives below); slope and intercept
    patients-DATA-TASK   each patient's ROC-AUC within its own clips, a column a method; the lowest is ringed, beside
                         it the lowest that luck alone would give

Each as PNG and SVG, the same bytes for the same records. A picture travels without its caption, so what keeps it from
being a result (rendered video, random weights) stands inside it. Names come from strangers: they are
plain text in a picture and harmless in a file name.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.board.rows import INIT_NAMES, data_name, stage1_marks
from benchmark.board.style import CHANCE, COLOUR, DOUBT_BOX, SINGLE, pictures
from benchmark.files import write_atomically
from benchmark.run.tables import read_tables, row_name
from benchmark.run.units import Record, RunCard
from benchmark.score.calibration import CLIPS_A_BIN, Calibration, Estimate, calibration, reliability_bins
from benchmark.score.metrics import FloatArray
from benchmark.score.patients import per_patient, worst_patient
from benchmark.score.predictions import prediction_table, split_by_shots
from benchmark.words import counted
from tasks.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST_PATIENTS = 0.28  # of a column to either side
READING = (
    f"Points: bins of equal numbers of clips, {CLIPS_A_BIN} or more each. Bars: 95% Wilson intervals, which ignore "
    "that clips of a patient are alike. Ticks: clips, positives above, negatives below. Slope 1 and intercept 0 are "
    "right; brackets: 95%, one patient left out at a time."
)
PATIENTS_READING = (
    "A circle's area: clips of the patient. Grey bar: the lowest circle to expect (95%, median) if all patients were "
    "alike, the clips of each class being dealt anew among them."
)


@dataclass(frozen=True, eq=False)
class Scored:
    """One method of one run. scores: (shots, replicates, N), NaN where a clip has none; labels, patients: (N,)."""

    run: str
    method: str
    data: str
    task: str
    protocol: str
    doubts: tuple[str, ...]
    shots: tuple[int, ...]
    scores: FloatArray
    labels: FloatArray
    patients: tuple[str, ...]


def write_plots(paths: Sequence[Path], out: Path) -> list[Path]:
    """Draw the runs in `paths` into the folder `out`, which is made; the files written, in order.

    Raises:
        BadInput: a run cannot be read, nothing in it has finished, or `out` cannot be written.
    """
    drawn = draw_plots([method for path in paths for method in read_scored(path)])
    try:
        for name, content in drawn.items():
            write_atomically(out / name, content)
    except OSError as error:
        raise BadInput(f"--plots {out}: cannot be written ({error.strerror}); choose another folder") from error
    return [out / name for name in drawn]


def draw_plots(methods: Sequence[Scored]) -> dict[str, bytes]:
    """Every picture by file name. Methods of other data, task, protocol or shots have patients of their own."""
    drawn: dict[str, bytes] = {}
    several = len({method.run for method in methods}) > 1
    for method in methods:
        run = f"{method.run}-" if several else ""
        drawn |= _pictures(f"reliability-{run}{method.method}", drawn, partial(draw_reliability, of=method))
    for (data, task, *_), group in groupby(sorted(methods, key=_comparable), key=_comparable):
        drawn |= _pictures(f"patients-{data}-{task}", drawn, partial(draw_patients, methods=list(group)))
    return drawn


def read_scored(path: Path) -> list[Scored]:
    """The methods of a run folder that have a prediction, by name, scores averaged over episodes.

    Raises:
        BadInput: not a run, or nothing in it has finished.
    """
    run = read_tables(path)
    card, records = run.card, run.records
    table, clips = prediction_table(run.made, run.clips, run.planned)
    found = []
    for name, rows in table.groupby("method", sort=True):
        own = clips.loc[clips["clip_id"].isin(rows["clip_id"])]
        shots = split_by_shots(rows, own)
        found.append(
            Scored(
                run=path.resolve().name,
                method=str(name),
                data=data_name(card),
                task=card.task.name,
                protocol=f"{card.protocol.name}, {card.protocol.episodes} episodes a shot, seed {card.seed}",
                doubts=_doubts([r for r in records if row_name(r) == name], card),
                shots=tuple(shot.shots for shot in shots),
                scores=np.stack([shot.averaged() for shot in shots]),
                labels=own["label"].to_numpy(dtype=np.float64),
                patients=tuple(str(subject) for subject in own["subject_id"]),
            )
        )
    return found


def draw_reliability(figure: Figure, of: Scored) -> None:
    """A panel a number of shots."""
    figure.set_size_inches(max(7.0, 3.6 * len(of.shots)), 5.6)
    panels = figure.subplots(1, len(of.shots), sharey=True, squeeze=False)[0]
    for axes, shots, scores in zip(panels, of.shots, of.scores, strict=True):
        found = calibration(scores, of.labels, of.patients)
        axes.set_title("\n".join([f"{shots} shots, {_counted(found)}", *_in_words(found)]), fontsize=8.5, loc="left")
        _draw_bins(axes, scores[0], of.labels)
        axes.set_xlabel("score")
    panels[0].set_ylabel("share of positives")
    seeds = of.scores.shape[1]
    several = f" Points and ticks: the first of {seeds} seeds; slope and intercept: their mean." if seeds > 1 else ""
    _frame(figure, f"Reliability of {plain(of.method)}", [of], READING + several)


def draw_patients(figure: Figure, methods: Sequence[Scored]) -> None:
    """A column a method; a patient stands at the same place in every column."""
    figure.set_size_inches(max(7.0, 1.5 * len(methods) + 2.5), 5.2)
    axes = figure.subplots()
    names = sorted({name for of in methods for name in of.patients})
    place = dict(zip(names, np.linspace(-1, 1, len(names)) * WIDEST_PATIENTS, strict=True))
    axes.axhline(0.5, linestyle="--", color=CHANCE, linewidth=1, label="chance", zorder=1)
    several = len({of.run for of in methods}) > 1
    ticks = [
        "\n".join([*textwrap.wrap(plain(f"{of.run}: {of.method}" if several else of.method), 22), note])
        for of, note in zip(methods, [_draw_column(axes, n, of, place) for n, of in enumerate(methods)], strict=True)
    ]
    axes.set_xticks(range(len(methods)), ticks, fontsize=8)
    axes.set_xlim(-0.6, len(methods) - 0.4)
    axes.set_ylim(-0.06, 1.06)
    axes.set_ylabel("ROC-AUC within a patient")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    axes.legend(by_label.values(), by_label, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    shots = ", ".join(map(str, methods[0].shots))
    mean = f"mean of {shots} shots" if len(methods[0].shots) > 1 else f"{shots} shots"
    _frame(figure, f"Patient by patient, {mean}", methods, PATIENTS_READING)


def plain(text: str) -> str:
    """A stranger's text with nothing in it but visible ASCII."""
    return text.encode("unicode_escape").decode("ascii")


def _comparable(of: Scored) -> tuple[str, str, str, tuple[int, ...]]:
    return of.data, of.task, of.protocol, of.shots


def _doubts(records: Sequence[Record], card: RunCard) -> tuple[str, ...]:
    """What keeps the method's figures from being results."""
    found = ["rendered data"] if card.data.rendered else []
    found += ["random-init"] if any(INIT_NAMES.get(r.unit.init) == "random-init" for r in records) else []
    return (*found, *(mark.lower() for mark in re.findall(r"\[(.*?)\]", stage1_marks(records, card))))


def _draw_bins(axes: Axes, scores: FloatArray, labels: FloatArray) -> None:
    axes.plot([0, 1], [0, 1], "--", color=SINGLE, linewidth=0.8, zorder=1)
    for value, height, colour in ((1.0, 1.05, COLOUR), (0.0, -0.05, CHANCE)):
        own = scores[(labels == value) & ~np.isnan(scores)]
        axes.plot(own, np.full(len(own), height), "|", color=colour, markersize=6, markeredgewidth=0.7, alpha=0.6)
    for point in reliability_bins(scores, labels):
        axes.plot([point.score, point.score], [point.low, point.high], color=COLOUR, linewidth=1.4, zorder=2)
        axes.plot([point.score], [point.share], "o", color=COLOUR, markersize=5, zorder=3)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.09, 1.09)


def _counted(found: Calibration) -> str:
    return f"{found.clips} clips of {counted(found.patients, 'patient')}"


def _in_words(found: Calibration) -> list[str]:
    """Slope, intercept and ECE with what they mean."""
    words = [
        _told("slope", found.slope, 1, below="too extreme", above="too timid"),
        _told("intercept", found.intercept, 0, below="too high on the whole", above="too low on the whole"),
        *([] if found.ece is None else [f"ECE {found.ece:.3f}"]),
    ]
    return [line for text in words for line in textwrap.wrap(text, 52)]


def _told(name: str, found: Estimate, right: float, *, below: str, above: str) -> str:
    if found.value is None:
        return f"{name}: {found.unsaid}"
    if found.low is None or found.high is None:
        return f"{name} {found.value:.2f}; {found.unsaid}"
    verdict = f"scores {below}" if found.high < right else f"scores {above}" if found.low > right else ""
    verdict = "scores run the wrong way" if name == "slope" and found.high < 0 else verdict
    return f"{name} {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]: {verdict or f'{right} is possible'}"


def _draw_column(axes: Axes, column: int, of: Scored, place: dict[str, float]) -> str:
    """One method; what is to be said below it."""
    results = per_patient(of.scores, of.labels, of.patients)
    known = [(r, r.roc_auc) for r in results if r.roc_auc is not None]
    across = [column + place[r.patient] for r, _ in known]
    area = [5.0 * (r.positives + r.negatives) for r, _ in known]
    look: dict[str, Any] = {"facecolor": COLOUR, "alpha": 0.65, "linewidth": 0, "zorder": 2}
    axes.scatter(across, [value for _, value in known], area, label="a patient", **look)
    less = f"{len(known)} of {len(results)} patients" if len(known) < len(results) else f"{len(known)} patients"
    worst = worst_patient(of.scores, of.labels, of.patients)
    if worst is None:
        return f"({less} with such a figure)"
    at = column + place[worst.patient]
    axes.plot([at], [worst.roc_auc], "o", markersize=13, markerfacecolor="none", markeredgecolor=CHANCE, zorder=3)
    shared = f" and {worst.shared_by - 1} more" if worst.shared_by > 1 else ""
    lowest = [f"lowest: {plain(worst.patient)}{shared}", f"({worst.positives} + {worst.negatives} clips)"]
    if worst.expected_low is not None and worst.expected_high is not None and worst.expected_median is not None:
        x = column + 0.4
        axes.vlines(x, worst.expected_low, worst.expected_high, color=SINGLE, linewidth=4, alpha=0.45, zorder=1)
        axes.plot([x], [worst.expected_median], "_", color="black", markersize=9, zorder=2)
        lowest.append("worse than luck" if worst.worse_than_luck else "no worse than luck")
    return "\n".join([*lowest, f"({less})"])


def _frame(figure: Figure, title: str, methods: Sequence[Scored], reading: str) -> None:
    """Title, doubts and the words below."""
    wide = int(figure.get_figwidth() * 15)
    of = methods[0]
    where = textwrap.wrap(plain(f"{of.task}; {of.protocol}; {of.data}"), wide - 25)
    doubts = dict.fromkeys(doubt for method in methods for doubt in method.doubts)
    warning = [*textwrap.wrap(", ".join(doubts), 28, break_on_hyphens=False), "no result"] if doubts else []
    lines = [*textwrap.wrap(title, wide - 25), *where]
    lines += [" "] * (len(warning) + 1 - len(lines)) if warning else []  # room for the box at their right
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9.5)
    figure.supxlabel("\n".join(textwrap.wrap(reading, int(wide * 1.1))), x=0.01, ha="left", fontsize=7.5)
    if warning:
        figure.text(0.99, 0.98, "\n".join(warning), ha="right", va="top", fontsize=8.5, bbox=DOUBT_BOX)


def _pictures(stem: str, taken: Collection[str], draw: Callable[[Figure], None]) -> dict[str, bytes]:
    """A picture by file name, `stem` made harmless and different from all that are taken."""
    safe = re.sub(r"[^A-Za-z0-9._=]+", "-", stem).strip("-._")[:80]
    used, name, number = {Path(file).stem.lower() for file in taken}, safe, 2
    while name.lower() in used:
        name, number = f"{safe}-{number}", number + 1
    return {f"{name}.{suffix}": content for suffix, content in pictures(draw).items()}
