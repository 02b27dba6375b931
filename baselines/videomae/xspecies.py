"""The paper's method (arXiv 2603.12887): stage 1 on rodents and humans, then few-shot fine-tuning on humans."""

from __future__ import annotations

from pathlib import Path

from baselines.common.finetune import FineTuner, FinetuneSettings
from baselines.videomae.encoder import (
    ClipClassifier,
    encoder_flop,
    stage1_encoder,
    use_checkpointing,
    videomae_input,
)
from baselines.videomae.pretrain import Checkpoint, Stage1Settings, pretrain, stage1_flop, stage1_input
from benchmark.baseline import Context, Scale, Scores
from benchmark.data.dataset import Clips, PretrainClips, Support
from benchmark.registry import register


class CrossSpeciesSettings(Stage1Settings, FinetuneSettings):
    """Both stages."""


@register("xspecies_videomae")
class CrossSpeciesVideoMAE:
    """VideoMAE pre-trained on rodents and humans (tube masks, ratio 0.3), then fine-tuned on the support."""

    Settings = CrossSpeciesSettings
    network = True

    def __init__(self, settings: CrossSpeciesSettings, scale: Scale) -> None:
        self.settings, self.scale = settings, scale
        self.input = videomae_input(scale, settings.place)

    def setup(self, context: Context) -> None:
        self.context = context
        self.pretrain(context.pretraining(stage1_input(self.scale).sampling))
        encoder = stage1_encoder(self.checkpoint.folder, self.settings.pool)
        use_checkpointing(encoder, context.device)
        self.tuner = FineTuner(ClipClassifier(encoder), self.input, self.settings, context.device)

    def pretrain(self, sources: PretrainClips) -> Path:
        self.checkpoint: Checkpoint = pretrain(self.settings, self.scale, self.context, sources)
        return self.checkpoint.folder

    def fit(self, support: Support) -> None:
        self.tuner.fit(support)

    def predict(self, query: Clips) -> Scores:
        return self.tuner.predict(query)

    def card(self) -> dict[str, str]:
        settings = self.settings
        return {"pool": settings.pool, "place": settings.place, "weights_sha256": self.checkpoint.weights}

    def setup_flop(self, stage1_clips: int) -> float:
        return stage1_flop(self.settings, self.scale, stage1_clips)

    def episode_flop(self, support: int, query: int) -> float:
        return (3 * self.settings.epochs * support + query) * encoder_flop(self.scale)
