"""SlowFast R50 8x8: a slow pathway for appearance, a fast and thin one for motion (Feichtenhofer et al. 2019).

32 frames at a spacing of 2/30 s; the fast pathway sees all of them, the slow one every fourth (alpha 4), 224 of 256
pixels. Built by pytorchvideo; K400 top-1 76.9. A feature is 2048 slow and 256 fast channels, in this order. arXiv
1812.03982.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from baselines.common.convnets import (
    ClipNet,
    ConvNet,
    ConvSettings,
    fill,
    importing,
    open_branches,
    published_input,
)
from benchmark.baseline import Scale
from benchmark.registry import register

ALPHA = 4
INPUT = published_input(32, 2, (224, 256), "pytorchvideo", mean=(0.45,) * 3, std=(0.225,) * 3)


class SlowFastSettings(ConvSettings):
    """How the network is fine-tuned."""


class TwoSpeeds(nn.Module):
    """A batch (N, 3, T, H, W) to one feature a clip. The network changes its list of inputs, so it gets a new one."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        frames = batch.shape[2]
        slow = torch.linspace(0, frames - 1, frames // ALPHA, device=batch.device).long()
        features: torch.Tensor = self.network([batch.index_select(2, slow), batch])
        return features


@register("slowfast")
class SlowFast(ConvNet):
    """SlowFast R50 from Kinetics-400, fine-tuned on the support."""

    Settings = SlowFastSettings
    inits = ("k400",)

    def __init__(self, settings: SlowFastSettings, scale: Scale) -> None:
        super().__init__(settings, scale, INPUT, "slowfast_r50")

    def network(self) -> ClipNet:
        with importing("pytorchvideo"):
            from pytorchvideo.models.hub import slowfast_r50
            from pytorchvideo.models.slowfast import create_slowfast
        if self.scale.size == "tiny":
            network = create_slowfast(
                model_depth=18,
                stem_dim_outs=(32, 8),
                slowfast_channel_reduction_ratio=(4,),  # an eighth of so few channels would see next to nothing
                head_pool_kernel_sizes=((4, 2, 2), (16, 2, 2)),
                dropout_rate=0.0,
            )
        else:
            network = slowfast_r50(pretrained=False, dropout_rate=0.0)
        open_branches(network)
        width = network.blocks[-1].proj.in_features
        network.blocks[-1].proj = nn.Identity()
        pathways = [pathway for stage in network.blocks[1:5] for pathway in stage.multipathway_blocks]
        return ClipNet(TwoSpeeds(network), width, [block for pathway in pathways for block in pathway.res_blocks])

    def load(self, network: ClipNet, path: Path) -> None:
        backbone: Any = network.backbone
        fill(backbone.network, path, "model_state", dropped=("blocks.6.proj.weight", "blocks.6.proj.bias"))
