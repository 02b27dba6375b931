"""The paper's method (arXiv 2603.12887): stage 1 on rodents and humans, then few-shot fine-tuning on humans."""

from __future__ import annotations

from pathlib import Path

from transformers import VideoMAEForPreTraining

from baselines.common.finetune import FineTuned, FinetuneSettings
from baselines.videomae.encoder import (
    ClipClassifier,
    encoder_flop,
    pretraining_network,
    stage1_encoder,
    videomae_input,
    videomae_weights,
)
from baselines.videomae.pretrain import Checkpoint, Stage1Settings, pretrain, stage1_flop, stage1_input
from benchmark.baseline import Context, Scale
from benchmark.data.dataset import PretrainClips
from benchmark.registry import register
from benchmark.weights.catalogue import PublishedWeights


class CrossSpeciesSettings(Stage1Settings, FinetuneSettings):
    """Both stages."""


@register("xspecies_videomae")
class CrossSpeciesVideoMAE(FineTuned):
    """VideoMAE pre-trained on rodents and humans (tube masks, ratio 0.3), then fine-tuned on the support."""

    Settings = CrossSpeciesSettings
    inits = ("k400-ssl",)  # the checkpoint fine-tuned on labels has no decoder, and stage 1 would train a random one

    def __init__(self, settings: CrossSpeciesSettings, scale: Scale) -> None:
        super().__init__(settings, scale)
        self.input = videomae_input(scale, settings.place)

    @property
    def published(self) -> PublishedWeights | None:
        return videomae_weights(self.scale)

    def build(self, weights: Path | None, seed: int) -> VideoMAEForPreTraining:
        """Encoder and decoder, before stage 1."""
        return pretraining_network(self.scale, weights, seed)

    def setup(self, context: Context) -> None:
        """Stage 1, or its checkpoint from the cache; then the encoder alone."""
        self.context = context
        self.pretrain(context.pretraining(stage1_input(self.scale).sampling))
        encoder = stage1_encoder(self.checkpoint.folder, self.settings.pool)
        self._tune(ClipClassifier(encoder), context.device)

    def pretrain(self, sources: PretrainClips) -> Path:
        self.checkpoint: Checkpoint = pretrain(self.settings, self.scale, self.context, sources)
        return self.checkpoint.folder

    def card(self) -> dict[str, str]:
        settings = self.settings
        own = {"pool": settings.pool, "place": settings.place, "start_sha256": self.checkpoint.weights}
        return {**super().card(), **own}

    def setup_flop(self, stage1_clips: int) -> float:
        return stage1_flop(self.settings, self.scale, stage1_clips)

    def forward_flop(self) -> float:
        return encoder_flop(self.scale)
