"""Frozen features and a logistic regression: what the initial weights already know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baselines.common.linear import LinearClassifier
from baselines.common.weights import digest_of_state
from baselines.videomae.encoder import (
    Encoder,
    VideoMAESettings,
    encoder_flop,
    initial_encoder,
    videomae_input,
    videomae_weights,
)
from baselines.videomae.frozen import FrozenEncoder
from benchmark.baseline import Context, Scale, Scores
from benchmark.data.dataset import Clips, Support
from benchmark.registry import register
from benchmark.weights.catalogue import PublishedWeights


@register("linear_probe")
class LinearProbe:
    """VideoMAE frozen at its initial weights, with a logistic regression fitted on the support."""

    Settings = VideoMAESettings
    inits = ("k400-ssl", "k400")

    def __init__(self, settings: VideoMAESettings, scale: Scale) -> None:
        self.settings, self.scale = settings, scale
        self.input = videomae_input(scale, settings.place)

    @property
    def published(self) -> PublishedWeights | None:
        return videomae_weights(self.scale)

    def build(self, weights: Path | None, seed: int) -> Encoder:
        return initial_encoder(self.scale, weights, seed, self.settings.pool)

    def setup(self, context: Context) -> None:
        encoder = self.build(context.weights, context.seed)
        self.weights = digest_of_state(encoder.state_dict())
        self.frozen = FrozenEncoder(encoder, self.weights, self.input, context.device, context.threads)

    @property
    def embedding_key(self) -> str:
        return self.frozen.embedding_key

    def embed(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.frozen.embed(frames)

    def fit(self, support: Support) -> None:
        self.classifier = LinearClassifier().fit(support.embeddings(self), support.labels)

    def predict(self, query: Clips) -> Scores:
        return self.classifier.predict(query.embeddings(self))

    def card(self) -> dict[str, str]:
        return {"pool": self.settings.pool, "place": self.settings.place, "start_sha256": self.weights}

    def setup_flop(self, stage1_clips: int) -> float:
        return 0.0

    def episode_flop(self, support: int, query: int) -> float:
        return (support + query) / 20 * encoder_flop(self.scale)
