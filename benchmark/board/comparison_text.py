"""A comparison in words: tables and what may be concluded as Markdown, everything as JSON, the picture's content.

save(report, out, plot), as_text(report), as_json(report), conclusions(report)
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmark.board.comparison import Pair, Report
from benchmark.board.comparison_plot import Dot, Picture, draw
from benchmark.board.table import ABSENT, TITLES, cell, pipe, with_interval
from benchmark.files import write_atomically
from benchmark.score.comparison import ALPHA
from benchmark.score.groups import letter
from benchmark.score.power import MOST_PATIENTS, Range
from benchmark.words import counted
from tasks.errors import BadInput

SHARED = "Methods that share a letter were not told apart."
CONSTANT = (
    "A constant score of 0.5 has a Brier score of 0.25; chance draws uniform noise and is far worse: to be below it is "
    "no achievement."
)
NOT_ALIKE = (
    "Not being told apart is no evidence of being alike: the intervals hold the differences that remain possible."
)
ROUGH = (
    "≈ Interval, power and numbers of patients are rough: fewer than 8 patients or 3 clips a patient, a figure outside "
    "0.1 to 0.9, or balanced accuracy, which moves in steps (so that fewer differences are found than predicted). "
    "The test keeps its level."
)
HOW = (
    "Difference: positive where the first is better; [95%: the differences that the same test does not reject]. Holm: "
    "p adjusted over all pairs below. Detectable: the smallest difference found with 80% power by so many patients, "
    "tested alone at 5% / at the first step of Holm. Patients: how many like these, with as many clips, a pair alone "
    "needs for 80% power; [95%, since the spread between patients is itself estimated]. Over episodes: mean ± SD of "
    "the difference in each episode: the draw of the support clips, which says nothing about other patients."
)


def conclusions(report: Report) -> list[str]:
    """What may be said, in words."""
    lines = [*_impossible(report), *_told_apart(report)]
    if not all(pair.told_apart for pair in report.pairs):
        lines.append(f"{SHARED} {NOT_ALIKE}" if report.groups else NOT_ALIKE)
    return [*lines, *_needed(report)]


def _impossible(report: Report) -> list[str]:
    """Where p cannot fall far enough, however large a difference is."""
    tests, best = len(report.pairs), max(report.pairs, key=lambda pair: pair.test.contributing).test
    adjusted = best.smallest_p * tests
    if adjusted > ALPHA:
        of = f" of {report.patients}, which tell methods apart," if best.contributing < report.patients else ""
        holm_too = f", {min(1.0, adjusted):.2g} after Holm over {tests} pairs" if best.smallest_p <= ALPHA else ""
        return [
            f"With {counted(best.contributing, 'patient')}{of} the smallest p an exact paired test can reach is "
            f"{best.smallest_p:.3g}{holm_too}: no difference can be significant here, however large."
        ]
    return [
        f"{cell(pair.first)} and {cell(pair.second)}: only {pair.test.contributing} of "
        f"{counted(pair.test.patients, 'patient')} "
        f"tell them apart, so p cannot fall below {pair.test.smallest_p:.2g}."
        for pair in report.pairs
        if pair.test.smallest_p > ALPHA
    ]


def _told_apart(report: Report) -> list[str]:
    found = [pair for pair in report.pairs if pair.told_apart]
    if not found:
        return [f"No pair is told apart at 5% (Holm over {len(report.pairs)})."]
    lines = []
    for pair in found:
        better, worse = (pair.first, pair.second) if pair.test.difference > 0 else (pair.second, pair.first)
        more = f"has a {'lower' if report.metric == 'brier' else 'higher'} {TITLES[report.metric]} than"
        lines.append(f"{cell(better)} {more} {cell(worse)} (p {_p(pair.test.p)}, Holm {_p(pair.holm)}).")
    return lines + ([CONSTANT] if report.metric == "brier" else [])


def _needed(report: Report) -> list[str]:
    """How many patients the difference asked about needs, over the pairs."""
    if all(len(report.pairs) * pair.test.smallest_p > ALPHA for pair in report.pairs):
        return []
    plans = [pair.outlook.alone.patients.value for pair in report.pairs if pair.outlook]
    if not plans:
        return []
    counts = sorted(plans, key=lambda count: np.inf if count is None else count)
    span = _count(counts[0]) if counts[0] == counts[-1] else f"{_count(counts[0])} to {_count(counts[-1])}"
    return [
        f"To find a difference of {report.difference:g} in {TITLES[report.metric]} with 80% power, a pair tested alone "
        f"needs about {span} such patients, by pair (the table tells how unsure that is); here are {report.patients}."
    ]


def as_text(report: Report) -> str:
    """What was compared, the methods, the pairs, what may be concluded, as Markdown."""
    methods = _methods_table(report)
    parts = [
        f"### Comparison by {TITLES[report.metric]}: {cell(report.task)}, {cell(report.protocol)}: {cell(report.data)}",
        *report.warnings,
        _head(report),
        methods,
        _pairs_table(report),
        HOW,
        *(note for note in report.notes if note.split()[0] in methods),
        "What may be concluded:",
        "\n".join(f"- {line}" for line in conclusions(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(report: Report) -> str:
    tests, exact = len(report.pairs), all(pair.test.exact for pair in report.pairs)
    shots = " and ".join(map(str, report.shots))
    ways = "every subset of the patients" if exact else "every subset of the patients, or 20,000 random ones beyond 16"
    pairs = "the one pair" if tests == 1 else f"{'the' if report.against else 'all'} {tests} pairs"
    family = f"{pairs} with {cell(report.against)}" if report.against else pairs
    left_out = f" ({', '.join(map(str, report.shots_left_out))} shots only some methods have: left out)"
    return (
        f"Unit: the patient. {counted(report.patients, 'patient')}, {report.positives + report.negatives} clips "
        f"({report.positives} positive, {report.negatives} negative); every method on the same episodes of {shots} "
        f"shots{left_out if report.shots_left_out else ''}, scores averaged over episodes, figures over shots. Test: "
        f"exact, two-sided; the two methods' scores are exchanged for {ways}. Family: {family}, Holm."
    )


def _methods_table(report: Report) -> str:
    lettered = report.groups is not None
    headers = ["method", *(["not told apart"] if lettered else []), f"{TITLES[report.metric]} [95% over patients]"]
    headers += ["over seeds: SD"] if any(method.seeds > 1 for method in report.methods) else []
    body = [
        [
            cell(method.name) + method.marks,
            *([method.letters or ABSENT] if lettered else []),
            with_interval(method.value, method.interval),
            *([_three(method.seeds_sd)] if "over seeds: SD" in headers else []),
        ]
        for method in report.methods
    ]
    return pipe(headers, body, left=2 if lettered else 1)


def _pairs_table(report: Report) -> str:
    headers = ["first", "second", "difference [95%]", "p", "Holm", "detectable", f"patients for {report.difference:g}"]
    headers += ["patients for the observed", "over episodes"]
    seeds = any(pair.seeds_sd is not None for pair in report.pairs)
    headers += ["over seeds: SD"] if seeds else []
    body = [[*_pair_row(pair), *([_three(pair.seeds_sd)] if seeds else [])] for pair in report.pairs]
    reasons = sorted({pair.test.no_interval for pair in report.pairs if pair.test.no_interval})
    rough = [] if all(pair.validated for pair in report.pairs) else [ROUGH]
    return "\n\n".join(
        [pipe(headers, body, left=2), *rough, *(f"[{ABSENT}] No interval: {reason}." for reason in reasons)]
    )


def _pair_row(pair: Pair) -> list[str]:
    test, plans = pair.test, pair.outlook
    ends = ABSENT if test.low is None or test.high is None else f"{test.low:.3f}, {test.high:.3f}"
    difference = f"{test.difference:+.3f} [{ends}]" + ("" if pair.validated else ROUGH[0])
    line = [cell(pair.first), cell(pair.second), difference, _p(test.p), _p(pair.holm)]
    if plans is None:
        line += [ABSENT] * 3
    else:
        line.append(f"{_three(plans.alone.detectable.value)} / {_three(plans.family.detectable.value)}")
        line += [_counts(plans.alone.patients), _counts(plans.alone.patients_for_observed)]
    return [*line, ABSENT if pair.episodes_mean is None else f"{pair.episodes_mean:+.3f} ± {_three(pair.episodes_sd)}"]


def _counts(patients: Range) -> str:
    if patients.value is None and patients.low is None:
        return _count(None)
    return f"{_count(patients.value)} [{_count(patients.low)}, {_count(patients.high)}]"


def _count(patients: float | None) -> str:
    return f"over {MOST_PATIENTS:,}" if patients is None else f"{patients:.0f}"


def _p(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _three(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def as_json(report: Report) -> str:
    """The whole report, with what may be concluded."""
    content = {**report.model_dump(mode="json"), "conclusions": conclusions(report)}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def check_outputs(out: Path | None, plot: Path | None) -> None:
    """Refuse, before anything is read, an --out or --plot of no known kind."""
    for flag, path, kinds in (("--out", out, (".json", ".md")), ("--plot", plot, (".png", ".svg"))):
        if path is not None and path.suffix not in kinds:
            raise BadInput(f"{flag} {path}: name a file that ends in {' or '.join(kinds)}")


def save(report: Report, out: Path | None, plot: Path | None) -> None:
    """Write text or JSON, and the picture, each in one step and by its file's ending."""
    check_outputs(out, plot)
    text = (as_json if out and out.suffix == ".json" else as_text)(report)
    picture = draw(picture_of(report), plot.suffix.removeprefix(".")) if plot else b""
    for flag, path, content in (("--out", out, text), ("--plot", plot, picture)):
        if path is not None:
            try:
                write_atomically(path, content)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise BadInput(f"{flag} {path}: cannot be written ({reason}); name another file") from error


def picture_of(report: Report) -> Picture:
    """The report as a picture."""
    apart = {pair.first: pair.told_apart for pair in report.pairs} if report.against else {}
    shots = " and ".join(map(str, report.shots))
    note = f"Grey: 95% interval over {counted(report.patients, 'patient')}. "
    if report.against:
        note += (
            f"Filled: told apart from {report.against} (exact paired test over patients, Holm over {len(apart)}, 5%)."
        )
    else:
        note += (
            f"Bars join methods not told apart (exact paired test over patients, Holm over {len(report.pairs)}, 5%)."
        )
    doubts = [*(["RENDERED data"] if report.run.data.rendered else [])]
    doubts += ["develop patients"] if report.run.split == "develop" else []
    return Picture(
        title=f"{report.task}, {report.protocol}: {report.data}, {shots} shots",
        axis=TITLES[report.metric] + (" (lower is better)" if report.metric == "brier" else ""),
        chance=None if report.metric == "brier" else 0.5,
        dots=tuple(
            Dot(
                method.name,
                method.value,
                method.interval.low if method.interval else None,
                method.interval.high if method.interval else None,
                None if method.name == report.against else apart.get(method.name),
            )
            for method in report.methods
        ),
        groups=tuple((letter(at), group) for at, group in enumerate(report.groups or ())),
        note=note,
        doubts=tuple(doubts),
    )
