"""Was a submission's method run again here, with the same predictions? `reproduction(verified, run, key)`.

The maintainers' own run of the same method on the same track is held against the submitted scores, one by one. Within
the tolerance a line in `submissions/reproduced.csv` says so, bound to these predictions by their hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.submission.card import Card
from benchmark.submission.documents import shown
from benchmark.submission.verify import REPRODUCED, REPRODUCED_COLUMNS, TOLERANCE, Verified
from tasks.errors import BadInput

KEY = ["shots", "episode", "replicate", "clip"]


@dataclass(frozen=True)
class Reproduction:
    """Scores that were compared, and how far the furthest two lie apart."""

    submission: str
    predictions: str
    compared: int
    max_difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether it is within the tolerance."""
        return self.max_difference <= self.tolerance

    @property
    def text(self) -> str:
        """The figure, and the line for the table where it holds."""
        said = f"{self.submission}: {self.compared} scores differ by {self.max_difference!r} at most"
        if not self.holds:
            return f"{said}, more than the tolerance {self.tolerance!r}: not reproduced"
        line = f"{self.submission},{self.predictions},{self.max_difference!r},{self.tolerance!r}"
        header = ",".join(REPRODUCED_COLUMNS)
        return f"{said}, within the tolerance {self.tolerance!r}; for {REPRODUCED}:\n{header}\n{line}"


def reproduction(verified: Verified, run: Path, key: bytes, tolerance: float = TOLERANCE) -> Reproduction:
    """Compare a submission's predictions with those of a run.

    key: what hashed the submission's clips.

    Raises:
        BadInput: there are no predictions, the run is of another track or lacks the method, or its predictions are of
            other episodes, replicates or clips.
    """
    card = verified.card
    if not isinstance(card, Card) or card.hashes.predictions is None or verified.predictions is None:
        raise BadInput(f"--reproduced-by {run}: {verified.path} has no predictions to compare with; leave it out")
    again = _predictions(card, run, key)
    table = verified.predictions.merge(again, on=KEY, how="outer", suffixes=("", "_again"), indicator="there")
    single = table.loc[table["there"] != "both"]
    if len(single):
        row = single.iloc[0]
        where = ", ".join(f"{name} {row[name]}" for name in KEY)
        who = "the submission" if row["there"] == "left_only" else "the run"
        raise BadInput(
            f"--reproduced-by {run}: only {who} has the prediction of {where}; run the same episodes and seeds"
        )
    furthest = float((table["score"] - table["score_again"]).abs().max())
    return Reproduction(verified.name, card.hashes.predictions, len(table), furthest, tolerance)


def _predictions(card: Card, run: Path, key: bytes) -> pd.DataFrame:
    """Those of the card's method in a run: shots, episode, replicate, clip, score."""
    from benchmark.run.tables import read_tables, row_name
    from benchmark.submission.episodes import prediction_rows
    from benchmark.submission.facts import method_of, track_of
    from benchmark.submission.ids import tokens_of

    tables = read_tables(run)
    if track_of(tables.card, None).digest != card.track.digest:
        raise BadInput(f"--reproduced-by {run}: is a run on another track; run on {shown(card.track.name)}")
    rows: dict[str, list[int]] = {}
    for place, record in enumerate(tables.records):
        rows.setdefault(row_name(record), []).append(place)
    wanted = (card.method.name, card.method.size, card.method.init)
    for name, places in rows.items():
        method = method_of([tables.records[place] for place in places])
        if (method.name, method.size, method.init) == wanted:
            made = tables.made.loc[tables.made["method"] == name]
            return prediction_rows(made, tokens_of(key, "clip", tables.clips["clip_id"]))
    raise BadInput(
        f"--reproduced-by {run}: has no {shown(card.method.name)} of size {shown(card.method.size)} and init "
        f"{shown(card.method.init)}, but {', '.join(rows)}; run it"
    )
