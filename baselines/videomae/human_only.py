"""The paper's "Base": no stage 1, the encoder is fine-tuned straight from its initial weights."""

from __future__ import annotations

from baselines.common.finetune import FineTuner, FinetuneSettings
from baselines.common.weights import digest_of_state
from baselines.videomae.encoder import (
    ClipClassifier,
    VideoMAESettings,
    encoder_flop,
    initial_encoder,
    use_checkpointing,
    videomae_input,
)
from benchmark.baseline import Context, Scale, Scores
from benchmark.data.dataset import Clips, Support
from benchmark.registry import register


class HumanOnlySettings(VideoMAESettings, FinetuneSettings):
    """How the encoder is read and fine-tuned."""


@register("human_only")
class HumanOnly:
    """VideoMAE fine-tuned on the support alone, without the rodents (the paper's Base row)."""

    Settings = HumanOnlySettings
    network = True

    def __init__(self, settings: HumanOnlySettings, scale: Scale) -> None:
        self.settings, self.scale = settings, scale
        self.input = videomae_input(scale, settings.place)

    def setup(self, context: Context) -> None:
        encoder = initial_encoder(self.scale, context.weights, context.seed, self.settings.pool)
        use_checkpointing(encoder, context.device)
        self.weights = digest_of_state(encoder.state_dict())
        self.tuner = FineTuner(ClipClassifier(encoder), self.input, self.settings, context.device)

    def fit(self, support: Support) -> None:
        self.tuner.fit(support)

    def predict(self, query: Clips) -> Scores:
        return self.tuner.predict(query)

    def card(self) -> dict[str, str]:
        return {"pool": self.settings.pool, "place": self.settings.place, "weights_sha256": self.weights}

    def setup_flop(self, stage1_clips: int) -> float:
        return 0.0

    def episode_flop(self, support: int, query: int) -> float:
        return (3 * self.settings.epochs * support + query) * encoder_flop(self.scale)
