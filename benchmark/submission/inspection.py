"""`seizure-bench verify PATH…`: every submission at these paths, what was checked in it, and every fault.

A path is a submission, or a root that holds several. Labels come from the references beside them, from a run in the
house, or from nowhere: then figures stay reported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.progress import Progress
from benchmark.submission import files
from benchmark.submission.card import Card
from benchmark.submission.claims import AGREEMENT
from benchmark.submission.ids import default_site_key, open_key, read_site_key
from benchmark.submission.reference import Reference
from benchmark.submission.reproduce import Reproduction
from benchmark.submission.rescore import rescored
from benchmark.submission.verify import (
    REFERENCES,
    Verified,
    collisions,
    folders_of,
    marked,
    read_joined,
    read_references,
    read_reproduced,
    verify,
)
from tasks.errors import BadInput


@dataclass(frozen=True)
class Seen:
    """One folder: what is in it, or its fault. `off_by`: largest difference of a claim; None where not re-scored."""

    path: Path
    verified: Verified | None
    off_by: float | None
    fault: str | None


@dataclass(frozen=True)
class Inspection:
    """All that was looked at. `faults`: of single folders, then of folders that contradict each other."""

    seen: tuple[Seen, ...]
    faults: tuple[str, ...]


def inspect(
    paths: Sequence[Path], references: Path | None, at_hand: Reference | None, cache: Path, progress: Progress
) -> Inspection:
    """Look at every submission, whatever is wrong with the one before.

    Args:
        paths: submissions, or roots of several.
        references: folder of References; None: `references` beside the submissions.
        at_hand: one more Reference, of a run in the house.
        cache: the folder of `benchmark.files.cache_folder`, for scores.
        progress: says how far it is.

    Raises:
        BadInput: a path holds no submission, or a Reference cannot be read.
    """
    if references is not None and not references.is_dir():
        raise BadInput(f"--references {references}: is no folder; name the one whose folders hold references")
    seen: list[Seen] = []
    faults: list[str] = []
    for path in paths:
        single = _is_submission(path)
        root = path.parent if single else path
        folders = [path] if single else folders_of(path)
        if not folders:
            raise BadInput(f"{path}: holds no submission; name one that `seizure-bench submit` wrote, or their root")
        known = read_references(references or root / REFERENCES)
        reproduced = read_reproduced(root)
        here = []
        with progress.track("verifying", len(folders)) as advance:
            for number, folder in enumerate(folders, start=1):
                here.append(_look(folder, known, at_hand, reproduced, cache))
                advance(number)
        seen += here
        faults += [str(fault) for fault in collisions([one.verified for one in here if one.verified is not None])]
        if not single:
            faults += _fault_of_dates(root, [folder.name for folder in folders])
    return Inspection(tuple(seen), (*(one.fault for one in seen if one.fault is not None), *faults))


def key_for(run: Path, key: Path | None) -> bytes:
    """What hashes the ids of a run's data: the key of open data, or the site's, which must be there.

    Raises:
        BadInput: not a run, or there is no such key.
    """
    from benchmark.run.records import RunFolder

    data = RunFolder(run).card().data
    return open_key(data.manifest) if data.rendered else read_site_key(key or default_site_key())


def as_text(inspection: Inspection, reproduction: Reproduction | None) -> str:
    """One line a sound submission, then whether it was reproduced."""
    lines = [_line(one) for one in inspection.seen if one.verified is not None]
    return "\n".join([*lines, *([reproduction.text] if reproduction else [])])


def as_json(inspection: Inspection, reproduction: Reproduction | None) -> str:
    """For machines: every submission, every fault."""
    content = {
        "submissions": [_content(one) for one in inspection.seen],
        "faults": list(inspection.faults),
        "reproduction": None if reproduction is None else asdict(reproduction),
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _is_submission(path: Path) -> bool:
    """Whether a path is meant as one submission: a link or a file is, and is refused as one."""
    return path.is_symlink() or not path.is_dir() or any(os.path.lexists(path / name) for name in files.LIMITS)


def _fault_of_dates(root: Path, names: Sequence[str]) -> list[str]:
    try:
        read_joined(root, names)
    except BadInput as error:
        return [str(error)]
    return []


def _look(
    folder: Path, references: dict[str, Reference], at_hand: Reference | None, reproduced: dict[str, str], cache: Path
) -> Seen:
    try:
        verified = marked(verify(folder, references, at_hand), reproduced)
        off_by = None if verified.status == "reported" else rescored(verified, cache).claims_off_by
    except BadInput as error:
        return Seen(folder, None, None, str(error))
    return Seen(folder, verified, off_by, None)


def _line(one: Seen) -> str:
    assert one.verified is not None
    verified = one.verified
    figures = ""
    if one.off_by is not None:
        figures = f", figures scored again (off by {one.off_by:.1g} at most, {AGREEMENT:g} allowed)"
    return f"{one.path}: {verified.status}; checked: {verified.checked}{figures}"


def _content(one: Seen) -> dict[str, Any]:
    verified = one.verified
    if verified is None:
        return {"path": str(one.path), "status": None, "fault": one.fault}
    card = verified.card
    return {
        "path": str(one.path),
        "status": verified.status,
        "fault": None,
        "checked": verified.checked,
        "method": card.method.name if isinstance(card, Card) else None,
        "track": card.track.digest if isinstance(card, Card) else None,
        "predictions": card.hashes.predictions if isinstance(card, Card) else None,
        "claims_off_by": one.off_by,
    }
