"""Tables of a submission, and their bytes: which episodes there are, and what was predicted in them.

episodes.csv        shots, episode, digest, clips, query: `query` is the sha256 of the sorted tokens, so that a hole
                    or an extra clip is found without labels
predictions.csv.gz  shots, episode, replicate, clip, score: the shortest text that gives the float back

Rows are sorted and nothing else is written, so the same predictions have the same bytes.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from benchmark.submission.ids import tokens_query

if TYPE_CHECKING:
    from benchmark.run.units import SavedEpisode


def episode_table(episodes: Sequence[SavedEpisode], tokens: Mapping[str, str]) -> pd.DataFrame:
    """shots, episode, digest, clips, query; one row an episode. `tokens`: by clip id."""
    rows = [
        (one.shots, one.index, one.digest, len(one.query), tokens_query(tokens[clip] for clip in one.query))
        for one in sorted(episodes, key=lambda one: (one.shots, one.index))
    ]
    return pd.DataFrame(rows, columns=["shots", "episode", "digest", "clips", "query"])


def query_table(episodes: Sequence[SavedEpisode], tokens: Mapping[str, str]) -> pd.DataFrame:
    """shots, episode, clip; one row a clip that an episode asks about."""
    rows = sorted((one.shots, one.index, tokens[clip]) for one in episodes for clip in one.query)
    return pd.DataFrame(rows, columns=["shots", "episode", "clip"])


def prediction_rows(made: pd.DataFrame, tokens: Mapping[str, str]) -> pd.DataFrame:
    """shots, episode, replicate, clip, score, sorted. `made`: the same of one method, with clip_id for clip."""
    table = made.assign(clip=made["clip_id"].map(tokens), score=made["score"] + 0.0)  # no minus zero
    key = ["shots", "episode", "replicate", "clip"]
    return table.sort_values(key, ignore_index=True)[[*key, "score"]]


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Header and rows, lines ending in \\n; floats as `repr` gives them. Cells hold no comma: numbers and hashes."""
    rows = zip(*(table[column].tolist() for column in table.columns), strict=True)
    lines = [",".join(map(str, table.columns)), *(",".join(map(str, row)) for row in rows)]
    return ("\n".join(lines) + "\n").encode("ascii")


def packed(data: bytes) -> bytes:
    """As gzip, without a name and a time in its head."""
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as file:
        file.write(data)
    return stream.getvalue()
