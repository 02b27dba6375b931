"""The labels at hand: with a Reference of a track, predictions on it can be scored again.

For open data it lies in `submissions/references/TRACK/`, written by `submit --with-labels`; inside a house it is made
of a run folder and never leaves. Clips and patients go by keyed hashes (`benchmark.submission.ids`).

reference.json   the Track
clips.csv        clip, patient, label
queries.csv.gz   shots, episode, clip: which clips each episode asks about
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from benchmark.submission.card import Track


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
