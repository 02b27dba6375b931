"""What the convolutional adapters share: a backbone from its own library, our head, and published weights in it.

    ClipNet          backbone (batch -> one feature a clip) and a linear head
    ConvNet          base of the adapters: a subclass gives `network` and `load`
    conv_input       at --size tiny every network reads VideoMAE's tiny frames, so a clip is decoded once for all
    importing        a library that cannot be imported costs its adapters alone, and a sentence says so

The backbones are built by their libraries' own functions and changed in two places: the published classifier is left
out, and so is the dropout before it, which VideoMAE's head does not have either (one recipe for every network).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from baselines.common.finetune import FineTuned, FinetuneSettings, batch_shape, seeded
from baselines.common.weights import load_strictly, read_state
from benchmark.baseline import Input, Scale
from benchmark.data.frames import Sampling
from benchmark.data.picture import Rule
from benchmark.weights.catalogue import PublishedWeights, catalogue
from tasks.errors import BadInput

TINY_FRAMES, TINY_SIZE, TINY_SPACING_S = 16, 64, 2 / 15


class ConvSettings(FinetuneSettings):
    """Which part of the window is looked at, and how the network is fine-tuned."""

    place: Literal["last", "centre", "uniform", "several"] = "last"


class ClipNet(nn.Module):
    """A backbone and a linear head: one logit a clip, (N,).

    Args:
        backbone: takes a batch as `Input` describes, gives features (N, width).
        width: of a feature.
        blocks: the backbone's residual blocks, each from one tensor to one; `use_checkpointing` recomputes these.
        layout: how a batch lies in memory. On a CPU, depth-wise convolutions train 1.5 times as fast with the
            channels last; the published sizes keep their libraries' layout, and with it their bits.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        blocks: Iterable[nn.Module],
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, 1)
        self._blocks, self._layout = tuple(blocks), layout

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """One feature a clip, (N, width)."""
        found: torch.Tensor = self.backbone(batch.contiguous(memory_format=self._layout))
        return found

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(batch)).squeeze(-1)
        return logits

    def use_checkpointing(self) -> None:
        """Recompute each residual block's activations in the backward pass. The blocks draw no random numbers."""
        for block in self._blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


class ConvNet(FineTuned):
    """Base of the convolutional adapters.

    Args:
        settings: of the adapter.
        scale: size and initial weights.
        published_input: what the published network was trained on.
        weights: the name of its weights in the catalogue.
    """

    def __init__(self, settings: ConvSettings, scale: Scale, published_input: Input, weights: str) -> None:
        super().__init__(settings, scale)
        self.input = conv_input(scale, settings.place, published_input)
        self._weights = weights

    @property
    def published(self) -> PublishedWeights | None:
        """The catalogue's entry, unless the weights are random."""
        return None if self.scale.init == "random" else catalogue()[self._weights]

    def network(self) -> ClipNet:
        """The network at this scale, with weights drawn from torch's generator."""
        raise NotImplementedError

    def load(self, network: ClipNet, path: Path) -> None:
        """Put the published weights into a network of the published size."""
        raise NotImplementedError

    def build(self, weights: Path | None, seed: int) -> ClipNet:
        """The network before any training of ours; the head, and what no file holds, is drawn from the seed.

        Raises:
            BadInput: a tensor is missing, left over or of another shape, or the library cannot be imported.
        """
        assert weights or self.scale.init == "random", "a row would tell of weights that were not used"
        with seeded(seed):
            network = self.network()
        if weights is not None:
            self.load(network, weights)
        return network.eval()

    def card(self) -> dict[str, str]:
        """Place and variant, besides what every fine-tuned network says."""
        return {**self.settings.model_dump(include={"variant", "place"}), **super().card()}

    @cached_property
    def _flop(self) -> float:
        with seeded(0), torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            self.network().eval()(torch.empty(batch_shape(self.input)))
        return float(counter.get_total_flops())


def open_branches(backbone: nn.Module) -> None:
    """Let every residual branch of a new pytorchvideo network take part from the first step on.

    pytorchvideo starts the last norm of each branch at 0, which suits its hundred thousands of steps. The few dozen of
    a few-shot training would end before such branches have woken.
    """
    for module in backbone.modules():
        if isinstance(module, _BatchNorm) and getattr(module, "block_final_bn", False):
            nn.init.ones_(module.weight)


def conv_input(scale: Scale, place: Literal["last", "centre", "uniform", "several"], published: Input) -> Input:
    """The published input with its frames placed as the settings say, or, at tiny, VideoMAE's tiny frames."""
    theirs = published.sampling
    if scale.size == "tiny":
        sampling = Sampling(TINY_FRAMES, TINY_SPACING_S, place, TINY_SIZE)
    else:
        sampling = Sampling(theirs.frames, theirs.spacing_s, place, theirs.size, theirs.short_side, theirs.rule)
    return Input(sampling, published.mean, published.std, published.layout)


def published_input(
    frames: int,
    stride: int,
    sizes: tuple[int, int],
    rule: Rule,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    layout: Literal["TCHW", "CTHW"] = "CTHW",
) -> Input:
    """As model zoos state it: frames x stride at 30 frames a second; the centre square, and the short side it is of."""
    return Input(Sampling(frames, stride / 30, "last", *sizes, rule), mean, std, layout)


def fill(network: nn.Module, path: Path, under: str | None, dropped: Collection[str]) -> None:
    """Load a published file into the part of a network that it holds.

    Files from before torch counted batches lack the batch norms' counters. torch, mmengine and pytorchvideo load them
    all the same, and so does this: a counter has no part in what a network computes.

    Args:
        network: its state has the file's names.
        path: the file.
        under: the key that the tensors lie under, if any.
        dropped: names of the published classifier's tensors.

    Raises:
        BadInput: as `read_state` and `load_strictly`.
    """
    state = read_state(path, under)
    load_strictly(network, {**_counters(network), **state}, path, dropped)


def _counters(network: nn.Module) -> Mapping[str, torch.Tensor]:
    norms = [name for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    return {f"{name}.num_batches_tracked": torch.tensor(0) for name in norms}


@contextmanager
def importing(library: str) -> Iterator[None]:
    """Import and build inside: a library that fails at import becomes a sentence. Its warnings are not shown.

    Raises:
        BadInput: the library is missing or broken.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImportError, RuntimeError) as error:
        raise BadInput(
            f"{library} cannot be imported ({' '.join(str(error).split())[:200]}); run `make setup`, or choose another "
            "--model"
        ) from error
