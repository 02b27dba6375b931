"""A run made public: `submit(run, out, about)` writes a folder a method below `out`.

read_tables -> refuse_incomplete -> contents (bytes) -> folders, all or none
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchmark.run.records import RunFolder
from benchmark.run.tables import read_tables
from benchmark.run.units import RunCard
from benchmark.submission.card import Card, Track
from benchmark.submission.content import About, Content, House, contents, said_of
from benchmark.submission.facts import track_of
from benchmark.submission.finished import chosen_rows, refuse_incomplete
from benchmark.submission.ids import default_site_key, open_key, site_key
from benchmark.submission.reference import reference_files, reference_of
from benchmark.submission.text import FolderName
from benchmark.submission.writing import refuse_other, write_folder
from tasks.errors import BadInput

__all__ = ["About", "Key", "Outcome", "Written", "key_of", "submit", "submit_run"]

REFERENCES = "references"
LONGEST_NAME, MARK = 80, 8


@dataclass(frozen=True)
class Key:
    """What ids are hashed with. `path`: the site's file; None where the key follows from the open manifest."""

    secret: bytes
    path: Path | None
    new: bool


@dataclass(frozen=True)
class Written:
    """One folder. `new` is False where it was there already, byte for byte."""

    folder: Path
    new: bool
    content: Content


@dataclass(frozen=True)
class Outcome:
    """What a call wrote, about how many clips, and under which key."""

    written: tuple[Written, ...]
    reference: Path | None
    clips: int
    key: Key
    track: Track


def submit(
    run: Path,
    out: Path,
    about: About,
    *,
    methods: Sequence[str] | None = None,
    results_only: bool = False,
    with_labels: bool = False,
    key: Path | None = None,
) -> list[Path]:
    """Write one folder a method of a run; the folders. Arguments and errors as of `submit_run`."""
    outcome = submit_run(run, out, about, methods=methods, results_only=results_only, with_labels=with_labels, key=key)
    return [one.folder for one in outcome.written]


def submit_run(
    run: Path,
    out: Path,
    about: About,
    *,
    methods: Sequence[str] | None = None,
    results_only: bool = False,
    with_labels: bool = False,
    key: Path | None = None,
) -> Outcome:
    """Write one folder a method of a run below `out`. Nothing is written before all of it is known to be sound.

    Args:
        run: the run's folder.
        out: where submissions lie.
        about: authors, licence and the like.
        methods: names of rows, of methods or of baselines; None: all.
        results_only: aggregates alone, no prediction.
        with_labels: also the labels of open data, below `out`/references.
        key: the file of the site's key; None: the usual place. Open data need none.

    Raises:
        BadInput: the run is unfinished, a control or was changed; a name is no method's; a text could not be read
            again; a folder with other content is there.
    """
    tables, episodes = read_tables(run), RunFolder(run).saved_episodes()
    card = tables.card
    rows = chosen_rows(run, tables.records, methods)
    _refuse_name(about.name, len(rows))
    if with_labels and not card.data.rendered:
        raise BadInput(f"--with-labels: the data of {run} are not open, their labels stay in the house; leave it out")
    refuse_incomplete(run, tables, episodes, rows)
    with said_of(run, "it"):
        track = track_of(card, about.data_name)
    secret = key_of(card, key, out)
    house = House(run, tables, episodes, track, secret.secret, "site" if secret.path else "manifest")
    found = contents(house, rows, about, results_only)
    folders = {out / name: found[row] for row, name in _folder_names(track, found, about.name).items()}
    labels: dict[Path, Mapping[str, bytes]] = {}
    if with_labels:
        reference = reference_of(track, tables.clips, episodes, secret.secret)
        labels[out / REFERENCES / _slug(track.name)] = reference_files(reference)
    for place, content in [*((place, one.files) for place, one in folders.items()), *labels.items()]:
        refuse_other(place, content)
    written = tuple(Written(place, write_folder(place, one.files), one) for place, one in folders.items())
    for place, content in labels.items():
        write_folder(place, content)
    return Outcome(written, next(iter(labels), None), len(tables.clips), secret, track)


def key_of(card: RunCard, path: Path | None, out: Path) -> Key:
    """The key of a run's data: of the open manifest, or the site's, made now if there is none.

    Raises:
        BadInput: a file is named for open data; it is no key; it lies below `out` and would leave with it.
    """
    if card.data.rendered:
        if path is not None:
            raise BadInput(f"--key {path}: the data are open, their key follows from the manifest; leave it out")
        return Key(open_key(card.data.manifest), None, False)
    place = path or default_site_key()
    if place.resolve().is_relative_to(out.resolve()):
        raise BadInput(f"--key {place}: lies in {out} and would leave the house with it; name a place elsewhere")
    new = not place.exists()
    return Key(site_key(place), place, new)


def _refuse_name(name: str | None, rows: int) -> None:
    if name is None:
        return
    if rows > 1:
        raise BadInput(f"--name {name}: {rows} methods would have it; choose one with --method")
    try:
        TypeAdapter(FolderName).validate_python(name)
    except ValidationError as error:
        raise BadInput(f"--name {name}: is no name of a folder; use at most 80 of a-z, 0-9 and -") from error
    if name == REFERENCES:
        raise BadInput(f"--name {name}: is the folder of labels; choose another")


def _folder_names(track: Track, found: Mapping[str, Content], given: str | None) -> dict[str, str]:
    """By row: data-task-method(-size-init); marked by a hash where that is too long or not unique."""
    if given:
        return dict.fromkeys(found, given)
    plain = {row: _slug(_words(track, one.card)) for row, one in found.items()}
    times = Counter(plain.values())
    names = {}
    for row, name in plain.items():
        mark = hashlib.sha256(f"{track.data.name}\0{track.task.name}\0{row}".encode()).hexdigest()[:MARK]
        whole = name and len(name) <= LONGEST_NAME and times[name] == 1
        names[row] = name if whole else f"{name[: LONGEST_NAME - MARK - 1].strip('-')}-{mark}".strip("-")
    return names


def _words(track: Track, card: Card) -> str:
    method = card.method
    scale = [] if method.size == "-" else [method.size, method.init]
    return " ".join([track.data.name, track.task.name, method.name, *scale])


def _slug(text: str) -> str:
    """The letters and digits of ASCII in it, lower case, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
