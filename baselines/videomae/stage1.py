"""Stage 1 (arXiv 2603.12887, section 3) as an adapter has it; `pretrain.py` says how it is trained.

    mix of clips -> tube masks -> mean squared error on the masked patches -> an encoder for stage 2

The harness draws the clips, finds or keeps the checkpoint, and refuses test patients in it (`Pretrains`).
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import VideoMAEForPreTraining

from baselines.common import batches
from baselines.videomae import agenda, attention, encoder, masking, pretrain, step
from baselines.videomae.encoder import (
    Encoder,
    VideoMAESettings,
    initial_encoder,
    pretraining_network,
    stage1_encoder,
    videomae_input,
    videomae_weights,
)
from baselines.videomae.pretrain import Stage1Settings
from baselines.videomae.step import step_flop
from benchmark.baseline import Context, Input, Scale, Site
from benchmark.data.dataset import PretrainClips
from benchmark.weights.catalogue import PublishedWeights


class FirstStage:
    """The stage-1 half of an adapter; the other half has `settings` (Stage1Settings) and `scale`."""

    settings: Any
    scale: Scale

    @property
    def published(self) -> PublishedWeights | None:
        return videomae_weights(self.scale)

    def build(self, weights: Path | None, seed: int) -> VideoMAEForPreTraining:
        """Encoder and decoder, before stage 1."""
        return pretraining_network(self.scale, weights, seed)

    @property
    def mix(self) -> str:
        return str(self.settings.mix)

    @property
    def stage1_input(self) -> Input:
        """Three views a clip, of which each epoch draws one: a rodent clip lasts 10 s, a view 1 to 2 s."""
        return videomae_input(self.scale, "several")

    @property
    def stage1_settings(self) -> dict[str, Any]:
        own = Stage1Settings.model_fields.keys() - VideoMAESettings.model_fields.keys()
        return self.settings.model_dump(mode="json", include=own)

    @property
    def stage1_key(self) -> str:
        content = {
            "code": [
                Path(m.__file__ or "").read_text()
                for m in (agenda, attention, encoder, masking, batches, step, pretrain)
            ],
            "versions": {name: version(name) for name in ("torch", "transformers", "accelerate", "numpy")},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def pretrain(self, clips: PretrainClips, context: Context, site: Site) -> dict[str, Any]:
        """Continue the masked reconstruction from the initial weights."""
        network = self.build(context.weights, context.seed)
        network.config.norm_pix_loss = self.settings.norm_pix_loss
        return pretrain.train(network, clips, self.settings, self.stage1_input, context, site)

    def pretrained_encoder(self, context: Context) -> Encoder:
        """The encoder after stage 1, or as it was published where the mix is `base`."""
        if self.mix == "base":
            return initial_encoder(self.scale, context.weights, context.seed, self.settings.pool)
        return stage1_encoder(context.stage1(self), self.settings.pool)

    def setup_flop(self, stage1_clips: int) -> float:
        """Forward and backward passes of stage 1."""
        config = encoder.videomae_config(self.scale)
        return self.settings.stage1_epochs * stage1_clips * step_flop(config, self.settings.mask_ratio).training
