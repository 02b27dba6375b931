"""The files of a submission, as bytes: `contents(house, rows, about)`, from a run's tables and records.

Figures are scored on hashed ids, as whoever verifies them does: the draws behind an interval follow the order of ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from benchmark.run.tables import RunTables
from benchmark.run.units import Record, SavedEpisode
from benchmark.score.summary import MethodScores, score_run
from benchmark.submission import files
from benchmark.submission.card import BOARD_SHOTS, Card, Environment, Hashes, Results, Track
from benchmark.submission.documents import from_json, from_yaml
from benchmark.submission.episodes import csv_bytes, episode_table, packed, prediction_rows
from benchmark.submission.facts import compute_of, environment_of, method_of, pretraining_of, trained_on
from benchmark.submission.finished import Rows
from benchmark.submission.ids import tokens_of
from benchmark.submission.released import released, small_cells
from benchmark.submission.writing import json_text, yaml_text
from tasks.errors import BadInput
from tasks.spec import first_complaint


@dataclass(frozen=True)
class About:
    """What no record says. `name`: of the folder, where one method is submitted."""

    authors: tuple[str, ...] = ("anonymous",)
    licence: str = "CC-BY-4.0"
    links: tuple[str, ...] = ()
    remarks: str | None = None
    data_name: str | None = None
    name: str | None = None


@dataclass(frozen=True, eq=False)
class House:
    """A run, and what hides its ids. `run`: the folder, for sentences."""

    run: Path
    tables: RunTables
    episodes: Sequence[SavedEpisode]
    track: Track
    key: bytes
    ids: Literal["manifest", "site"]


@dataclass(frozen=True)
class Content:
    """The files of one submission by name; how many predictions are in them; shots whose figures are left out."""

    card: Card
    files: Mapping[str, bytes]
    predictions: int
    small: tuple[int, ...]


def contents(house: House, rows: Rows, about: About, results_only: bool) -> dict[str, Content]:
    """One submission a row, by the row's name.

    Raises:
        BadInput: something in it could not be read again: a text with invisible characters, too many predictions.
    """
    scores = _scores(house, rows)
    return {name: _content(house, name, records, scores[name], about, results_only) for name, records in rows.items()}


def _scores(house: House, rows: Rows) -> dict[str, MethodScores]:
    """Averages are over the board's shots where the method has them all, else over its own."""
    clips, wanted = house.tables.clips, list(rows)
    clip_of = tokens_of(house.key, "clip", clips["clip_id"])
    hashed = clips.assign(
        clip_id=clips["clip_id"].map(clip_of),
        subject_id=clips["subject_id"].map(tokens_of(house.key, "patient", clips["subject_id"].unique())),
    )
    made, planned = (
        table.loc[table["method"].isin(wanted)].assign(clip_id=lambda chosen: chosen["clip_id"].map(clip_of))
        for table in (house.tables.made, house.tables.planned)
    )
    found = {method.method: method for method in score_run(made, hashed, planned).methods}
    more = [name for name, method in found.items() if set(BOARD_SHOTS) < set(method.averaged.shots)]
    if more:
        made, planned = (
            table.loc[table["method"].isin(more) & table["shots"].isin(BOARD_SHOTS)] for table in (made, planned)
        )
        for method in score_run(made, hashed, planned).methods:
            found[method.method] = found[method.method].model_copy(update={"averaged": method.averaged})
    return found


def _content(
    house: House, name: str, records: Sequence[Record], scores: MethodScores, about: About, results_only: bool
) -> Content:
    tables = house.tables
    tokens = tokens_of(house.key, "clip", tables.clips["clip_id"])
    made = tables.made.loc[tables.made["method"] == name]
    shots = sorted(int(number) for number in made["shots"].unique())
    small = small_cells(made, tables.clips)
    episodes = csv_bytes(episode_table([one for one in house.episodes if one.shots in shots], tokens))
    predictions = b"" if results_only else csv_bytes(prediction_rows(made, tokens))
    results = json_text(released(scores, small)).encode()
    with said_of(house.run, name):
        environment = json_text(environment_of(records)).encode()
        card = Card(
            content="results" if results_only else "predictions",
            method=method_of(records),
            authors=about.authors,
            links=about.links,
            licence=about.licence,
            remarks=about.remarks,
            trained_on=trained_on(tables.card, shots),
            pretraining=pretraining_of(records, tables.card),
            compute=compute_of(records),
            track=house.track,
            ids=house.ids,
            hashes=Hashes(
                run=tables.card.digest,
                episodes=_sha256(episodes),
                results=_sha256(results),
                predictions=_sha256(predictions) if predictions else None,
                code=tuple(sorted({record.unit.code for record in records})),
            ),
        )
    found = {
        files.CARD: yaml_text(card).encode(),
        files.RESULTS: results,
        files.ENVIRONMENT: environment,
        files.EPISODES: episodes,
    }
    if predictions:
        found[files.PREDICTIONS] = packed(predictions)
    _refuse_unreadable(house.run, name, found, predictions)
    return Content(card, found, 0 if results_only else len(made), tuple(sorted(small)))


@contextmanager
def said_of(run: Path, name: str) -> Iterator[None]:
    """Turn what a model refuses into one sentence."""
    try:
        yield
    except ValidationError as error:
        complaint = first_complaint(error, list(Card.model_fields))
        raise BadInput(f"{run}: {name} cannot be submitted: {complaint}") from error


def _refuse_unreadable(run: Path, name: str, found: Mapping[str, bytes], predictions: bytes) -> None:
    """Whoever verifies it reads no more and nothing else than this."""
    fewer = "run fewer episodes or seeds, or submit with --results-card"
    for file, data in found.items():
        if len(data) > files.LIMITS[file]:
            raise BadInput(f"{run}: {file} of {name} has {len(data)} bytes, {files.LIMITS[file]} are read; {fewer}")
    rows = predictions.count(b"\n") - 1
    if rows > files.MOST_ROWS or len(predictions) > files.UNPACKED:
        raise BadInput(f"{run}: {name} has {rows} predictions, more than are read; {fewer}")
    documents_in: list[tuple[str, Callable[[str], Any], type[BaseModel]]] = [
        (files.CARD, from_yaml, Card),
        (files.RESULTS, from_json, Results),
        (files.ENVIRONMENT, from_json, Environment),
    ]
    for file, parse, model in documents_in:
        try:
            files.document(files.Content(Path(file), found[file]), parse, model)
        except BadInput as error:
            raise BadInput(f"{run}: {name} cannot be submitted: {error}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
