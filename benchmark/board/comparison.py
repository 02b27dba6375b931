"""`seizure-bench compare`: methods of one or several runs against each other, on the same episodes.

    read_meeting (benchmark/board/entrants.py) -> compare -> Report -> text, JSON, picture (comparison_text.py)

Every pair is tested over patients (benchmark/score/comparison.py), with Holm's adjustment over all pairs, or over
those with the one method that `against` names. What so many patients cannot show is said in words. Methods have no
ranks: those that were not told apart share a letter. docs/statistics.md explains every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from benchmark.board.entrants import Entrant, Meeting
from benchmark.board.table import footnotes, marks, warnings_of
from benchmark.run.units import SCHEMA, Frozen, RunCard
from benchmark.score.comparison import ALPHA, PairedTest, contributions, is_validated, paired_test
from benchmark.score.groups import groups_of, letters_of
from benchmark.score.metrics import FloatArray, Metric
from benchmark.score.multiple import holm
from benchmark.score.power import Outlook, outlook
from benchmark.score.uncertainty import Interval, patient_intervals
from tasks.errors import BadInput

DIFFERENCE = 0.05
DEVELOP = "Patients set aside for choosing settings: no figure below is a result."


class MethodFigure(Frozen):
    """One method's figure."""

    name: str
    baseline: str
    init: str
    size: str
    pool: str
    run: str
    commit: str
    value: float = Field(description="per clip, averaged over the shots that all methods have, and over seeds")
    interval: Interval | None
    seeds: int = Field(description="training seeds, or seeds of an untrained rule")
    seeds_sd: float | None = Field(description="SD over these of the figure")
    marks: str
    letters: str | None = Field(description="groups of methods not told apart; null where only some pairs were tested")


class Pair(Frozen):
    """Two methods on the same episodes."""

    first: str
    second: str
    test: PairedTest
    holm: float
    told_apart: bool = Field(description="after Holm, at 5%")
    outlook: Outlook | None = Field(description="null where all patients show the same difference")
    validated: bool = Field(description="simulations of such data bear the interval and the power out")
    episodes_mean: float | None = Field(description="of the differences in single episodes")
    episodes_sd: float | None = Field(description="their SD within a number of shots, averaged over these")
    seeds_sd: float | None = Field(description="SD of the difference over seeds; null with one seed each")


class Report(Frozen):
    """All that was found, and from what."""

    schema_version: int = SCHEMA
    metric: Metric
    run: RunCard
    task: str
    protocol: str
    data: str
    shots: tuple[int, ...]
    shots_left_out: tuple[int, ...] = Field(description="which only some of the methods have")
    patients: int
    positives: int
    negatives: int
    alpha: float = ALPHA
    against: str | None
    difference: float = Field(description="the difference asked about")
    methods: tuple[MethodFigure, ...] = Field(description="the best first")
    pairs: tuple[Pair, ...] = Field(description="the family of Holm's adjustment")
    groups: tuple[tuple[str, ...], ...] | None = Field(description="largest sets of methods not told apart")
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = Field(description="explanations of the methods' marks")


def compare(meeting: Meeting, metric: Metric, against: str | None = None, difference: float = DIFFERENCE) -> Report:
    """Test every pair of methods, or all against one.

    Raises:
        BadInput: the metric cannot be tested; `against` names none or several of the methods; clips of one class only.
    """
    figures = {entrant.name: entrant.per_seed(metric, meeting.labels) for entrant in meeting.entrants}
    sign = -1 if metric == "brier" else 1
    entrants = sorted(meeting.entrants, key=lambda one: (-sign * round(float(figures[one.name].mean()), 12), one.name))
    reference = None if against is None else _only(entrants, against)
    met = [(a, b) for a, b in combinations(entrants, 2) if reference is None]
    met += [(one, reference) for one in entrants if reference is not None and one is not reference]
    pairs = _pairs(met, meeting, metric, figures, difference)
    names = [entrant.name for entrant in entrants]
    alike = [(pair.first, pair.second) for pair in pairs if not pair.told_apart]
    groups = groups_of(names, alike) if reference is None else None
    letters = letters_of(names, groups) if groups is not None else dict.fromkeys(names)
    scored = _scored(entrants[0])
    rows = [entrant.row for entrant in entrants]
    return Report(
        metric=metric,
        run=meeting.card,
        task=rows[0].task,
        protocol=rows[0].protocol,
        data=rows[0].data,
        shots=meeting.shots,
        shots_left_out=meeting.left_out,
        patients=len({patient for patient, there in zip(meeting.patients, scored, strict=True) if there}),
        positives=int((meeting.labels[scored] == 1).sum()),
        negatives=int((meeting.labels[scored] == 0).sum()),
        against=reference.name if reference else None,
        difference=difference,
        methods=tuple(_method(one, meeting, metric, figures[one.name], letters[one.name]) for one in entrants),
        pairs=tuple(pairs),
        groups=None if groups is None else tuple(groups),
        warnings=(*_controls(meeting.card), *warnings_of(rows)),
        notes=tuple(footnotes(rows)),
    )


def _scored(entrant: Entrant) -> NDArray[np.bool_]:
    """(clips,): which have a score, the same for all entrants."""
    return np.asarray(np.isfinite(entrant.scores).any(axis=(0, 1)))


def _only(entrants: Sequence[Entrant], wanted: str) -> Entrant:
    """The entrant of that name; or the only one whose method or baseline is called so."""
    for called in (lambda e: e.name, lambda e: e.row.method, lambda e: e.row.baseline):
        found = [entrant for entrant in entrants if called(entrant) == wanted]
        if len(found) == 1:
            return found[0]
    names = "; ".join(entrant.name for entrant in entrants)
    raise BadInput(f"--against {wanted}: names {len(found)} of the methods; name one of: {names}")


def _pairs(
    met: Sequence[tuple[Entrant, Entrant]],
    meeting: Meeting,
    metric: Metric,
    figures: dict[str, FloatArray],
    difference: float,
) -> list[Pair]:
    parts = [contributions(metric, a.scores, b.scores, meeting.labels, meeting.patients) for a, b in met]
    tests = [paired_test(part) for part in parts]
    episodes = {one.name: one.per_episode(metric, meeting.labels) for pair in met for one in pair}
    clips = int(_scored(met[0][0]).sum())
    found = []
    for (a, b), part, test, p in zip(met, parts, tests, holm([test.p for test in tests]), strict=True):
        mean, sd = _over_episodes(episodes[a.name], episodes[b.name], metric)
        adjusted = 1.0 if p is None else p
        found.append(
            Pair(
                first=a.name,
                second=b.name,
                test=test,
                holm=adjusted,
                told_apart=adjusted <= ALPHA,
                outlook=outlook(part, difference, len(met)),
                validated=is_validated(metric, test.patients, clips, [figures[one.name].mean() for one in (a, b)]),
                episodes_mean=mean,
                episodes_sd=sd,
                seeds_sd=_over_seeds(figures[a.name], figures[b.name]),
            )
        )
    return found


def _over_episodes(
    a: Sequence[FloatArray], b: Sequence[FloatArray], metric: Metric
) -> tuple[float | None, float | None]:
    """Mean and SD over episodes of the difference, both averaged over shots; None where a shot has too few."""
    gains = [(y - x if metric == "brier" else x - y) for x, y in zip(a, b, strict=True)]
    kept = [gain[np.isfinite(gain)] for gain in gains]
    mean = float(np.mean([gain.mean() for gain in kept])) if all(len(gain) for gain in kept) else None
    return mean, float(np.mean([gain.std(ddof=1) for gain in kept])) if all(len(g) > 1 for g in kept) else None


def _over_seeds(a: FloatArray, b: FloatArray) -> float | None:
    """SD of the difference over seeds; with several on both sides but not equally many, as if they were independent."""
    if len(a) == len(b):
        return float(np.std(a - b, ddof=1)) if len(a) > 1 else None
    return float(np.sqrt(sum(np.var(side, ddof=1) for side in (a, b) if len(side) > 1)))


def _method(
    entrant: Entrant, meeting: Meeting, metric: Metric, figures: FloatArray, letters: str | None
) -> MethodFigure:
    row = entrant.row
    intervals = patient_intervals(entrant.scores, meeting.labels, meeting.patients, metrics=(metric,))
    return MethodFigure(
        name=entrant.name,
        baseline=row.baseline,
        init=str(row.identity["init"]),
        size=row.size,
        pool=row.pool,
        run=row.run,
        commit=row.commit,
        value=float(figures.mean()),
        interval=intervals[metric].averaged,
        seeds=len(figures),
        seeds_sd=float(np.std(figures, ddof=1)) if len(figures) > 1 else None,
        marks=marks(row),
        letters=letters,
    )


def _controls(card: RunCard) -> list[str]:
    return [DEVELOP] if card.split == "develop" else []
