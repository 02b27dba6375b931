"""A finding: one fault of the data or of a run, with the rows, files and figures it stands on.

hard: a result on this data would be wrong; `run` refuses.  soft: a person must look before believing a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic.dataclasses import dataclass

FaultName = Literal[
    "subject-across-split",
    "session-across-split",
    "file-across-split",
    "near-identical-frames",
    "overlapping-clips",
    "clip-end-against-onset",
    "ictal-time-in-clip",
    "post-ictal-time-in-clip",
    "onset-types-mixed",
    "pretraining-patient-in-test",
    "label-from-duration",
    "label-from-rate",
    "label-from-size",
    "label-from-codec",
    "label-from-brightness",
    "label-from-camera",
    "label-from-room",
    "label-from-time-of-day",
    "label-from-position",
    "probe-beats-chance",
]
Severity = Literal["hard", "soft"]
SHOWN = 5  # lines of evidence a person reads; the JSON holds them all


@dataclass(frozen=True)
class Finding:
    """One fault: its name, whether a result would be wrong (hard), one sentence with the remedy, and evidence."""

    name: FaultName
    severity: Severity
    what: str
    evidence: tuple[str, ...] = ()


def finding(name: FaultName, severity: Severity, what: str, evidence: Sequence[str]) -> list[Finding]:
    """The finding, if there is evidence for it."""
    return [Finding(name, severity, what, tuple(evidence))] if evidence else []


def hard(findings: Sequence[Finding]) -> list[Finding]:
    """Those on which `run` refuses."""
    return [found for found in findings if found.severity == "hard"]


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Hard before soft, then by name; equal ones keep their order."""
    return sorted(findings, key=lambda found: (found.severity != "hard", found.name))


def as_lines(found: Finding, shown: int = SHOWN) -> list[str]:
    """A headline, then at most `shown` lines of evidence and how many more there are."""
    lines = [f"{found.severity.upper()} {found.name}: {found.what}"]
    lines += [f"    {line}" for line in found.evidence[:shown]]
    more = len(found.evidence) - shown
    return [*lines, f"    and {more} more"] if more > 0 else lines


def as_sentence(found: Finding) -> str:
    """The finding on one line, with its first piece of evidence."""
    first = f" ({found.evidence[0]})" if found.evidence else ""
    return f"{found.name}{first}: {found.what}"
