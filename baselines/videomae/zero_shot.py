"""No human label at all, in two readings of the paper's "pretrained zero-shot" row.

head=random            an untrained linear head on the stage-1 encoder: the paper's row, which a coin equals
head=rodent-prototype  nearest class mean of rodent seizure and normal clips: the honest test of the cross-species claim
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.common.weights import digest_of_state
from baselines.videomae.encoder import encoder_flop, videomae_input
from baselines.videomae.frozen import FrozenEncoder
from baselines.videomae.pretrain import Stage1Settings
from baselines.videomae.stage1 import FirstStage
from benchmark.baseline import Context, Scale, Scores
from benchmark.data.dataset import Clips, Support, seed_of
from benchmark.registry import register
from tasks.errors import BadInput

RODENTS = "+R(Y/N)"  # the mix whose labelled clips make the prototypes


class ZeroShotSettings(Stage1Settings):
    """Which head, and how many random ones: one of them alone is a coin that may fall well."""

    head: Literal["random", "rodent-prototype"] = "random"
    head_seeds: int = Field(default=50, ge=50, le=10_000)


@register("zero_shot")
class ZeroShot(FirstStage):
    """The stage-1 encoder without any human label: random heads, or rodent class means."""

    Settings = ZeroShotSettings
    inits = ("k400-ssl",)

    def __init__(self, settings: ZeroShotSettings, scale: Scale) -> None:
        self.settings, self.scale = settings, scale
        self.input = videomae_input(scale, settings.place)

    def setup(self, context: Context) -> None:
        """Stage 1, then the heads or the rodents' class means."""
        encoder = self.pretrained_encoder(context)
        self.weights = digest_of_state(encoder.state_dict())
        self.frozen = FrozenEncoder(encoder, self.weights, self.input, context.device, context.threads)
        if self.settings.head == "random":
            draws = [np.random.default_rng(seed_of(context.seed, k)) for k in range(self.settings.head_seeds)]
            self.heads = np.stack([draw.normal(0, 0.02, encoder.width) for draw in draws])
        else:
            self.prototypes = self._rodent_means(context)

    @property
    def embedding_key(self) -> str:
        return self.frozen.embedding_key

    def embed(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.frozen.embed(frames)

    def fit(self, support: Support) -> None:
        """Zero-shot: the support is not looked at."""

    def predict(self, query: Clips) -> Scores:
        features = query.embeddings(self).astype(np.float64)
        if self.settings.head == "random":
            return np.asarray(1 / (1 + np.exp(-self.heads @ features.T)))
        to_normal, to_seizure = (np.linalg.norm(features - mean, axis=1) for mean in self.prototypes)
        return np.asarray(to_normal / np.maximum(to_normal + to_seizure, 1e-12))

    def card(self) -> dict[str, str]:
        return {"pool": self.settings.pool, "place": self.settings.place, "start_sha256": self.weights}

    def episode_flop(self, support: int, query: int) -> float:
        return query / 20 * encoder_flop(self.scale)

    def _rodent_means(self, context: Context) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean feature of normal and of seizure clips of the other species."""
        clips = context.pretraining(self.input.sampling, RODENTS)
        features = clips.embeddings(self).astype(np.float64)
        rodent, seizure = np.array([s != "human" for s in clips.species]), np.array(clips.seizure)
        for what, chosen in (("normal", rodent & ~seizure), ("seizure", rodent & seizure)):
            if not chosen.any():
                raise BadInput(
                    f"--set head=rodent-prototype: the pre-training clips hold no {what} clip of another species; "
                    "add some or use head=random"
                )
        return features[rodent & ~seizure].mean(axis=0), features[rodent & seizure].mean(axis=0)
