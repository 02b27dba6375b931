"""What this machine holds of the published weights: there, missing or damaged (`seizure-bench weights list`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmark.weights.catalogue import PublishedWeights, catalogue, digest, locate
from tasks.errors import BadInput


@dataclass(frozen=True)
class Holding:
    """A checkpoint on this machine. `path` is the file of its tensors; `fault` says what is wrong and what to do."""

    weights: PublishedWeights
    state: Literal["there", "missing", "damaged"]
    path: Path | None
    fault: str


def holding(weights: PublishedWeights, folder: Path) -> Holding:
    """Look for a checkpoint and hash its files."""
    try:
        path = locate(weights, folder)
    except BadInput as missing:
        return Holding(weights, "missing", None, str(missing))
    try:
        digest(weights, folder)
    except BadInput as damaged:
        return Holding(weights, "damaged", path, str(damaged))
    return Holding(weights, "there", path, "")


def overview(folder: Path) -> list[Holding]:
    """Every entry of the catalogue."""
    return [holding(weights, folder) for weights in catalogue().values()]


def as_text(holdings: Sequence[Holding]) -> str:
    """A table; below each row its licence and address, then where it is or what is wrong with it."""
    from tabulate import tabulate

    head = ["name", "state", "init", "methods", "trained on"]
    rows = [[h.weights.name, h.state, h.weights.init, _asked_by(h.weights), h.weights.trained_on] for h in holdings]
    titles, rule, *lines = tabulate(rows, head, tablefmt="simple").splitlines()
    text = [titles, rule]
    for line, h in zip(lines, holdings, strict=True):
        text += [line, f"  {h.weights.licence}", f"  {h.weights.files[0].address}"]
        if h.state != "missing":
            text.append(f"  {h.state}: {h.fault or h.path}")
    return "\n".join(text)


def as_json(holdings: Sequence[Holding]) -> list[dict[str, Any]]:
    """The catalogue's fields, and the state."""
    return [
        {
            **h.weights.model_dump(mode="json"),
            "state": h.state,
            "path": None if h.path is None else str(h.path),
            "fault": h.fault,
        }
        for h in holdings
    ]


def _asked_by(weights: PublishedWeights) -> str:
    """The methods that start from it, with the settings that make them do so."""
    settings = ", ".join(f"{key}={value}" for key, value in weights.settings.items())
    return ", ".join(weights.methods) + (f" ({settings})" if settings else "")
