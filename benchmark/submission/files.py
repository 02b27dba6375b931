"""Read the files of a submission without trusting them: `read_card(folder)` and its like.

Nothing is parsed before its size is known: at most one byte more than the limit is read, and packed tables are
unpacked in a stream that stops there. Only regular files with the names of the layout are opened, never through a
link. What documents may hold is in `documents.py`, what tables may hold in `tables.py`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, TypeAdapter, ValidationError

from benchmark.submission import documents, tables
from benchmark.submission.card import Card, Environment, Reported, ReportedCard, Results
from benchmark.submission.documents import Refused, shown
from benchmark.submission.tables import Column
from benchmark.submission.text import FolderName
from tasks.errors import BadInput
from tasks.spec import first_complaint

KIB, MIB = 2**10, 2**20
CARD, RESULTS, ENVIRONMENT = "submission.yaml", "results.json", "environment.json"
EPISODES, PREDICTIONS, REPORTED = "episodes.csv", "predictions.csv.gz", "reported.yaml"
LIMITS: Mapping[str, int] = {
    CARD: 256 * KIB,
    REPORTED: 256 * KIB,
    RESULTS: 4 * MIB,
    ENVIRONMENT: 256 * KIB,
    EPISODES: 16 * MIB,
    PREDICTIONS: 32 * MIB,
}
UNPACKED = 128 * MIB
MOST_ROWS = 2_000_000
LAYOUTS: Mapping[str, frozenset[str]] = {
    "predictions": frozenset({CARD, RESULTS, ENVIRONMENT, EPISODES, PREDICTIONS}),
    "results": frozenset({CARD, RESULTS, ENVIRONMENT, EPISODES}),
    "reported": frozenset({CARD, REPORTED}),
}
LONGEST_SENTENCE = 400
GZIP_HEAD, GZIP_EXTRAS, GZIP_TIME = b"\x1f\x8b\x08", 0b11111110, slice(4, 8)

Model = TypeVar("Model", bound=BaseModel)
NAME = TypeAdapter(FolderName)


@dataclass(frozen=True)
class Content:
    """A file that was read: its bytes (unpacked), and their hex sha256."""

    path: Path
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def check_folder(folder: Path) -> None:
    """Refuse a folder that is none, a link, oddly named, or holds what no submission has.

    Raises:
        BadInput: the sentence names the folder or the file.
    """
    parts = folder.parts
    if any(a != ".." and b == ".." for a, b in pairwise(parts)):
        raise BadInput(f"{folder}: goes back with `..`; name the folder itself")
    try:
        NAME.validate_python(folder.name or folder.resolve().name)
    except ValidationError as error:
        raise BadInput(
            f"{folder}: {shown(folder.name)!r} is no name of a submission; use at most 80 of a-z, 0-9 and -"
        ) from error
    check_files(folder, frozenset(LIMITS))


def check_files(folder: Path, allowed: frozenset[str]) -> None:
    """Refuse a folder that is none or a link, or that holds anything but regular files of these names."""
    if folder.is_symlink():
        raise BadInput(f"{folder}: is a link; put the folder itself there")
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if entry.is_symlink():
                    raise BadInput(f"{path}: is a link; put the file itself there")
                if entry.name not in allowed:
                    raise BadInput(f"{path}: is none of {', '.join(sorted(allowed))}; take it away")
                if not entry.is_file(follow_symlinks=False):
                    raise BadInput(f"{path}: is no regular file; put a file there")
    except OSError as error:
        raise BadInput(
            f"{folder}: cannot be read as a folder ({error.strerror}); name a submission's folder"
        ) from error


def read(path: Path, limit: int) -> Content:
    """At most `limit` bytes of a regular file that is no link.

    Raises:
        BadInput: it is missing, larger, or something else.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise BadInput(f"{path}: is missing; add it, as `seizure-bench submit` writes it") from error
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise BadInput(f"{path}: cannot be read ({why}); put a file there") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadInput(f"{path}: is no regular file; put a file there")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise BadInput(f"{path}: is larger than {_size(limit)}, the most that is read; make it smaller")
    return Content(path, data)


def read_unpacked(path: Path, limit: int = LIMITS[PREDICTIONS], unpacked: int = UNPACKED) -> Content:
    """A gzip file's content, unpacked in a stream that stops at `unpacked` bytes.

    Raises:
        BadInput: as `read`; or it is no whole gzip file of one member, without a name or a time in its head.
    """
    packed = read(path, limit).data
    if not packed.startswith(GZIP_HEAD) or len(packed) < 18:
        raise BadInput(f"{path}: is no gzip file; write it as `seizure-bench submit` does")
    if packed[3] & GZIP_EXTRAS or any(packed[GZIP_TIME]):
        raise BadInput(f"{path}: its head tells a name or a time; pack it with `gzip -n`")
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(packed, unpacked + 1)
    except zlib.error as error:
        raise BadInput(f"{path}: is damaged ({error}); copy it again") from error
    if len(data) > unpacked:
        raise BadInput(f"{path}: unpacks to more than {_size(unpacked)}, the most that is read; make it smaller")
    if not stream.eof or stream.unused_data:
        what = "goes on behind its end" if stream.eof else "ends too early"
        raise BadInput(f"{path}: {what}; copy it again")
    return Content(path, data)


def document(content: Content, parse: Callable[[str], Any], model: type[Model]) -> Model:
    """The document in a file, validated. Raises BadInput: the sentence names file, field and remedy."""
    return _validated(content.path, _parsed(content, parse), model)


def table(content: Content, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The table in a CSV file, at most MOST_ROWS rows. Raises BadInput: the sentence names file, line and remedy."""
    if content.data.count(b"\n") > MOST_ROWS + 1:
        raise BadInput(f"{content.path}: has more than {MOST_ROWS} rows, the most that are read; write fewer")
    try:
        return tables.table_of(content.data, columns)
    except Refused as error:
        raise BadInput(f"{content.path}: {error}") from error


def read_card(folder: Path) -> Card | ReportedCard:
    """submission.yaml of a folder."""
    return card_of(read(folder / CARD, LIMITS[CARD]))


def card_of(content: Content) -> Card | ReportedCard:
    """A run's card, or the one of printed figures: `content` in it tells which."""
    parsed = _parsed(content, documents.from_yaml)
    reported = isinstance(parsed, dict) and parsed.get("content") == "reported"
    return _validated(content.path, parsed, ReportedCard) if reported else _validated(content.path, parsed, Card)


def read_reported(folder: Path) -> Reported:
    """reported.yaml of a folder."""
    return reported_of(read(folder / REPORTED, LIMITS[REPORTED]))


def reported_of(content: Content) -> Reported:
    """Printed rows."""
    return document(content, documents.from_yaml, Reported)


def read_results(folder: Path) -> Results:
    """results.json of a folder."""
    return results_of(read(folder / RESULTS, LIMITS[RESULTS]))


def results_of(content: Content) -> Results:
    """Claimed figures."""
    return document(content, documents.from_json, Results)


def read_environment(folder: Path) -> Environment:
    """environment.json of a folder."""
    return document(read(folder / ENVIRONMENT, LIMITS[ENVIRONMENT]), documents.from_json, Environment)


def read_episodes(folder: Path) -> pd.DataFrame:
    """episodes.csv of a folder: shots, episode, digest, clips, query; one row an episode."""
    return table(read(folder / EPISODES, LIMITS[EPISODES]), tables.EPISODES)


def read_predictions(folder: Path) -> pd.DataFrame:
    """predictions.csv.gz of a folder: shots, episode, replicate, clip, score; as it stands, nothing checked."""
    return table(read_unpacked(folder / PREDICTIONS), tables.PREDICTIONS)


def _parsed(content: Content, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(content.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{content.path}: line {line} is no UTF-8 text; save it as UTF-8") from error
    except Refused as error:
        raise BadInput(f"{content.path}: {error}") from error


def _validated(path: Path, parsed: Any, model: type[Model]) -> Model:
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        complaint = first_complaint(error, list(model.model_fields))
        short = complaint if len(complaint) <= LONGEST_SENTENCE else complaint[:LONGEST_SENTENCE] + "…"
        raise BadInput(f"{path}: {short}") from error


def _size(limit: int) -> str:
    return f"{limit // MIB} MiB" if limit >= MIB else f"{limit // KIB} KiB"
