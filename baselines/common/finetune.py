"""Few-shot fine-tuning, one recipe for every network: binary cross-entropy, the whole network trained.

    FinetuneSettings   epochs, rate, optimiser, schedule, precision, augmentation: what `--set` may change
    FineTuned          base of every adapter that is trained whole: it says which network, this says how it learns
    FineTuner          puts a network back to its start, trains it on a support, scores a query

The paper (arXiv 2603.12887) gives 20 epochs, BCE and 16-bit with gradient checkpointing; no rate, batch size or
augmentation. Where those come from: docs/methods/README.md, "Fine-tuning".

Batch-norm statistics never move: 4 to 8 clips would destroy the published ones. Random initial weights have none, so
theirs are measured once on the support before training, and then stay as well.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from baselines.common.batches import augmented_batch, batch_of
from baselines.common.resident import Resident
from baselines.common.weights import digest_of_state
from benchmark.baseline import BaselineSettings, Context, Init, Input, Scale, Scores
from benchmark.data.dataset import Clips, Support

RATE: dict[str, float] = {"tiny": 1e-3, "base": 1e-4}
PREDICT_BATCH = {"tiny": 16, "base": 4}  # views a forward pass
PREDICT_BATCH_GPU = {"tiny": 256, "base": 32}  # halved where memory does not allow it


class FinetuneSettings(BaselineSettings):
    """How a network learns from the support."""

    epochs: int = Field(default=20, ge=0, le=10_000)
    lr: float | None = Field(default=None, gt=0, le=1, description="default: by size, docs/methods/README.md")
    batch_size: int = Field(default=2, ge=1, le=1024)
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0, le=10)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: float = Field(default=0.25, ge=0, le=1, description="share of the training over which the rate climbs")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: 16-bit on a GPU (bf16 where it has it), fp32 on a CPU"
    )
    checkpointing: bool | None = Field(default=None, description="recompute activations; default: on a GPU")
    smallest_crop: float = Field(default=0.6, gt=0, le=1, description="least area of the random crop; 1: none")
    flip: bool = Field(default=True, description="mirror left and right at random")


class FineTuned:
    """An adapter whose whole network is trained. Subclasses give `input`, `published` and `build`.

    What `build` returns takes a batch as `input` describes and gives one logit a clip, (N,). It has a `head`, drawn
    anew for each episode: a linear layer, or a module with `draw(generator)`. It may have `use_checkpointing()`.
    """

    Settings: ClassVar[type[FinetuneSettings]] = FinetuneSettings
    inits: ClassVar[tuple[Init, ...]] = ("random",)
    input: Input

    def __init__(self, settings: Any, scale: Scale) -> None:
        self.settings, self.scale = settings, scale

    def build(self, weights: Path | None, seed: int) -> nn.Module:
        """The network before any training of ours."""
        raise NotImplementedError

    def setup(self, context: Context) -> None:
        """Build the network and keep its start."""
        self._tune(self.build(context.weights, context.seed), context.device)

    def fit(self, support: Support) -> None:
        """Train from the start on the support."""
        self.tuner.fit(support)

    def predict(self, query: Clips) -> Scores:
        """Scores of the trained network."""
        return self.tuner.predict(query)

    def card(self) -> dict[str, str]:
        """What the row says of the network and of its last training."""
        return self.tuner.card()

    def setup_flop(self, stage1_clips: int) -> float:
        """No first stage."""
        return 0.0

    def forward_flop(self) -> float:
        """FLOP of one forward pass of one view, counted operation by operation on a network without memory."""
        return self._flop

    @cached_property
    def _flop(self) -> float:
        unloaded = type(self)(self.settings, replace(self.scale, init="random"))
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            unloaded.build(None, 0).eval()(torch.empty(batch_shape(self.input)))
        return float(counter.get_total_flops())

    def episode_flop(self, support: int, query: int) -> float:
        """A training step is three forward passes."""
        views = self.input.sampling.views
        return (3 * self.settings.epochs * support + query * views) * self.forward_flop()

    def _tune(self, network: nn.Module, device: str) -> None:
        self.tuner = FineTuner(network, self.input, self.settings, self.scale, device)


class FineTuner:
    """Holds a network, and puts it back to its start before every fit.

    Args:
        network: see FineTuned.
        wanted: the network's input.
        settings: the recipe.
        scale: size (for the default rate) and initial weights.
        device: `cpu` or a CUDA device.
        predict_batch: views a forward pass; default: by size and device.
    """

    def __init__(
        self,
        network: nn.Module,
        wanted: Input,
        settings: FinetuneSettings,
        scale: Scale,
        device: str,
        predict_batch: int | None = None,
    ) -> None:
        self.wanted, self.settings, self.device = wanted, settings, device
        usual = PREDICT_BATCH_GPU if device.startswith("cuda") else PREDICT_BATCH
        self.predict_batch = predict_batch or usual[scale.size]
        self.resident = Resident(device)
        self.rate = RATE[scale.size] if settings.lr is None else settings.lr
        self.precision = precision_on(settings.precision, device)
        self.skipped_steps = 0
        self.network = network.to(device)
        self._norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        self._measure_norms = scale.init == "random"
        self.start = copy.deepcopy(self.network.state_dict())
        self.weights = digest_of_state(self.start)
        on_gpu = device.startswith("cuda")
        if settings.checkpointing if settings.checkpointing is not None else on_gpu:
            _use_checkpointing(network)

    def fit(self, support: Support) -> None:
        """Train on the support. With several views a clip, each epoch draws one."""
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):
            torch.manual_seed(support.seed)  # for dropout
            self._fit(support, torch.Generator().manual_seed(support.seed))

    @torch.inference_mode()
    def predict(self, query: Clips) -> Scores:
        """Sigmoid of the logit, averaged over a clip's views, (N,)."""
        clips = self.resident(query)
        chances = self._chances([view for clip in clips for view in clip])
        return chances.cpu().numpy().astype(np.float64).reshape(len(clips), -1).mean(axis=1)

    def card(self) -> dict[str, str]:
        """For the record of a work unit."""
        facts = {"start_sha256": self.weights, "lr": f"{self.rate:g}", "precision": self.precision}
        return {**facts, "skipped_steps": str(self.skipped_steps)} if self.precision == "fp16" else facts

    def _fit(self, support: Support, generator: torch.Generator) -> None:
        settings, clips = self.settings, self.resident(support)
        self.network.load_state_dict(self.start)
        _draw_head(self.network, generator)
        if self._measure_norms and self._norms:
            self._measure(clips)
        labels = torch.from_numpy(support.labels).float().to(self.device)
        optimiser = _optimiser(settings, self.rate, [p for p in self.network.parameters() if p.requires_grad])
        steps = max(settings.epochs * -(-len(clips) // settings.batch_size), 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: rate_share(step / steps, settings.warmup, settings.schedule)
        )
        scaler = torch.amp.GradScaler(self.device.split(":")[0], enabled=self.precision == "fp16")
        self.skipped_steps = 0
        self._train_mode()
        for _ in range(settings.epochs):
            order = torch.randperm(len(clips), generator=generator)
            views = torch.randint(len(clips[0]), (len(clips),), generator=generator)
            answers = labels[order.to(self.device)].split(settings.batch_size)
            for chosen, answer in zip(order.split(settings.batch_size), answers, strict=True):
                batch = augmented_batch(
                    [clips[i][views[i]] for i in chosen.tolist()],
                    self.wanted,
                    generator,
                    settings.smallest_crop,
                    settings.flip,
                )
                loss = nn.functional.binary_cross_entropy_with_logits(self._logits(batch), answer)
                optimiser.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                scaler.step(optimiser)
                skipped = _update(scaler)
                self.skipped_steps += skipped
                if not skipped:
                    schedule.step()
        self.network.eval()

    def _logits(self, batch: torch.Tensor) -> torch.Tensor:
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision, torch.float32)
        with torch.autocast(self.device.split(":")[0], dtype=dtype, enabled=dtype != torch.float32):
            logits = self.network(batch)
        return logits.float()

    def _chances(self, views: list[torch.Tensor]) -> torch.Tensor:
        """Sigmoid of the logits, (N,), on the device; batches shrink where they do not fit its memory."""
        found: list[torch.Tensor] = []
        done, size = 0, self.predict_batch
        while done < len(views):
            try:
                found.append(torch.sigmoid(self._logits(batch_of(views[done : done + size], self.wanted))))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                continue
            done += size
        return torch.cat(found)

    def _train_mode(self) -> None:
        self.network.train()
        for norm in self._norms:
            norm.eval()

    @torch.no_grad()
    def _measure(self, clips: list[torch.Tensor]) -> None:
        """Mean and variance of every batch norm over the support: averages over pairs of clips, of each its first view.

        Pairs, because memory is what runs out at the published size, and a support is always even.
        """
        self.network.eval()
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # averages over all batches
        for first in range(0, len(clips), 2):
            self.network(batch_of([clip[0] for clip in clips[first : first + 2]], self.wanted))
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def batch_shape(wanted: Input) -> tuple[int, ...]:
    """The shape of a batch of one clip."""
    frames, side = wanted.sampling.frames or 1, wanted.sampling.size
    return (1, 3, frames, side, side) if wanted.layout == "CTHW" else (1, frames, 3, side, side)


def rate_share(through: float, warmup: float, schedule: Literal["constant", "cosine"]) -> float:
    """The share of the peak rate, `through` (0-1) of a training: a linear climb, then constant or half a cosine."""
    if through < warmup:
        return max(through / warmup, 0.01)
    if schedule == "constant":
        return 1.0
    left = 1 - (through - warmup) / max(1 - warmup, 1e-9)
    return 0.5 * (1 - math.cos(math.pi * left))


def _optimiser(settings: FinetuneSettings, rate: float, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=settings.weight_decay)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=settings.weight_decay)


def precision_on(asked: str, device: str) -> str:
    """`auto` is 16-bit on a GPU (bf16 where it has it) and fp32 on a CPU; anything else is itself."""
    if asked != "auto":
        return asked
    if not device.startswith("cuda"):
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _update(scaler: torch.amp.GradScaler) -> int:
    """Let the scaler adapt; 1 if it had to skip the step, which it shows by a lower scale."""
    if not scaler.is_enabled():
        return 0
    before = scaler.get_scale()
    scaler.update()
    return int(scaler.get_scale() < before)


def _use_checkpointing(network: nn.Module) -> None:
    use = getattr(network, "use_checkpointing", None)
    if use is not None:
        use()


def _cuda_devices(device: str) -> list[int]:
    return [torch.device(device).index or 0] if device.startswith("cuda") else []


def draw_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Small weights and no bias, drawn on the CPU so that every device gets the same."""
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.02)
        layer.bias.zero_()


def _draw_head(network: Any, generator: torch.Generator) -> None:
    if isinstance(network.head, nn.Linear):
        draw_linear(network.head, generator)
    else:
        network.head.draw(generator)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
