"""The paper's "Base": no stage 1, the encoder is fine-tuned straight from its initial weights."""

from __future__ import annotations

from pathlib import Path

from baselines.common.finetune import FineTuned, FinetuneSettings
from baselines.videomae.encoder import (
    ClipClassifier,
    HeadSettings,
    encoder_flop,
    initial_encoder,
    videomae_input,
    videomae_weights,
)
from benchmark.baseline import Scale
from benchmark.registry import register
from benchmark.weights.catalogue import PublishedWeights


class HumanOnlySettings(HeadSettings, FinetuneSettings):
    """How the encoder is read and fine-tuned."""


@register("human_only")
class HumanOnly(FineTuned):
    """VideoMAE fine-tuned on the support alone, without the rodents (the paper's Base row)."""

    Settings = HumanOnlySettings
    inits = ("k400-ssl", "k400")

    def __init__(self, settings: HumanOnlySettings, scale: Scale) -> None:
        super().__init__(settings, scale)
        self.input = videomae_input(scale, settings.place)

    @property
    def published(self) -> PublishedWeights | None:
        return videomae_weights(self.scale)

    def build(self, weights: Path | None, seed: int) -> ClipClassifier:
        return ClipClassifier(initial_encoder(self.scale, weights, seed, self.settings.pool), self.settings.head)

    def card(self) -> dict[str, str]:
        settings = self.settings
        return {"pool": settings.pool, "place": settings.place, "head": settings.head, **super().card()}

    def forward_flop(self) -> float:
        return encoder_flop(self.scale)
