"""Is a submission what it says? `verify(folder, references)`: nothing in it is executed, filled in or repaired.

files -> schema -> card -> hashes -> figures -> episodes -> predictions -> (with a Reference) data, episodes, clips

What stands or falls with labels, the figures themselves, is in `rescore.py`. `verify_all(root)` does it for all folders
of `submissions/`, and refuses rows that could be taken for one another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path

import pandas as pd

from benchmark.submission import files, tables
from benchmark.submission.card import Card, Environment, Reported, ReportedCard, Results, Status
from benchmark.submission.claims import check_claims
from benchmark.submission.completeness import EpisodeKey, Query, check_predictions, queries_of
from benchmark.submission.declared import check_card, check_clips, check_counts, check_known_data, on
from benchmark.submission.documents import Refused, shown
from benchmark.submission.reference import Reference, read_reference
from benchmark.submission.tables import Column, line_of
from benchmark.submission.text import skeleton
from tasks.errors import BadInput

REFERENCES, REPRODUCED, JOINED, SCHEMA = "references", "reproduced.csv", "joined.csv", "schema.json"
BESIDE = frozenset({REFERENCES, REPRODUCED, JOINED, SCHEMA, "README.md"})  # what else a root holds
TABLE_LIMIT = files.MIB
TOLERANCE = 1e-6  # how far scores that were made again may lie off
REPRODUCED_COLUMNS = {
    "submission": Column(r"[a-z0-9][a-z0-9-]{0,79}", "S80", "a submission's name"),
    "predictions": tables.SHA256,
    "max_difference": tables.SCORE,
    "tolerance": tables.SCORE,
}
JOINED_COLUMNS = {
    "submission": REPRODUCED_COLUMNS["submission"],
    "date": Column(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "S10", "a date such as 2026-03-31"),
}


@dataclass(frozen=True, eq=False)
class Verified:
    """A submission in which nothing contradicts itself. What its content has no place for is None."""

    name: str
    path: Path
    card: Card | ReportedCard
    results: Results | None = None
    environment: Environment | None = None
    episodes: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    reported: Reported | None = None
    reference: Reference | None = None
    reproduced: bool = False

    @property
    def status(self) -> Status:
        """How far its figures were checked here."""
        if self.predictions is None or self.reference is None:
            return "reported"
        return "reproduced" if self.reproduced else "re-scored"

    @property
    def checked(self) -> str:
        """What was looked at, for people."""
        if self.reported is not None:
            return f"{len(self.reported.rows)} printed rows"
        assert self.episodes is not None
        parts = ["schema, hashes", f"{len(self.episodes)} episodes"]
        if self.predictions is not None:
            parts.append(f"{len(self.predictions)} predictions, none missing")
        if self.reference is None:
            parts.append("no labels here")
        return ", ".join(parts)


def verify(folder: Path, references: Mapping[str, Reference], at_hand: Reference | None = None) -> Verified:
    """Check one submission; references by the digest of their track, at_hand: one more, of a run in the house.

    Raises:
        BadInput: at the first fault; the sentence names folder, file and row.
    """
    files.check_folder(folder)
    card = files.read_card(folder)
    _check_layout(folder, card.content)
    name = folder.name or folder.resolve().name
    if isinstance(card, ReportedCard):
        return Verified(name, folder, card, reported=_reported(folder, card))
    check_card(folder / files.CARD, card)
    results_file = files.read(folder / files.RESULTS, files.LIMITS[files.RESULTS])
    episodes_file = files.read(folder / files.EPISODES, files.LIMITS[files.EPISODES])
    _check_hash(folder, results_file, card.hashes.results, "results")
    _check_hash(folder, episodes_file, card.hashes.episodes, "episodes")
    results = files.results_of(results_file)
    environment = files.read_environment(folder)
    check_claims(results_file.path, results)
    check_counts(results_file.path, results, card.track.data)
    shots = tuple(scores.shots[0] for scores in results.per_shot)
    try:
        episodes, queries = _episodes(episodes_file.data, shots, card.track.protocol.episodes)
    except Refused as error:
        raise BadInput(f"{episodes_file.path}: {error}") from error
    reference = _reference_of(folder / files.CARD, card, references, at_hand)
    if reference is not None:
        _check_against(episodes_file.path, queries, reference)
    predictions = _predictions(folder, card, results, queries, reference)
    if predictions is not None:
        others = () if reference is not None else (*references.values(), *([at_hand] if at_hand else []))
        check_clips(folder / files.PREDICTIONS, set(predictions["clip"].unique().tolist()), card.track.data, others)
    return Verified(name, folder, card, results, environment, episodes, predictions, None, reference)


def verify_all(root: Path) -> list[Verified]:
    """Every submission under a root, by name, with the references and reproductions that lie beside them.

    Raises:
        BadInput: at the first fault in any of them, or where two rows of a track could be taken for one another.
    """
    references, reproduced = read_references(root / REFERENCES), read_reproduced(root)
    found = [marked(verify(folder, references), reproduced) for folder in folders_of(root)]
    for fault in collisions(found):
        raise fault
    return found


def folders_of(root: Path) -> list[Path]:
    """The submissions under a root, by name. Raises BadInput for what is neither one nor known there."""
    if root.is_symlink() or not root.is_dir():
        raise BadInput(f"{root}: is no folder of submissions; name one, or a submission in it")
    found = []
    for path in sorted(root.iterdir()):
        if path.name in BESIDE:
            continue
        if path.is_symlink() or not path.is_dir():
            raise BadInput(
                f"{path}: is neither a submission's folder nor one of {', '.join(sorted(BESIDE))}; take it away"
            )
        found.append(path)
    return found


def marked(verified: Verified, reproduced: Mapping[str, str]) -> Verified:
    """The same, reproduced if its very predictions were. reproduced: hash of predictions by submission."""
    hashed = verified.card.hashes.predictions if isinstance(verified.card, Card) else None
    return replace(verified, reproduced=hashed is not None and reproduced.get(verified.name) == hashed)


def collisions(submissions: Iterable[Verified]) -> list[BadInput]:
    """One sentence for each row that could be taken for an earlier one of its track.

    Names may not differ in case, width or spaces alone; rows of one name differ in size, init or pool; predictions
    stand there once.
    """
    names: dict[tuple[str, str], tuple[str, str]] = {}
    rows: dict[tuple[str, ...], str] = {}
    made: dict[tuple[str, str], str] = {}
    faults = []
    for one in submissions:
        if isinstance(one.card, ReportedCard):
            continue
        method = one.card.method
        track = one.card.track.digest
        first, spelt = names.setdefault((track, skeleton(method.name)), (one.name, method.name))
        same = rows.setdefault((track, *map(skeleton, (method.name, method.size, method.init, method.pool))), one.name)
        if spelt != method.name:
            faults.append(
                BadInput(
                    f"{one.path}: the method {shown(method.name)!r} differs from {shown(spelt)!r} of {first} "
                    "in case, width or spaces alone; spell it the same, or name it otherwise"
                )
            )
        elif same != one.name:
            faults.append(
                BadInput(
                    f"{one.path}: the method {shown(method.name)!r} with this size, init and pool is in {same} "
                    "already, on the same track; name it otherwise"
                )
            )
        hashed = one.card.hashes.predictions
        if hashed is not None and (copied := made.setdefault((track, hashed), one.name)) != one.name:
            faults.append(
                BadInput(
                    f"{one.path}: its predictions are those of {copied}, score by score, on the same track; "
                    "submit them once"
                )
            )
    return faults


def read_references(root: Path) -> dict[str, Reference]:
    """The References in the folders under `submissions/references/`, by the digest of their track; none: empty."""
    if not root.exists() and not root.is_symlink():
        return {}
    if root.is_symlink() or not root.is_dir():
        raise BadInput(f"{root}: is no folder of references; name the folder whose folders hold them")
    found: dict[str, Reference] = {}
    for folder in sorted(root.iterdir()):
        reference = read_reference(folder)
        if reference.track.digest in found:
            raise BadInput(f"{folder}: is a second reference of its track; keep one")
        found[reference.track.digest] = reference
    return found


def read_reproduced(root: Path) -> dict[str, str]:
    """From reproduced.csv under a root: the hash of the predictions that were reproduced, by submission."""
    path = root / REPRODUCED
    if not path.exists() and not path.is_symlink():
        return {}
    table = files.table(files.read(path, TABLE_LIMIT), REPRODUCED_COLUMNS)
    found: dict[str, str] = {}
    rows = zip(*(table[name] for name in REPRODUCED_COLUMNS), strict=True)
    for row, (name, predictions, difference, tolerance) in enumerate(rows):
        if name in found:
            raise BadInput(f"{path}: line {line_of(row)}: {name} stands there twice; keep one row")
        if not 0 <= tolerance <= TOLERANCE:
            raise BadInput(
                f"{path}: line {line_of(row)}: the tolerance of {name} is {tolerance!r}, {TOLERANCE!r} is the most; "
                "take the row out"
            )
        if not 0 <= difference <= tolerance:
            raise BadInput(
                f"{path}: line {line_of(row)}: {name} is off by {difference!r}, more than the tolerance {tolerance!r}; "
                "take the row out"
            )
        found[name] = predictions
    return found


def read_joined(root: Path, names: Collection[str]) -> dict[str, str]:
    """From joined.csv under a root, if it is there: date (YYYY-MM-DD) by submission; names: the submissions.

    Raises:
        BadInput: no such submission, one named twice, or no such day.
    """
    path = root / JOINED
    if not path.exists() and not path.is_symlink():
        return {}
    table = files.table(files.read(path, TABLE_LIMIT), JOINED_COLUMNS)
    found: dict[str, str] = {}
    for row, (name, day) in enumerate(zip(table["submission"], table["date"], strict=True)):
        where = f"{path}: line {line_of(row)}"
        if name not in names:
            raise BadInput(f"{where}: there is no submission {name}; take the row out")
        if name in found:
            raise BadInput(f"{where}: {name} stands there twice; keep one row")
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise BadInput(f"{where}: {day} is no day; write it as 2026-03-31") from error
        found[name] = day
    return found


def _check_layout(folder: Path, content: str) -> None:
    wanted, there = files.LAYOUTS[content], {path.name for path in folder.iterdir()}
    for name in sorted(wanted - there):
        raise BadInput(f"{folder / name}: is missing; a submission with content `{content}` has it")
    for name in sorted(there - wanted):
        raise BadInput(f"{folder / name}: does not belong to a submission with content `{content}`; take it away")


def _check_hash(folder: Path, content: files.Content, said: str, field: str) -> None:
    if content.sha256 != said:
        raise BadInput(
            f"{content.path}: its sha256 is {content.sha256}, yet {folder / files.CARD} says hashes.{field} {said}; "
            "submit the run again"
        )


def _reported(folder: Path, card: ReportedCard) -> Reported:
    content = files.read(folder / files.REPORTED, files.LIMITS[files.REPORTED])
    if content.sha256 != card.reported:
        raise BadInput(
            f"{content.path}: its sha256 is {content.sha256}, yet {folder / files.CARD} says reported {card.reported}; "
            "write the hash of this file there"
        )
    reported = files.reported_of(content)
    names: dict[str, str] = {}
    for row in reported.rows:
        before = names.setdefault(skeleton(row.name), row.name)
        if before is not row.name:
            raise BadInput(f"{content.path}: rows {shown(before)!r} and {shown(row.name)!r} look alike; rename one")
        printed = [shot.shots for shot in row.per_shot]
        if len(set(printed)) < len(printed):
            raise BadInput(f"{content.path}: row {shown(row.name)!r} has a number of shots twice; keep one")
    return reported


def _reference_of(
    path: Path, card: Card, references: Mapping[str, Reference], at_hand: Reference | None
) -> Reference | None:
    """The Reference of the card's track; a card that describes known data as others is refused."""
    track = card.track
    check_known_data(path, track, [reference.track for reference in references.values()])
    found = references.get(track.digest)
    if found is not None or at_hand is None:
        return found
    if track.digest == at_hand.track.digest:
        return at_hand
    # Outside the house its data may bear another name.
    renamed = at_hand.track.data.model_copy(update={"name": track.data.name})
    check_known_data(path, track, [on(at_hand.track, renamed)])
    return None


def _check_against(path: Path, queries: Mapping[EpisodeKey, Query], reference: Reference) -> None:
    """Refuse episodes that are not those of the Reference."""
    known = _queries_of_reference(reference)
    for row, (key, query) in enumerate(queries.items()):
        where = f"{path}: line {line_of(row)}: shots {key[0]}, episode {key[1]}"
        theirs = known.get(key)
        if theirs is None:
            raise BadInput(f"{where} is not among the episodes of the reference {reference.track.name}; leave it out")
        for field in ("digest", "clips", "query"):
            ours, expected = getattr(query, field), getattr(theirs, field)
            if ours != expected:
                raise BadInput(
                    f"{where}: {field} is {ours}, that of the reference {reference.track.name} is {expected}; "
                    "run on the episodes of this track, and submit again"
                )


@lru_cache(maxsize=16)
def _episodes(data: bytes, shots: tuple[int, ...], planned: int) -> tuple[pd.DataFrame, Mapping[EpisodeKey, Query]]:
    """The table and what it says: the same for all submissions of a track, so it is read once."""
    table = tables.table_of(data, tables.EPISODES)
    return table, queries_of(table, shots, planned)


@lru_cache(maxsize=64)
def _queries_of_reference(reference: Reference) -> dict[EpisodeKey, Query]:
    columns = (reference.episodes[name] for name in ("shots", "episode", "digest", "clips", "query"))
    return {
        (int(shots), int(episode)): Query(str(digest), int(clips), str(query))
        for shots, episode, digest, clips, query in zip(*columns, strict=True)
    }


@lru_cache(maxsize=64)
def _asked(reference: Reference) -> Mapping[EpisodeKey, Collection[str]]:
    found: dict[EpisodeKey, set[str]] = {}
    for shots, episode, clip in zip(*(reference.queries[name] for name in ("shots", "episode", "clip")), strict=True):
        found.setdefault((int(shots), int(episode)), set()).add(clip)
    return found


def _predictions(
    folder: Path,
    card: Card,
    results: Results,
    queries: Mapping[EpisodeKey, Query],
    reference: Reference | None,
) -> pd.DataFrame | None:
    if card.hashes.predictions is None:
        return None
    content = files.read_unpacked(folder / files.PREDICTIONS)
    _check_hash(folder, content, card.hashes.predictions, "predictions")
    predictions = files.table(content, tables.PREDICTIONS)
    check_predictions(content.path, predictions, queries, results.replicates, _asked(reference) if reference else None)
    return predictions
