"""The VideoMAE encoder at both sizes: its configuration, its weights, its input and one feature a clip.

    tiny   64 px, width 192, depth 4: 2.1 M parameters, random initial weights, for CPUs and the demo
    base   224 px, ViT-B: the published network, from its published checkpoint
Both read 16 frames. The spacing is 2/15 s (tiny) and 2/30 s (base, "stride 2 at 30 fps" in arXiv 2603.12887).

The network is always built from the configuration below. A checkpoint's `config.json` is held against it and decides
nothing; its tensors go into their places one by one, and what is missing, left over or different is an error.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import torch
from packaging.version import Version
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel
from transformers.utils.logging import disable_progress_bar

from baselines.common.finetune import draw_linear, seeded
from baselines.common.weights import State, load_strictly, read_state
from benchmark.baseline import BaselineSettings, Input, Scale, Size
from benchmark.data.frames import Sampling
from benchmark.weights.catalogue import PublishedWeights, catalogue
from tasks.errors import BadInput

Pool = Literal["mean", "first"]
Head = Literal["linear", "temporal-attention"]
Network = TypeVar("Network", bound=nn.Module)
PUBLISHED = {"k400-ssl": "videomae-base", "k400": "videomae-base-finetuned-kinetics"}
FAULTY_TRANSFORMERS = Version("5.5.4"), Version("5.18")  # from, up to and without: transformers#48675
FULL = {"q": "query.bias", "v": "value.bias"}
STAGE_1_AGAIN = "remove its folder, and stage 1 is trained again"
PARTS = {
    VideoMAEForPreTraining: "with a decoder and videomae.layernorm",
    VideoMAEForVideoClassification: "with fc_norm and a classifier",
}
# What decides on the function that a network computes; the published files say qkv_bias for qv_bias.
DECIDING = (
    *("image_size", "patch_size", "num_channels", "num_frames", "tubelet_size", "hidden_size", "num_hidden_layers"),
    *("num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("layer_norm_eps", "qv_bias", "use_mean_pooling", "decoder_num_attention_heads", "decoder_hidden_size"),
    *("decoder_num_hidden_layers", "decoder_intermediate_size"),
)
TINY = {
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
disable_progress_bar()  # ours tell what takes long; writing four layers does not


class VideoMAESettings(BaselineSettings):
    """Which part of the window is looked at, and how its tokens become one feature."""

    place: Literal["last", "centre", "uniform", "several"] = "last"
    pool: Pool = Field(default="mean", description="mean over tokens (VideoMAE's own), or token 0 (paper-literal)")


class HeadSettings(VideoMAESettings):
    """What stands on an encoder that is fine-tuned."""

    head: Head = Field(default="linear", description="on the pooled feature (the paper's), or attention over time")

    @model_validator(mode="after")
    def _attention_needs_a_feature_at_every_time(self) -> Self:
        if self.head == "temporal-attention" and self.pool == "first":
            raise ValueError(
                "pool=first takes one token of one place and time, and head=temporal-attention looks at all times: "
                "leave pool at mean"
            )
        return self


def videomae_input(scale: Scale, place: Literal["last", "centre", "uniform", "several"]) -> Input:
    """16 frames, normalised by ImageNet's statistics: the reconstruction target un-normalises by them."""
    size, spacing_s = (64, 2 / 15) if scale.size == "tiny" else (224, 2 / 30)
    return Input(Sampling(frames=16, spacing_s=spacing_s, place=place, size=size))


def videomae_weights(scale: Scale) -> PublishedWeights | None:
    """The published checkpoint that a scale starts from."""
    return catalogue()[PUBLISHED[scale.init]] if scale.init in PUBLISHED else None


def videomae_config(scale: Scale) -> VideoMAEConfig:
    """The network that a scale starts from: of the published ones, only the one fine-tuned on labels pools first.

    `use_mean_pooling=False` keeps the final layer norm in pre-training.
    """
    kind = {"use_mean_pooling": True, "num_labels": 400} if scale.init == "k400" else {"use_mean_pooling": False}
    shape = TINY if scale.size == "tiny" else {}  # ViT-B is the default of transformers
    return VideoMAEConfig(num_frames=16, attn_implementation="sdpa", **kind, **shape)


def pretraining_network(scale: Scale, weights: Path | None, seed: int) -> VideoMAEForPreTraining:
    """Encoder and decoder, to be trained further; of the published checkpoints only the self-supervised one has both.

    Raises:
        BadInput: the weights are missing, incomplete or others.
    """
    if scale.init not in PUBLISHED:
        with seeded(seed):
            return VideoMAEForPreTraining(videomae_config(scale))
    return _published(VideoMAEForPreTraining, scale, weights)


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

    @property
    def slots(self) -> int:
        """How many times the encoder tells apart: a token covers two frames."""
        return int(self.backbone.config.num_frames // self.backbone.config.tubelet_size)

    def over_time(self, batch: torch.Tensor) -> torch.Tensor:
        """One feature a time slot, in order, (N, slots, D): the mean over its patches, normalised as a clip's is."""
        tokens = self.backbone(batch).last_hidden_state
        features: torch.Tensor = self.fc_norm(tokens.unflatten(1, (self.slots, -1)).mean(dim=2))
        return features


class TemporalAttention(nn.Module):
    """Features over time (N, slots, D) to one logit, (N, 1): a learned query asks which times matter.

    A time's key is its normalised feature plus a learned position, its value the feature alone. There are no further
    projections: those of one query and one logit would fold into `query` and `linear`, and a support has 4 to 8 clips.
    It begins as nearly the mean over time, since the query is drawn small.
    """

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Parameter(torch.zeros(slots, width))
        self.query = nn.Parameter(torch.zeros(1, width))
        self.linear = nn.Linear(width, 1)

    def draw(self, generator: torch.Generator) -> None:
        """New parameters, nothing kept of the old; positions as large as the features that they are added to."""
        with torch.no_grad():
            self.norm.reset_parameters()
            self.time.copy_(torch.randn(self.time.shape, generator=generator))
            self.query.copy_(torch.randn(self.query.shape, generator=generator) * 0.02)
        draw_linear(self.linear, generator)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        values = self.norm(features)
        query = self.query.expand(len(features), -1, -1)
        seen = functional.scaled_dot_product_attention(query, values + self.time, values)
        logits: torch.Tensor = self.linear(seen.squeeze(1))
        return logits


class ClipClassifier(nn.Module):
    """The encoder and a head: one logit a clip, (N,)."""

    def __init__(self, encoder: Encoder, head: Head = "linear") -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, 1) if head == "linear" else TemporalAttention(encoder.width, encoder.slots)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        features = self.encoder(batch) if isinstance(self.head, nn.Linear) else self.encoder.over_time(batch)
        logits: torch.Tensor = self.head(features).squeeze(-1)
        return logits

    def use_checkpointing(self) -> None:
        """Recompute each layer's activations in the backward pass."""
        self.encoder.backbone.activation_checkpointing_enable({"use_reentrant": False})


def initial_encoder(scale: Scale, weights: Path | None, seed: int, pool: Pool) -> Encoder:
    """The encoder before any training of ours.

    Raises:
        BadInput: the weights are missing, incomplete or others.
    """
    if scale.init == "k400":
        classifier = _published(VideoMAEForVideoClassification, scale, weights)
        return Encoder(classifier.videomae, classifier.fc_norm, pool)
    return Encoder(pretraining_network(scale, weights, seed).videomae, None, pool)


def stage1_encoder(checkpoint: Path, pool: Pool) -> Encoder:
    """The encoder of a checkpoint that `pretrain` wrote, of either size; its decoder is dropped.

    Raises:
        BadInput: the checkpoint is damaged or is none of ours.
    """
    described = _read_config(checkpoint / "config.json", STAGE_1_AGAIN)
    size: Size = "tiny" if described.get("hidden_size") == TINY["hidden_size"] else "base"
    config = videomae_config(Scale(size, "random", 0.0))
    weights = checkpoint / "model.safetensors"
    return Encoder(_checked_load(VideoMAEForPreTraining, config, weights, STAGE_1_AGAIN).videomae, None, pool)


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


def _published(model: type[Network], scale: Scale, weights: Path | None) -> Network:
    name = PUBLISHED[scale.init]
    if weights is None:
        raise BadInput(f"--init {scale.init}: the weights of {name} are not given; name their folder by --weights")
    return _checked_load(
        model,
        videomae_config(scale),
        weights,
        f"remove it and fetch the published files (`seizure-bench weights fetch {name}`)",
    )


def _checked_load(model: type[Network], config: VideoMAEConfig, weights: Path, remedy: str) -> Network:
    """Load every tensor or none: transformers would fill a hole with random numbers and only warn.

    Args:
        model: its class in transformers.
        config: what is built; the `config.json` beside the weights must say the same.
        weights: `model.safetensors`, the only file whose tensors are read.
        remedy: the end of the sentence.

    Raises:
        BadInput: tensors are missing, left over, of another shape or type, not finite, or the query biases are lost.
    """
    _refuse_faulty_transformers(version("transformers"))
    _check_config(weights.parent / "config.json", model, config, remedy)
    state = in_todays_names(read_state(weights, remedy=remedy), weights, remedy)
    inexact = sorted(name for name, tensor in state.items() if tensor.dtype != torch.float32)
    if inexact:
        raise BadInput(f"{weights}: {inexact[0]} is {state[inexact[0]].dtype}, float32 is published; {remedy}")
    with torch.device("meta"):  # draws no initial weights: all are replaced
        network = model(config)
    network.to_empty(device="cpu")
    load_strictly(network, state, weights, remedy=remedy)
    for kind in ("query", "value"):
        if not any(tensor.any() for name, tensor in state.items() if name.endswith(f"{kind}.bias")):
            raise BadInput(
                f"{weights}: every {kind} bias is zero, as transformers 5.5.4 to 5.17 leave a sound file; {remedy} "
                "(with transformers >= 5.18)"
            )
    return network.eval()


def in_todays_names(state: State, path: Path, remedy: str) -> State:
    """Published files say `q_bias` and `v_bias`, as transformers 4 did and 5.23 does; between, it said `query.bias`."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        today = re.sub(r"(?<=\.attention\.attention\.)([qv])_bias$", lambda found: FULL[found[1]], name)
        if today in renamed:
            raise BadInput(f"{path}: {today} is there twice, under its old and its new name; {remedy}")
        renamed[today] = tensor
    return renamed


def _read_config(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is no JSON ({' '.join(str(error).split())[:120]}); {remedy}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds no settings by name; {remedy}")
    return content


def _check_config(path: Path, model: type[nn.Module], wanted: VideoMAEConfig, remedy: str) -> None:
    """Refuse a `config.json` that describes another network than `wanted`, or asks for code of its own."""
    described = _read_config(path, remedy)
    if "auto_map" in described:
        raise BadInput(f"{path}: auto_map asks for code from elsewhere, and none was run; {remedy}")
    for key, right in (("model_type", "videomae"), ("architectures", [model.__name__])):
        if described.get(key, right) != right:
            found = f"{key} is {str(described[key])[:80]}"
            raise BadInput(f"{path}: {found}; wanted is a {model.__name__}, {PARTS[model]}; {remedy}")
    default = VideoMAEConfig()
    for key in DECIDING:
        published = described.get("qkv_bias" if key == "qv_bias" and key not in described else key)
        found = getattr(default, key) if published is None else published
        if found != getattr(wanted, key):
            raise BadInput(f"{path}: {key} is {repr(found)[:80]} and must be {getattr(wanted, key)!r}; {remedy}")


def _refuse_faulty_transformers(installed: str) -> None:
    first, after = FAULTY_TRANSFORMERS
    if first <= Version(installed) < after:
        raise BadInput(
            f"transformers {installed} loads VideoMAE's published weights with all query biases at zero; install "
            f"transformers >= {after} (`make setup`)"
        )
