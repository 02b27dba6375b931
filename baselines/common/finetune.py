"""Few-shot fine-tuning, one recipe for every network: Adam, binary cross-entropy, the whole network trained.

The paper (arXiv 2603.12887) gives 20 epochs, BCE and 16-bit with gradient checkpointing, but no rate and no batch
size. The rule here, fixed before any query was scored: the one rate that the paper does give (1e-4, Adam, its stage
1), and batches of 4 clips, which the smallest support (2 clips a class) fills.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from pydantic import Field
from torch import nn

from baselines.common.batches import to_batch
from benchmark.baseline import BaselineSettings, Input, Scores
from benchmark.data.dataset import Clips, Support


class FinetuneSettings(BaselineSettings):
    """How a network learns from the support."""

    epochs: int = Field(default=20, ge=0, le=10_000)
    lr: float = Field(default=1e-4, gt=0, le=1)
    batch_size: int = Field(default=4, ge=1, le=1024)


class FineTuner:
    """Holds a network whose forward gives one logit a clip, and puts it back to its start before every fit.

    Args:
        network: has a linear layer `head`, drawn anew for each episode from the episode's seed.
        wanted: the network's input.
        settings: epochs, rate, batch size.
        device: `cpu` or a CUDA device.
        predict_batch: clips a forward pass.
    """

    def __init__(
        self, network: nn.Module, wanted: Input, settings: FinetuneSettings, device: str, predict_batch: int = 16
    ) -> None:
        self.network = network.to(device)
        self.start = copy.deepcopy(self.network.state_dict())
        self.wanted, self.settings, self.device, self.predict_batch = wanted, settings, device, predict_batch

    def fit(self, support: Support) -> None:
        """Train on the support. With several views a clip, each epoch draws one."""
        self.network.load_state_dict(self.start)
        generator = torch.Generator().manual_seed(support.seed)
        _draw_head(self.network, generator)
        frames = support.frames()
        labels = torch.from_numpy(support.labels).float().to(self.device)
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.settings.lr)
        scaler = torch.amp.GradScaler(self.device.split(":")[0], enabled=self._dtype() == torch.float16)
        self.network.train()
        for _ in range(self.settings.epochs):
            order = torch.randperm(len(frames), generator=generator)
            views = torch.randint(len(frames[0]), (len(frames),), generator=generator)
            for chosen in order.split(self.settings.batch_size):
                batch = to_batch([frames[i][views[i]] for i in chosen.tolist()], self.wanted, self.device)
                with self._autocast():
                    logits = self.network(batch).float()
                loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[chosen.to(self.device)])
                optimiser.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                scaler.step(optimiser)
                scaler.update()
        self.network.eval()

    @torch.inference_mode()
    def predict(self, query: Clips) -> Scores:
        """Sigmoid of the logit, averaged over a clip's views, (N,)."""
        frames = query.frames()
        views = [view for clip in frames for view in clip]
        chances = []
        for first in range(0, len(views), self.predict_batch):
            batch = to_batch(views[first : first + self.predict_batch], self.wanted, self.device)
            with self._autocast():
                logits = self.network(batch)
            chances.append(torch.sigmoid(logits.float()).cpu().numpy())
        return np.concatenate(chances).astype(np.float64).reshape(len(frames), -1).mean(axis=1)

    def _dtype(self) -> torch.dtype:
        """16-bit where the device has it: bfloat16, else float16 with a gradient scaler."""
        if not self.device.startswith("cuda"):
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def _autocast(self) -> torch.autocast:
        dtype = self._dtype()
        return torch.autocast(self.device.split(":")[0], dtype=dtype, enabled=dtype != torch.float32)


def _draw_head(network: nn.Module, generator: torch.Generator) -> None:
    head = network.head
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * 0.02)
        head.bias.zero_()
