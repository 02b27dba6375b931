"""The labels at hand: with a Reference of a track, predictions on it can be scored again.

For open data it lies in `submissions/references/TRACK/`, written by `submit --with-labels`; inside a house it is made
of a run folder and never leaves. Clips and patients go by keyed hashes (`benchmark.submission.ids`).

reference.json   the Track
clips.csv        clip, patient, label
episodes.csv     shots, episode, digest, clips, query: as in a submission
queries.csv.gz   shots, episode, clip: which clips each episode asks about
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.submission import documents, files, tables
from benchmark.submission.card import Track
from benchmark.submission.episodes import csv_bytes, episode_table, packed, query_table
from benchmark.submission.ids import tokens_of, tokens_query
from benchmark.submission.writing import json_text, write_folder
from tasks.errors import BadInput

if TYPE_CHECKING:
    from benchmark.run.units import SavedEpisode

TRACK, CLIPS, EPISODES, QUERIES = "reference.json", "clips.csv", "episodes.csv", "queries.csv.gz"
CLIP_COLUMNS = {"clip": tables.TOKEN, "patient": tables.TOKEN, "label": tables.LABEL}
QUERY_COLUMNS = {"shots": tables.NUMBER, "episode": tables.NUMBER, "clip": tables.TOKEN}


@dataclass(frozen=True, eq=False)
class Reference:
    """What a track's predictions are held against.

    `clips`: clip, patient, label (0 or 1), one row a clip. `episodes`: as episodes.csv of a submission. `queries`:
    shots, episode, clip. `digest`: hex sha256 of the content, for the cache of scores.
    """

    track: Track
    clips: pd.DataFrame
    episodes: pd.DataFrame
    queries: pd.DataFrame
    digest: str

    @cached_property
    def label_of(self) -> dict[str, int]:
        """Label by clip token."""
        return dict(zip(self.clips["clip"], self.clips["label"].astype(int), strict=True))


def reference_of_run(run: Path, key: bytes) -> Reference:
    """A run's labels and queries, under a key.

    Raises:
        BadInput: not a run, nothing in it has finished, or it is a control.
    """
    from benchmark.run.records import RunFolder
    from benchmark.run.tables import read_tables
    from benchmark.submission.facts import track_of

    tables = read_tables(run)
    return reference_of(track_of(tables.card, None), tables.clips, RunFolder(run).saved_episodes(), key)


def reference_of(track: Track, clips: pd.DataFrame, episodes: Sequence[SavedEpisode], key: bytes) -> Reference:
    """The same of what was read. clips: clip_id, subject_id, label."""
    clip_of = tokens_of(key, "clip", clips["clip_id"])
    patient_of = tokens_of(key, "patient", clips["subject_id"].unique())
    labelled = pd.DataFrame(
        {
            "clip": clips["clip_id"].map(clip_of),
            "patient": clips["subject_id"].map(patient_of),
            "label": clips["label"].astype(int),
        }
    ).sort_values("clip", ignore_index=True)
    return _reference(track, labelled, episode_table(episodes, clip_of), query_table(episodes, clip_of))


def write_reference(reference: Reference, folder: Path) -> None:
    """Write a Reference in one step. A folder that is there with the same content is left as it is.

    Raises:
        BadInput: a folder with other content is there.
    """
    write_folder(folder, reference_files(reference))


def reference_files(reference: Reference) -> dict[str, bytes]:
    """The bytes of each file."""
    return {
        TRACK: json_text(reference.track).encode(),
        CLIPS: csv_bytes(reference.clips),
        EPISODES: csv_bytes(reference.episodes),
        QUERIES: packed(csv_bytes(reference.queries)),
    }


def read_reference(folder: Path) -> Reference:
    """Read a Reference without trusting it: sizes, columns, and that its tables speak of the same clips.

    Raises:
        BadInput: a file is missing, too large or not as it should be; the sentence names it.
    """
    files.check_files(folder, frozenset({TRACK, CLIPS, EPISODES, QUERIES}))
    track = files.document(files.read(folder / TRACK, files.LIMITS[files.CARD]), documents.from_json, Track)
    episode_limit = files.LIMITS[files.EPISODES]
    clips = files.table(files.read(folder / CLIPS, episode_limit), CLIP_COLUMNS)
    episodes = files.table(files.read(folder / EPISODES, episode_limit), tables.EPISODES)
    queries = files.table(files.read_unpacked(folder / QUERIES), QUERY_COLUMNS)
    _refuse_contradictions(folder, clips, episodes, queries)
    return _reference(track, clips, episodes, queries)


def _reference(track: Track, clips: pd.DataFrame, episodes: pd.DataFrame, queries: pd.DataFrame) -> Reference:
    content = b"\0".join([track.digest.encode(), *(csv_bytes(table) for table in (clips, episodes, queries))])
    return Reference(track, clips, episodes, queries, hashlib.sha256(content).hexdigest())


def _refuse_contradictions(folder: Path, clips: pd.DataFrame, episodes: pd.DataFrame, queries: pd.DataFrame) -> None:
    again = "write it anew with `seizure-bench submit --with-labels`"
    doubled = clips.loc[clips["clip"].duplicated(), "clip"]
    if len(doubled):
        raise BadInput(f"{folder / CLIPS}: clip {doubled.iloc[0]} stands there twice; {again}")
    unknown = queries.loc[~queries["clip"].isin(clips["clip"]), "clip"]
    if len(unknown):
        raise BadInput(f"{folder / QUERIES}: clip {unknown.iloc[0]} is none of {CLIPS}; {again}")
    asked = {
        (shots, episode): (len(rows), tokens_query(rows["clip"]))
        for (shots, episode), rows in queries.groupby(["shots", "episode"])
    }
    columns = (episodes[name] for name in ("shots", "episode", "clips", "query"))
    said = {(shots, episode): (clips, query) for shots, episode, clips, query in zip(*columns, strict=True)}
    if len(said) < len(episodes) or said != asked:
        raise BadInput(f"{folder / EPISODES}: its episodes are not those of {QUERIES}; {again}")
