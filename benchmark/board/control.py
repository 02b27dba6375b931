"""The table of a control (`run --permute-labels`): what methods score where labels tell nothing. Never on a board."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.board.table import ABSENT, TITLES, cell, pipe, warnings_if
from benchmark.run.records import RunFolder
from benchmark.run.tables import read_predictions
from benchmark.run.units import RunCard
from benchmark.score.control import CONTROL_METRICS, ControlFigure, ControlScores, score_control
from benchmark.words import counted
from tasks.errors import BadInput

READING = (
    "Each episode deals every patient's labels anew and is scored alone, so that episodes are independent draws. "
    "Without a leak the mean over them is 0.5; brackets: 95% over all methods of this table together (Bonferroni), so "
    "that one table in twenty has a NO by luck. p: of a mean of 0.5, two-sided, Holm over the methods. No figure here "
    "is a result."
)


@dataclass(frozen=True)
class Control:
    """A control's card, and the figures of its methods."""

    card: RunCard
    random_init: bool
    scores: tuple[ControlScores, ...]

    @property
    def text(self) -> str:
        """A Markdown table under what must stand over it."""
        card = self.card
        heading = f"### Control, labels permuted: {cell(card.task.name)}, {cell(card.protocol.name)}: " + cell(
            card.data.name
        )
        headers = ["method"]
        for metric in CONTROL_METRICS:
            headers += [f"{TITLES[metric]} [95%]", "0.5 inside", "p (Holm)"]
        body = [
            [cell(one.method) + (" ‡" if one.missing_predictions else ""), *_columns(one)]
            for one in sorted(self.scores, key=lambda one: (-(one.metrics["roc_auc"].mean or 0.0), one.method))
        ]
        notes = [
            f"‡ {cell(one.method)}: {one.missing_predictions} predictions are missing; their episodes are left out."
            for one in self.scores
            if one.missing_predictions
        ]
        return "\n\n".join([heading, *self._warnings, pipe(headers, body, left=1), self._counted, READING, *notes])

    @property
    def to_json(self) -> str:
        """Every figure, null where nothing can be said."""
        content = {
            "schema_version": 1,
            "warnings": self._warnings,
            "run": self.card.model_dump(mode="json"),
            "control": [one.model_dump(mode="json") for one in self.scores],
        }
        return json.dumps(content, indent=2, allow_nan=False)

    @property
    def _warnings(self) -> list[str]:
        return warnings_if(self.card.data.rendered, self.random_init)

    @property
    def _counted(self) -> str:
        card, data = self.card, self.card.data
        shots = sorted({shots for one in self.scores for shots in one.shots})
        return (
            f"{data.positives} positive and {data.negatives} negative clips of {counted(data.patients, 'patient')}; "
            f"{card.protocol.episodes} episodes at each of {', '.join(map(str, shots))} shots, seed {card.seed}."
        )


def read_control(path: Path) -> Control:
    """Score a control from its records.

    Raises:
        BadInput: not a control, or one of an earlier version; nothing in it has finished.
    """
    tables, positives = read_predictions(path), {}
    for episode in RunFolder(path).saved_episodes():
        if episode.dealt_positives is None:
            raise BadInput(
                f"{path / 'episodes.json'}: does not say which labels its episodes dealt; a control of an earlier "
                "version, run it again into a new folder"
            )
        positives[episode.shots, episode.index] = episode.dealt_positives
    return Control(
        card=tables.card,
        random_init=any(record.unit.init == "random" for record in tables.records),
        scores=score_control(tables.made, tables.clips, tables.planned, positives),
    )


def control_of(runs: Sequence[Path], plots: Path | None) -> Control | None:
    """The control among the runs that `score` was asked for; None where all are results.

    Raises:
        BadInput: a control beside other runs, or with pictures, which it has none of.
    """
    controls = [path for path in runs if RunFolder(path).card().permuted_labels]
    if not controls:
        return None
    if len(runs) > 1 or plots:
        beside = "with --plots" if len(runs) == 1 else "beside other runs"
        raise BadInput(f"{controls[0]}: a control with permuted labels cannot be scored {beside}; score it alone")
    return read_control(controls[0])


def _columns(one: ControlScores) -> list[str]:
    return [text for metric in CONTROL_METRICS for text in _figure(one.metrics[metric])]


def _figure(figure: ControlFigure) -> list[str]:
    if figure.mean is None:
        return [ABSENT] * 3
    inside = {True: "yes", False: "NO", None: ABSENT}[figure.holds_half]
    ends = ABSENT if figure.low is None else f"{figure.low:.3f}, {figure.high:.3f}"
    return [f"{figure.mean:.3f} [{ends}]", inside, ABSENT if figure.p_holm is None else f"{figure.p_holm:.3f}"]
