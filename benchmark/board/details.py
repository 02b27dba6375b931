"""What a run's table has no room for: patient by patient, calibration, and the spreads apart. For `score`.

Patients are named here, so this is for the house that holds the videos; the leaderboard shows none of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmark.board.table import ABSENT, BoardRow, cell, pipe, position, warnings_of
from benchmark.score.calibration import Estimate
from benchmark.score.patients import Worst
from benchmark.score.summary import MethodScores

READING = (
    "Worst patient: the lowest ROC-AUC among a patient's own clips (positive + negative of them); brackets: where the "
    "lowest lies in 95 of 100 cases if all patients are alike. Slope (1 is right, below it scores are too extreme) and "
    "intercept (0 is right, above it scores are too low) by number of shots; brackets: 95% over patients. SDs: of the "
    "ROC-AUC over episodes (the draw of the support) and over training seeds; neither is about other patients."
)


def details(rows: Sequence[BoardRow]) -> str:
    """A Markdown table of the rows' scores in detail, and how to read it; empty without rows."""
    if not rows:
        return ""
    headers = ["method", "worst patient", "calibration slope", "calibration intercept", "ECE"]
    runs = {row.run for row in rows}
    body = [
        [cell(row.method if len(runs) == 1 else f"{row.method} (run {row.run})"), *_figures(row.scores)]
        for row in sorted(rows, key=position)
    ]
    table = pipe([*headers, "SD over episodes", "SD over seeds"], body, left=5)
    unsaid = [f"- {reason}" for reason in _unsaid(rows)]
    return "\n\n".join(["### In detail", table, READING, *(["\n".join(unsaid)] if unsaid else [])]) + "\n"


def as_json(rows: Sequence[BoardRow], files: Sequence[Path]) -> str:
    """Every figure of every row, patients by name, and the pictures that were drawn."""
    scored = [
        {"warnings": warnings_of([row]), **row.identity, "scores": row.scores.model_dump(mode="json")} for row in rows
    ]
    return json.dumps(
        {"schema_version": 1, "scored": scored, "files": list(map(str, files))}, indent=2, allow_nan=False
    )


def _figures(scores: MethodScores) -> list[str]:
    calibrated = [(of.shots[0], of.calibration) for of in scores.per_shot if of.calibration is not None]
    roc_auc = scores.averaged.metrics["roc_auc"]
    return [
        _worst(scores.worst_patient),
        "; ".join(f"{shots}: {_estimate(found.slope)}" for shots, found in calibrated),
        "; ".join(f"{shots}: {_estimate(found.intercept)}" for shots, found in calibrated),
        "; ".join(f"{shots}: {found.ece:.3f}" for shots, found in calibrated if found.ece is not None) or ABSENT,
        _number(roc_auc.per_episode.sd),
        "0: all alike" if roc_auc.across_seeds.sd == 0 else _number(roc_auc.across_seeds.sd),
    ]


def _worst(worst: Worst | None) -> str:
    if worst is None:
        return ABSENT
    others = f" and {worst.shared_by - 1} more" if worst.shared_by > 1 else ""
    who = f"{cell(worst.patient)}{others} ({worst.positives} + {worst.negatives} clips)"
    if worst.expected_low is None or worst.expected_high is None:
        return f"{worst.roc_auc:.2f}: {who}"
    verdict = ", worse than luck" if worst.worse_than_luck else ""
    return f"{worst.roc_auc:.2f} [{worst.expected_low:.2f}, {worst.expected_high:.2f}]{verdict}: {who}"


def _estimate(found: Estimate) -> str:
    if found.value is None:
        return ABSENT
    if found.low is None or found.high is None:
        return f"{found.value:.2f} [{ABSENT}]"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _unsaid(rows: Sequence[BoardRow]) -> list[str]:
    """Why a figure of calibration is missing, each reason once with the methods that it concerns."""
    concerned: dict[str, list[str]] = {}
    for row in rows:
        for scores in row.scores.per_shot:
            found = scores.calibration
            if found is None:
                continue
            said = {"slope": found.slope.unsaid, "intercept": found.intercept.unsaid, "ECE": found.ece_unsaid}
            for what, why in said.items():
                if why:
                    concerned.setdefault(f"{what}: {why}", []).append(row.method)
    return [f"{cell(reason)} ({', '.join(map(cell, dict.fromkeys(names)))})" for reason, names in concerned.items()]


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"
