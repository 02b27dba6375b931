"""CSN: channel-separated convolutional networks (Tran et al. 2019, arXiv 1904.02811), fine-tuned on the support.

    variant   network                                 built by        K400 top-1   normalised by
    ip152     interaction-preserved, 152 layers       mmaction2       77.8         VMZ's statistics
    ir152     interaction-reduced, 152 layers         mmaction2       76.5         VMZ's statistics
    r101      interaction-reduced, 101 layers         pytorchvideo    77.0         0.45, 0.225

All were trained from scratch on Kinetics-400 and read 32 frames at a spacing of 2/30 s, 224 of 256 pixels. mmaction2's
configurations freeze the affine parameters of the batch norms as well; here they are trained, in every network alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

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

WEIGHTS = {"ip152": "ipcsn_r152", "ir152": "ircsn_r152", "r101": "csn_r101"}
CONFIGS = {
    "ip152": "configs/recognition/csn/ipcsn_r152_32x2x1-180e_kinetics400-rgb.py",
    "ir152": "configs/recognition/csn/ircsn_r152_32x2x1-180e_kinetics400-rgb.py",
}
VMZ = published_input(
    frames=32,
    stride=2,
    sizes=(224, 256),
    rule="mmaction2",
    mean=(110.2008 / 255, 100.63983 / 255, 95.99475 / 255),
    std=(58.14765 / 255, 56.46975 / 255, 55.332195 / 255),
)
FACEBOOK = published_input(32, 2, (224, 256), "pytorchvideo", mean=(0.45,) * 3, std=(0.225,) * 3)


class CsnSettings(ConvSettings):
    """Which of the published networks."""

    variant: Literal["ip152", "ir152", "r101"] = "ip152"


@register("csn")
class CSN(ConvNet):
    """Channel-separated 3-D convolutions from Kinetics-400, fine-tuned on the support."""

    Settings = CsnSettings
    inits = ("k400",)

    def __init__(self, settings: CsnSettings, scale: Scale) -> None:
        super().__init__(settings, scale, FACEBOOK if settings.variant == "r101" else VMZ, WEIGHTS[settings.variant])
        self.variant = settings.variant

    def network(self) -> ClipNet:
        tiny = self.scale.size == "tiny"
        layout = torch.channels_last_3d if tiny else torch.contiguous_format
        if self.variant == "r101":
            backbone = _by_pytorchvideo(tiny)
            blocks = [block for stage in backbone.blocks[1:-1] for block in stage.res_blocks]
            return ClipNet(backbone, 512 if tiny else 2048, blocks, layout)
        backbone = _by_mmaction2(self.variant, tiny)
        stages = [getattr(backbone, name) for name in backbone.res_layers]
        pooled = nn.Sequential(backbone, nn.AdaptiveAvgPool3d(1), nn.Flatten())
        return ClipNet(pooled, backbone.feat_dim, [block for stage in stages for block in stage], layout)

    def load(self, network: ClipNet, path: Path) -> None:
        if self.variant == "r101":
            fill(network.backbone, path, "model_state", dropped=("blocks.5.proj.weight", "blocks.5.proj.bias"))
        else:
            recogniser = nn.ModuleDict({"backbone": network.backbone[0]})  # type: ignore[index]
            fill(recogniser, path, "state_dict", dropped=("cls_head.fc_cls.weight", "cls_head.fc_cls.bias"))


def _by_mmaction2(variant: str, tiny: bool) -> Any:
    """The backbone of mmaction2's own configuration, which its wheel holds; at tiny narrower and shallower."""
    with importing("mmaction2"):
        import mmaction.models
        from mmaction.registry import MODELS
        from mmengine.config import Config

        wheel = Path(mmaction.__file__).parent / ".mim"
        backbone = Config.fromfile(wheel / CONFIGS[variant]).model.backbone
    backbone.update(norm_eval=False, bn_frozen=False)  # who trains the network says what stays
    if tiny:
        backbone.update(depth=50, base_channels=32, stage_blocks=(1, 2, 2, 1))
    network = MODELS.build(backbone)
    network.init_weights()
    return network


def _by_pytorchvideo(tiny: bool) -> Any:
    with importing("pytorchvideo"):
        from pytorchvideo.models.csn import create_csn
        from pytorchvideo.models.hub import csn_r101
    if tiny:
        # 50 layers are its least; the last pooling sees 2 x 2 x 2.
        network = create_csn(model_depth=50, stem_dim_out=16, stem_pool=nn.MaxPool3d, head_pool_kernel_size=(2, 2, 2))
    else:
        network = csn_r101(pretrained=False)
    open_branches(network)
    network.blocks[-1].proj = nn.Identity()
    return network
