"""CNN + LSTM: a ResNet-18 from ImageNet reads each frame, a bidirectional LSTM reads the sequence.

frames -> ResNet-18 (He et al. 2016, torchvision) -> 512 numbers a frame -> LSTM, 128 units each way -> its last states

The ResNet alone is published. The LSTM is new in every case, drawn from the run's seed, and so an `imagenet` row of
this method is partly untrained. 16 frames at a spacing of 2/30 s, as VideoMAE at base.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from baselines.common.convnets import ClipNet, ConvNet, ConvSettings, fill, importing, published_input
from benchmark.baseline import IMAGENET_MEAN, IMAGENET_STD, Scale
from benchmark.registry import register

UNITS = 128
INPUT = published_input(16, 2, (224, 256), "torchvision", IMAGENET_MEAN, IMAGENET_STD, layout="TCHW")


class CnnLstmSettings(ConvSettings):
    """How the network is fine-tuned."""


class FrameSequence(nn.Module):
    """A batch (N, T, 3, H, W) to one feature a clip, (N, 2 * UNITS)."""

    def __init__(self, cnn: nn.Module, width: int) -> None:
        super().__init__()
        self.cnn = cnn
        self.lstm = nn.LSTM(width, UNITS, batch_first=True, bidirectional=True)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        seen: torch.Tensor = self.cnn(batch.flatten(0, 1))
        states: torch.Tensor = self.lstm(seen.unflatten(0, batch.shape[:2]))[0]
        return torch.cat([states[:, -1, :UNITS], states[:, 0, UNITS:]], dim=1)


@register("cnn_lstm")
class CnnLstm(ConvNet):
    """ResNet-18 from ImageNet and a new LSTM over its frames, fine-tuned on the support."""

    Settings = CnnLstmSettings
    inits = ("imagenet",)

    def __init__(self, settings: CnnLstmSettings, scale: Scale) -> None:
        super().__init__(settings, scale, INPUT, "resnet18")

    def network(self) -> ClipNet:
        with importing("torchvision"):
            from torchvision.models.resnet import BasicBlock, ResNet, resnet18
        if self.scale.size == "tiny":
            cnn: Any = ResNet(BasicBlock, [1, 1, 1, 1])
            width, cnn.layer4 = 256, nn.Identity()
        else:
            cnn, width = resnet18(weights=None), 512
        cnn.fc = nn.Identity()
        blocks = [module for module in cnn.modules() if isinstance(module, BasicBlock)]
        return ClipNet(FrameSequence(cnn, width), 2 * UNITS, blocks)

    def load(self, network: ClipNet, path: Path) -> None:
        backbone: Any = network.backbone
        fill(backbone.cnn, path, None, dropped=("fc.weight", "fc.bias"))
