"""What a coin gets: the floor under every table."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from benchmark.baseline import BaselineSettings, Context, Scale, Scores
from benchmark.data.dataset import Clips, Support, seed_of
from benchmark.registry import register


class ChanceSettings(BaselineSettings):
    """Scores of several seeds are scored one by one and then averaged: one coin may be lucky."""

    seeds: int = Field(default=20, ge=1, le=1000)


@register("chance")
class Chance:
    """Uniform random scores, drawn from the clip's name and a seed; looks at nothing."""

    Settings = ChanceSettings
    inits = ()
    input = None

    def __init__(self, settings: ChanceSettings, scale: Scale) -> None:
        self.settings = settings

    def setup(self, context: Context) -> None:
        self.seed = context.seed

    def fit(self, support: Support) -> None:
        """A coin has nothing to learn."""

    def predict(self, query: Clips) -> Scores:
        return np.array(
            [
                [np.random.default_rng(seed_of(self.seed, replicate, clip)).random() for clip in query.ids]
                for replicate in range(self.settings.seeds)
            ]
        )
