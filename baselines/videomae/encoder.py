"""The VideoMAE encoder at both sizes: its configuration, its weights, its input and one feature a clip.

    tiny   64 px, width 192, depth 4: 1.9 M parameters, random initial weights, for CPUs and the demo
    base   224 px, ViT-B: the published network, from its published checkpoint
Both read 16 frames. The spacing is 2/15 s (tiny) and 2/30 s (base, "stride 2 at 30 fps" in arXiv 2603.12887).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal, TypeVar

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import nn
from transformers import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
)
from transformers.utils.logging import disable_progress_bar

from baselines.common.weights import videomae_folder
from benchmark.baseline import BaselineSettings, Input, Scale
from benchmark.data.frames import Sampling
from tasks.errors import BadInput

Pool = Literal["mean", "first"]
Network = TypeVar("Network", bound=nn.Module)
disable_progress_bar()  # ours tell what takes long; loading four layers does not


class VideoMAESettings(BaselineSettings):
    """Which part of the window is looked at, and how its tokens become one feature."""

    place: Literal["last", "centre", "uniform", "several"] = "last"
    pool: Pool = Field(default="mean", description="mean over tokens (VideoMAE's own), or token 0 (paper-literal)")


def videomae_input(scale: Scale, place: Literal["last", "centre", "uniform", "several"]) -> Input:
    """16 frames, normalised by ImageNet's statistics: the reconstruction target un-normalises by them."""
    size, spacing_s = (64, 2 / 15) if scale.size == "tiny" else (224, 2 / 30)
    return Input(Sampling(frames=16, spacing_s=spacing_s, place=place, size=size))


def videomae_config(scale: Scale) -> VideoMAEConfig:
    """For random initial weights. `use_mean_pooling=False` keeps the final layer norm in pre-training."""
    shape = (
        {
            "image_size": 64,
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "intermediate_size": 768,
            "decoder_hidden_size": 96,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 3,
            "decoder_intermediate_size": 384,
        }
        if scale.size == "tiny"
        else {}
    )
    return VideoMAEConfig(num_frames=16, use_mean_pooling=False, attn_implementation="sdpa", **shape)


def pretraining_network(scale: Scale, weights: Path | None, seed: int) -> VideoMAEForPreTraining:
    """Encoder and decoder, to be trained further.

    Raises:
        BadInput: the weights are missing, incomplete, or of a checkpoint without a decoder.
    """
    if scale.init == "random":
        with _seeded(seed):
            return VideoMAEForPreTraining(videomae_config(scale))
    if scale.init == "k400":
        raise BadInput(
            "--init k400: the fine-tuned checkpoint has no decoder, so stage 1 would train a random one; use "
            "--init k400-ssl"
        )
    folder = videomae_folder(weights, scale.init)
    return _checked_load(VideoMAEForPreTraining, folder)


class Encoder(nn.Module):
    """Frames (N, 16, 3, S, S) to one feature a clip, (N, D).

    A fine-tuned checkpoint pools first and normalises then (`fc_norm`); a self-supervised one the other way round.
    """

    def __init__(self, backbone: VideoMAEModel, fc_norm: nn.LayerNorm | None, pool: Pool) -> None:
        super().__init__()
        self.backbone, self.fc_norm, self.pool = backbone, fc_norm or nn.Identity(), pool

    @property
    def width(self) -> int:
        """D."""
        return int(self.backbone.config.hidden_size)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        tokens = self.backbone(batch).last_hidden_state
        pooled: torch.Tensor = self.fc_norm(tokens.mean(dim=1) if self.pool == "mean" else tokens[:, 0])
        return pooled


class ClipClassifier(nn.Module):
    """The encoder and a linear head: one logit a clip, (N,)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, 1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(batch)).squeeze(-1)
        return logits


def initial_encoder(scale: Scale, weights: Path | None, seed: int, pool: Pool) -> Encoder:
    """The encoder before any training of ours.

    Raises:
        BadInput: the weights are missing or incomplete.
    """
    if scale.init == "k400":
        folder = videomae_folder(weights, scale.init)
        classifier = _checked_load(VideoMAEForVideoClassification, folder)
        return Encoder(classifier.videomae, classifier.fc_norm, pool)
    return Encoder(pretraining_network(scale, weights, seed).videomae, None, pool)


def stage1_encoder(checkpoint: Path, pool: Pool) -> Encoder:
    """The encoder of a checkpoint that `pretrain` wrote; its decoder is dropped."""
    return Encoder(_checked_load(VideoMAEForPreTraining, checkpoint).videomae, None, pool)


def use_checkpointing(encoder: Encoder, device: str) -> None:
    """Trade arithmetic for memory on a GPU, as the paper does; on a CPU memory is not what runs out."""
    if device.startswith("cuda"):
        encoder.backbone.activation_checkpointing_enable({"use_reentrant": False})


def encoder_flop(scale: Scale, tokens: int | None = None) -> float:
    """FLOP of one forward pass of the encoder over `tokens` tokens (default: all)."""
    config = videomae_config(scale)
    count = all_tokens(config) if tokens is None else tokens
    return transformer_flop(count, config.hidden_size, config.intermediate_size, config.num_hidden_layers)


def all_tokens(config: VideoMAEConfig) -> int:
    """Tokens of one clip: (frames / tubelet) x (size / patch)^2."""
    return int(config.num_frames // config.tubelet_size * (config.image_size // config.patch_size) ** 2)


def transformer_flop(tokens: int, width: int, inner: int, depth: int) -> float:
    """Two FLOP a multiply-add: projections, attention and the MLP of each layer."""
    return depth * 2.0 * tokens * (4 * width**2 + 2 * tokens * width + 2 * width * inner)


def _checked_load(model: type[Network], folder: Path) -> Network:
    """Load every weight or none: transformers would fill a hole with random numbers and only warn.

    Raises:
        BadInput: keys are missing, left over or of another shape, or all query biases are zero, which is what a
            transformers release with the bias fault (#48675) makes of a sound file.
    """
    try:
        network, report = model.from_pretrained(  # type: ignore[attr-defined]
            folder,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            attn_implementation="sdpa",
            weights_only=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise BadInput(
            f"{folder}: cannot be loaded as a VideoMAE checkpoint ({' '.join(str(error).split())[:200]}); "
            "download it again"
        ) from error
    for what, keys in (
        ("missing", report["missing_keys"]),
        ("left over", report["unexpected_keys"]),
        ("of another shape", report["mismatched_keys"]),
    ):
        if keys:
            names = sorted(str(key) for key in keys)
            raise BadInput(
                f"{folder}: {len(names)} weights are {what} (first: {names[0]}); download the checkpoint again"
            )
    biases = [value for name, value in network.state_dict().items() if name.endswith(("query.bias", "q_bias"))]
    if biases and not any(value.any() for value in biases):
        raise BadInput(f"{folder}: every query bias is zero after loading; install transformers >= 5.18")
    network.eval()
    return network


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
