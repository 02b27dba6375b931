"""Do the claimed figures of results.json hang together, and do they hold when the predictions are scored again?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import fsum
from pathlib import Path

from benchmark.score.metrics import METRICS
from benchmark.score.summary import Scores
from benchmark.score.uncertainty import Interval
from benchmark.submission.card import SMALLEST_CELL, ClaimedFigure, ClaimedScores, Results
from tasks.errors import BadInput

AGREEMENT = 1e-9
INTERVALS_AGREE = 1e-6
ROUNDING = 1e-9  # a figure and the ends of its interval are computed in two ways


def check_claims(path: Path, results: Results) -> None:
    """Refuse figures that contradict themselves, or that tell of fewer than 5 patients.

    path: of results.json, for sentences.

    Raises:
        BadInput: the sentence names the shots and the metric.
    """
    listed = [scores.shots for scores in results.per_shot]
    if any(len(shots) != 1 for shots in listed) or listed != sorted(set(listed)):
        raise BadInput(f"{path}: per_shot has the shots {_flat(listed)}; write one entry a number of shots, ascending")
    averaged = results.averaged.shots
    if not set(averaged) <= {shots for (shots,) in listed} or list(averaged) != sorted(set(averaged)):
        raise BadInput(
            f"{path}: averaged is over the shots {_flat([averaged])}; average over shots of per_shot, ascending"
        )
    for scores in (*results.per_shot, results.averaged):
        where = f"{path}: {_where(scores)}"
        absent = [metric for metric in METRICS if metric not in scores.metrics]
        if absent:
            raise BadInput(f"{where}: {absent[0]} is missing; write null where it is undefined")
        few = scores.patients is None or scores.patients < SMALLEST_CELL
        for metric, figure in scores.metrics.items():
            _check_figure(f"{where}, {metric}", figure, few)
    _check_average(path, results)


def check_claims_hold(
    path: Path, results: Results, per_shot: Sequence[Scores], averaged: Scores, small: Collection[int]
) -> float:
    """The largest difference between claims and the figures scored again here.

    path: of results.json, for sentences; per_shot, averaged: of the same predictions, scored here; small: shots with
    fewer than 5 patients of a class.

    Raises:
        BadInput: a claim is further off than AGREEMENT, an interval than INTERVALS_AGREE, or a figure is suppressed
            without reason; the sentence tells both figures.
    """
    largest = 0.0
    for claimed, scored in zip((*results.per_shot, results.averaged), (*per_shot, averaged), strict=True):
        where = f"{path}: {_where(claimed)}"
        if claimed.shots != scored.shots:
            raise BadInput(f"{where}: scored again it is {scored.shots}; submit the run again")
        counts = scored.counts
        for name, told, found in (
            ("patients", claimed.patients, counts.patients),
            ("positive_clips", claimed.positive_clips, counts.positive_clips),
            ("negative_clips", claimed.negative_clips, counts.negative_clips),
            ("episodes", claimed.episodes, counts.episodes),
            ("missing_predictions", claimed.missing_predictions, counts.missing_predictions),
        ):
            if told is not None and told != found:
                raise BadInput(f"{where}: {name} is {told}, counted again it is {found}; submit the run again")
        for metric, figure in claimed.metrics.items():
            value = scored.metrics[metric].per_clip.value
            if figure.suppressed and value is not None and set(small).isdisjoint(claimed.shots):
                raise BadInput(
                    f"{where}: {metric} is suppressed, scored again it is {value!r} and stands on {SMALLEST_CELL} "
                    "patients of each class or more; submit the run again"
                )
            if figure.suppressed or (value is None and figure.value is None):
                continue
            if value is None or figure.value is None or not abs(value - figure.value) <= AGREEMENT:
                raise BadInput(
                    f"{where}: {metric} is {figure.value!r}, scored again it is {value!r}; submit the run again"
                )
            largest = max(largest, abs(value - figure.value))
            _check_interval(f"{where}: {metric}", figure.interval, scored.metrics[metric].per_clip.interval)
    return largest


def _check_average(path: Path, results: Results) -> None:
    """A figure averaged over shots is the plain mean of those at each, where all are told."""
    at = {scores.shots[0]: scores.metrics for scores in results.per_shot}
    averaged = results.averaged
    for metric, figure in averaged.metrics.items():
        values = [at[shots][metric].value for shots in averaged.shots]
        known = [value for value in values if value is not None]
        if figure.value is None or len(known) < len(values):
            continue
        mean = fsum(known) / len(known)
        if not abs(mean - figure.value) <= AGREEMENT:
            raise BadInput(
                f"{path}: {_where(averaged)}: {metric} is {figure.value!r}, the mean over these shots is {mean!r}; "
                "submit the run again"
            )


def _check_interval(where: str, told: Interval | None, found: Interval | None) -> None:
    if told is None and found is None:
        return
    if told is None or found is None or max(abs(told.low - found.low), abs(told.high - found.high)) > INTERVALS_AGREE:
        raise BadInput(
            f"{where}: the interval is {_ends(told)}, scored again it is {_ends(found)}; submit the run again"
        )


def _ends(interval: Interval | None) -> str:
    return "null" if interval is None else f"{interval.low!r} to {interval.high!r}"


def _check_figure(where: str, figure: ClaimedFigure, few: bool) -> None:
    if (figure.suppressed or few) and (figure.value is not None or figure.interval is not None):
        raise BadInput(f"{where}: stands on fewer than {SMALLEST_CELL} patients; suppress it (value and interval null)")
    interval = figure.interval
    if interval is None:
        return
    if figure.value is None or not 0 <= interval.low <= interval.high <= 1:
        raise BadInput(f"{where}: the interval {interval.low!r} to {interval.high!r} is none of a figure; write null")
    if not interval.low - ROUNDING <= figure.value <= interval.high + ROUNDING:
        raise BadInput(
            f"{where}: {figure.value!r} lies outside its interval {interval.low!r} to {interval.high!r}; "
            "submit the run again"
        )


def _where(scores: ClaimedScores) -> str:
    return f"averaged over shots {_flat([scores.shots])}" if len(scores.shots) > 1 else f"shots {scores.shots[0]}"


def _flat(shots: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(n) for some in shots for n in some)
