"""The paper's method (arXiv 2603.12887): stage 1 on rodents and humans, then few-shot fine-tuning on humans."""

from __future__ import annotations

from baselines.common.finetune import FineTuned, FinetuneSettings
from baselines.common.weights import digest_of_state
from baselines.videomae.encoder import ClipClassifier, HeadSettings, encoder_flop, videomae_input
from baselines.videomae.pretrain import Stage1Settings
from baselines.videomae.stage1 import FirstStage
from benchmark.baseline import Context, Scale
from benchmark.registry import register


class CrossSpeciesSettings(Stage1Settings, HeadSettings, FinetuneSettings):
    """Both stages."""


@register("xspecies_videomae")
class CrossSpeciesVideoMAE(FirstStage, FineTuned):
    """VideoMAE pre-trained on rodents and humans (tube masks, ratio 0.3), then fine-tuned on the support."""

    Settings = CrossSpeciesSettings
    inits = ("k400-ssl",)  # the checkpoint fine-tuned on labels has no decoder, and stage 1 would train a random one

    def __init__(self, settings: CrossSpeciesSettings, scale: Scale) -> None:
        super().__init__(settings, scale)
        self.input = videomae_input(scale, settings.place)

    def setup(self, context: Context) -> None:
        """The encoder after stage 1, and a head."""
        encoder = self.pretrained_encoder(context)
        self.start = digest_of_state(encoder.state_dict())
        self._tune(ClipClassifier(encoder, self.settings.head), context.device)

    def card(self) -> dict[str, str]:
        settings = self.settings
        own = {"pool": settings.pool, "place": settings.place, "head": settings.head}
        return {**super().card(), **own, "start_sha256": self.start}

    def forward_flop(self) -> float:
        return encoder_flop(self.scale)
