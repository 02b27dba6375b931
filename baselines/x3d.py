"""X3D: a small image network expanded along time, width and depth (Feichtenhofer 2020, arXiv 2004.04730).

    variant   frames x spacing   pixels       K400 top-1
    m         16 x 5/30 s        224 of 256   75.9
    s         13 x 6/30 s        160 of 182   73.3

Both are built by pytorchvideo and have the same tensors: only a file's name and hash tell one's weights from the
other's. Their Swish is kept, as torch's SiLU differs from it in the last bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from baselines.common.convnets import (
    TINY_FRAMES,
    TINY_SIZE,
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

INPUTS = {
    "m": published_input(16, 5, (224, 256), "pytorchvideo", mean=(0.45,) * 3, std=(0.225,) * 3),
    "s": published_input(13, 6, (160, 182), "pytorchvideo", mean=(0.45,) * 3, std=(0.225,) * 3),
}
TINY_WIDTH = 256


class X3dSettings(ConvSettings):
    """Which of the published networks."""

    variant: Literal["m", "s"] = "m"


@register("x3d")
class X3D(ConvNet):
    """X3D from Kinetics-400, fine-tuned on the support."""

    Settings = X3dSettings
    inits = ("k400",)

    def __init__(self, settings: X3dSettings, scale: Scale) -> None:
        super().__init__(settings, scale, INPUTS[settings.variant], f"x3d_{settings.variant}")

    def network(self) -> ClipNet:
        with importing("pytorchvideo"):
            from pytorchvideo.models import hub
            from pytorchvideo.models.x3d import create_x3d
        features = {"dropout_rate": 0.0, "head_activation": None}
        tiny = self.scale.size == "tiny"
        if tiny:
            backbone = create_x3d(
                input_clip_length=TINY_FRAMES,
                input_crop_size=TINY_SIZE,
                width_factor=1.0,
                depth_factor=0.5,
                head_dim_out=TINY_WIDTH,
                **features,
            )
        else:
            create = hub.x3d_m if self.settings.variant == "m" else hub.x3d_s
            backbone = create(pretrained=False, **features)
        open_branches(backbone)
        backbone.blocks[-1].proj = nn.Identity()
        blocks = [block for stage in backbone.blocks[1:-1] for block in stage.res_blocks]
        if tiny:
            return ClipNet(backbone, TINY_WIDTH, blocks, torch.channels_last_3d)
        return ClipNet(backbone, 2048, blocks)

    def load(self, network: ClipNet, path: Path) -> None:
        fill(network.backbone, path, "model_state", dropped=("blocks.5.proj.weight", "blocks.5.proj.bias"))
