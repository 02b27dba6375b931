"""Is every prediction there, once, and nothing else? Told from hashes, without labels; nothing is filled in.

episodes.csv says of each episode how many clips were asked about and the hash of their tokens. With a Reference at hand
a clip that is missing or too many is named from it; without one it is named where one clip makes the difference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.submission.documents import Refused
from benchmark.submission.ids import tokens_query
from benchmark.submission.tables import line_of
from tasks.errors import BadInput

MOST_PARTS = 200_000  # episodes times replicates
MOST_TRIES, MOST_BYTES_TRIED = 20_000, 50_000_000  # hashed to find the one clip that makes the difference
TOKEN_BYTES = 17
EpisodeKey = tuple[int, int]  # shots, episode
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Query:
    """A row of episodes.csv."""

    digest: str
    clips: int
    query: str


def queries_of(episodes: pd.DataFrame, per_shot: Sequence[int], planned: int) -> dict[EpisodeKey, Query]:
    """Every episode, once it is certain that all are there.

    episodes: shots, episode, digest, clips, query; per_shot: the shots of results.json; planned: episodes a shot.

    Raises:
        Refused: an episode is doubled, missing, too many or out of order.
    """
    found: dict[EpisodeKey, Query] = {}
    columns = (episodes[name] for name in ("shots", "episode", "digest", "clips", "query"))
    for row, (shots, episode, digest, clips, query) in enumerate(zip(*columns, strict=True)):
        where = f"line {line_of(row)}: shots {shots}, episode {episode}"
        if (shots, episode) in found:
            raise Refused(f"{where} stands there twice; keep one row")
        if shots not in per_shot:
            raise Refused(f"{where}: results.json has no such shots; leave the row out, or submit the run again")
        if episode >= planned:
            raise Refused(f"{where}: the protocol has episodes 0 to {planned - 1}; leave the row out")
        if clips < 1:
            raise Refused(f"{where}: asks about no clip; submit the run again")
        found[int(shots), int(episode)] = Query(str(digest), int(clips), str(query))
    for shots in per_shot:
        for episode in range(planned):
            if (shots, episode) not in found:
                raise Refused(
                    f"shots {shots}, episode {episode} is missing; all {planned} of the protocol must be there"
                )
    if list(found) != sorted(found):
        raise Refused("rows are not sorted by shots, then episode; sort them")
    return found


def check_predictions(
    path: Path,
    predictions: pd.DataFrame,
    episodes: Mapping[EpisodeKey, Query],
    replicates: int,
    asked: Mapping[EpisodeKey, Collection[str]] | None,
) -> None:
    """Refuse predictions that are not exactly one score in [0, 1] for every clip of every episode and replicate.

    path: of the table, for sentences; predictions: shots, episode, replicate, clip, score; asked: the clips of every
    episode where a Reference tells them, else None.

    Raises:
        BadInput: the sentence names the row (its line), or the prediction that is missing.
    """
    _refuse_scores(path, predictions)
    order, groups = _grouped(path, predictions)
    for (shots, episode, replicate), rows in groups.items():
        if (shots, episode) not in episodes:
            what = "episodes.csv has no such episode; take the row out"
            raise BadInput(f"{path}: {_place(predictions, int(rows.min()))}: {what}")
        if replicate >= replicates:
            what = f"results.json has replicates 0 to {replicates - 1}; take the row out, or submit the run again"
            raise BadInput(f"{path}: {_place(predictions, int(rows.min()))}: {what}")
    clips = predictions["clip"].to_numpy(dtype=object)
    for (shots, episode), query in episodes.items():
        for replicate in range(replicates):
            where = f"shots {shots}, episode {episode}, replicate {replicate}"
            rows = groups.get((shots, episode, replicate), np.array([], dtype=np.intp))
            if not len(rows):
                raise BadInput(f"{path}: {where}: all predictions are missing; predict every clip of the query")
            tokens = clips[rows].tolist()
            if len(tokens) != query.clips or tokens_query(tokens) != query.query:
                missing, extra = _difference(tokens, query, asked[shots, episode] if asked else None, clips)
                places = [_place(predictions, int(rows[tokens.index(clip)])) for clip in extra]
                _refuse_difference(f"{path}: {where}", len(tokens), query, missing, [f"{path}: {p}" for p in places])
    misplaced = np.flatnonzero(order != np.arange(len(order)))
    if len(misplaced):
        where = _place(predictions, int(misplaced[0]))
        raise BadInput(f"{path}: {where} is out of order; sort by shots, episode, replicate, clip")


def _grouped(path: Path, predictions: pd.DataFrame) -> tuple[Rows, dict[tuple[int, int, int], Rows]]:
    """All rows in their right order; and those of each (shots, episode, replicate). Refuses doubled rows."""
    clip, _ = pd.factorize(predictions["clip"], sort=True)
    columns = [predictions[name].to_numpy(np.int64) for name in ("shots", "episode", "replicate")]
    order = np.lexsort((clip, *reversed(columns)))
    ranked = [column[order] for column in columns]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = np.any([column[1:] != column[:-1] for column in ranked], axis=0)
    doubled = ~begins[1:] & (clip[order][1:] == clip[order][:-1])
    if doubled.any():
        row = int(order[1:][doubled].min())
        raise BadInput(f"{path}: {_place(predictions, row)} stands there twice; keep one row")
    starts = np.flatnonzero(begins)
    if len(starts) > MOST_PARTS:
        what = f"are of {len(starts)} episodes and replicates, {MOST_PARTS} are read; submit fewer"
        raise BadInput(f"{path}: its predictions {what}")
    keys = zip(*(column[starts].tolist() for column in ranked), strict=True)
    return order, dict(zip(keys, np.split(order, starts[1:]), strict=True))


def _refuse_scores(path: Path, predictions: pd.DataFrame) -> None:
    scores = predictions["score"].to_numpy(np.float64)
    outside = ~((scores >= 0) & (scores <= 1))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise BadInput(
            f"{path}: {_place(predictions, row)}: the score {float(scores[row])!r} is not in [0, 1]; "
            "predict probabilities, never NaN"
        )


def _difference(
    tokens: Sequence[str], query: Query, asked: Collection[str] | None, clips: NDArray[np.object_]
) -> tuple[list[str], list[str]]:
    """Which clips are missing and which are too many; both empty where hashes alone cannot tell.

    asked: the episode's clips where they are known; clips: those of all rows, among which a missing one is looked for.
    """
    here = set(tokens)
    if asked is not None:
        return sorted(set(asked) - here), sorted(here - set(asked))
    others = sorted(set(clips.tolist()) - here)
    tries = len(tokens) + len(others)
    if tries > MOST_TRIES or tries * len(tokens) * TOKEN_BYTES > MOST_BYTES_TRIED:
        return [], []
    if len(tokens) == query.clips - 1:
        return [clip for clip in others if tokens_query([*tokens, clip]) == query.query], []
    if len(tokens) == query.clips + 1:
        return [], [clip for clip in tokens if tokens_query(here - {clip}) == query.query]
    return [], []


def _refuse_difference(
    where: str, clips: int, query: Query, missing: Sequence[str], extra_rows: Sequence[str]
) -> NoReturn:
    if missing:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise BadInput(f"{where}: the prediction of clip {missing[0]}{more} missing; predict every clip of the query")
    if extra_rows:
        raise BadInput(f"{extra_rows[0]}: the episode does not ask about this clip; take the row out")
    if clips != query.clips:
        what = f"{abs(clips - query.clips)} {'missing' if clips < query.clips else 'too many'}"
        raise BadInput(
            f"{where}: has predictions of {clips} clips, the query has {query.clips}: {what}; predict every clip of "
            "the query, and no other"
        )
    raise BadInput(f"{where}: the clips are not those of episodes.csv; predict every clip of the query, and no other")


def _place(predictions: pd.DataFrame, row: int) -> str:
    cells = predictions.iloc[row]
    named = ", ".join(f"{name} {cells[name]}" for name in ("shots", "episode", "replicate", "clip"))
    return f"line {line_of(row)} ({named})"
