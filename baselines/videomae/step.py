"""The step of stage 1: VideoMAE's reconstruction loss, and nothing computed that the loss does not need.

    uint8 frames -> patches -> visible ones -> encoder -> + places of the masked ones -> decoder -> loss of each clip

The parameters are those of transformers' `VideoMAEForPreTraining` and the loss is its loss. What it computes and
nobody reads is left out (docs/performance.md counts it):

    embedding   of visible patches alone, a matrix product; it convolves all and drops the masked ones
    target      of masked patches alone, from the same bytes; it normalises all, from pixels already normalised
    decoder     the last layer asks for masked tokens alone; their keys and values still come from all
    attention   bfloat16 on a CPU: one matrix product a head (attention.py); torch's fused kernel elsewhere
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear
from torch.utils.checkpoint import checkpoint
from transformers import VideoMAEConfig, VideoMAEForPreTraining
from transformers.models.videomae.modeling_videomae import VideoMAELayer, VideoMAESelfAttention

from baselines.videomae.attention import attend
from baselines.videomae.encoder import all_tokens
from benchmark.baseline import IMAGENET_MEAN, IMAGENET_STD
from tasks.errors import BadInput

COVERED = {
    "num_channels": 3,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


class Reconstruction(nn.Module):
    """Losses of clips by `network`, whose parameters are the only ones: `network.save_pretrained` gives the weights.

    Args:
        network: trained in place.
        checkpointing: recompute each layer in the backward pass instead of keeping what is in it.
        compiled: run each layer through torch.compile. Layer by layer: twelve equal layers are compiled once, and
            under DDP a layer's gradients are sent while the next is computed.

    The two buffers are constants: DDP need not send them round (`broadcast_buffers=False`).

    Raises:
        BadInput: the configuration asks for what is not written here, such as dropout.
    """

    places: Tensor
    decoder_places: Tensor

    def __init__(self, network: VideoMAEForPreTraining, checkpointing: bool = False, compiled: bool = False) -> None:
        super().__init__()
        for key, right in COVERED.items():
            if getattr(network.config, key) != right:
                raise BadInput(f"VideoMAE: {key} is {getattr(network.config, key)!r}; stage 1 is written for {right!r}")
        self.network, self.checkpointing = network, checkpointing
        self.layer = torch.compile(_layer, dynamic=False) if compiled else _layer
        # transformers keeps them on the CPU and copies them to the device in each step
        self.register_buffer("places", network.videomae.embeddings.position_embeddings.clone(), persistent=False)
        self.register_buffer("decoder_places", network.position_embeddings.clone(), persistent=False)

    def forward(self, frames: Tensor, masked: Tensor, count: int | None = None) -> Tensor:
        """The mean squared error over each clip's masked patches, (N,), float32.

        Args:
            frames: uint8 (N, T, S, S, 3), RGB; normalised here, by ImageNet's statistics.
            masked: bool (N, tokens), True = masked, equally often in each row. May stay on the CPU.
            count: of masked tokens in a row. Without it they are counted, and masks on a GPU must be waited for.

        Under autocast the target and the loss stay float32.

        Raises:
            BadInput: one clip has more masked tokens than another.
        """
        config, model = self.network.config, self.network.videomae
        _check_shapes(frames, masked, config)
        visible, hidden = (part.to(frames.device, non_blocking=True) for part in split_tokens(masked, count))
        patches = patched(frames, config)
        seen = _normalised(_taken(patches, visible))
        tokens = _embedded(seen, model.embeddings.patch_embeddings.projection) + _taken(self.places, visible)
        for layer in model.encoder.layer:
            tokens = self._run(layer, tokens)
        if model.layernorm is not None:
            tokens = model.layernorm(tokens)
        tokens = self.network.encoder_to_decoder(tokens) + _taken(self.decoder_places, visible)
        tokens = torch.cat([tokens, self.network.mask_token + _taken(self.decoder_places, hidden)], dim=1)
        decoder = self.network.decoder
        for layer in decoder.decoder_layers[:-1]:
            tokens = self._run(layer, tokens)
        tokens = self._run(decoder.decoder_layers[-1], tokens, asking=hidden.shape[1])
        rebuilt = decoder.head(decoder.norm(tokens))
        return (rebuilt.float() - targets(_taken(patches, hidden), config.norm_pix_loss)).square().mean(dim=(1, 2))

    def _run(self, layer: VideoMAELayer, tokens: Tensor, asking: int | None = None) -> Tensor:
        if self.checkpointing and self.training:
            return checkpoint(self.layer, layer, tokens, asking, use_reentrant=False)
        return self.layer(layer, tokens, asking)


def _layer(layer: VideoMAELayer, tokens: Tensor, asking: int | None = None) -> Tensor:
    """`VideoMAELayer.forward`, with the outputs of the last `asking` tokens alone. (N, T, D) to (N, asking, D)."""
    attention = layer.attention.attention
    first = 0 if asking is None else tokens.shape[1] - asking
    normed = layer.layernorm_before(tokens)
    query = _heads(attention.query(normed[:, first:]), attention)
    key, value = _heads(attention.key(normed), attention), _heads(attention.value(normed), attention)
    mixed = attend(query, key, value).flatten(2)
    tokens = tokens[:, first:] + layer.attention.output.dense(mixed)
    inner = gelu(layer.intermediate.dense(layer.layernorm_after(tokens)))
    return tokens + layer.output.dense(inner)


def _heads(projected: Tensor, attention: VideoMAESelfAttention) -> Tensor:
    return projected.unflatten(-1, (attention.num_attention_heads, -1))


def split_tokens(masked: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Indices (N, V) of the visible tokens and (N, M) of the masked ones, each ascending.

    Raises:
        BadInput: one row has more masked tokens than another, or none. Rows on a GPU are not looked at where `count`
            is given.
    """
    if count is None or masked.device.type == "cpu":
        counts = masked.sum(dim=1)
        count = int(counts[0]) if count is None else count
        if not 0 < count < masked.shape[1] or (counts != count).any():
            raise BadInput(
                f"masks: {counts.tolist()} of {masked.shape[1]} tokens are masked; mask as many in each clip, neither "
                "none nor all (--set mask_ratio)"
            )
    order = masked.to(torch.uint8).argsort(dim=1, stable=True)
    return order.split([masked.shape[1] - count, count], dim=1)


def patched(frames: Tensor, config: VideoMAEConfig) -> Tensor:
    """Frames (N, T, S, S, 3) by token, (N, tokens, tubelet x patch x patch x 3): frame, row, column, colour."""
    tubelet, side = config.tubelet_size, config.patch_size
    cut = frames.unflatten(3, (-1, side)).unflatten(2, (-1, side)).unflatten(1, (-1, tubelet))
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4).flatten(1, 3)


def targets(patches: Tensor, norm_pix_loss: bool) -> Tensor:
    """What is to be rebuilt of uint8 patches (N, M, P): values in 0-1, or each colour of a patch at mean 0, variance 1.

    Source: He et al. 2022, section 3 (unbiased variance, as VideoMAE has it).
    """
    pixels = patches.unflatten(-1, (-1, 3)).float() / 255
    if norm_pix_loss:
        variance, mean = torch.var_mean(pixels, dim=-2, keepdim=True)
        pixels = (pixels - mean) / (variance.sqrt() + 1e-6)
    return pixels.flatten(-2)


def _taken(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (N or 1, tokens, P) at `index` (N, M): (N, M, P)."""
    clips = torch.arange(len(index), device=index.device)[:, None] if len(rows) > 1 else 0
    return rows[clips, index]


def _normalised(patches: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, device=patches.device) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((patches.unflatten(-1, (-1, 3)).float() / 255 - mean) / std).flatten(-2)


def _embedded(patches: Tensor, projection: nn.Conv3d) -> Tensor:
    """The convolution whose stride is its kernel, as the product that it is; the kernel's colour goes last."""
    return linear(patches, projection.weight.permute(0, 2, 3, 4, 1).flatten(1), projection.bias)


def _check_shapes(frames: Tensor, masked: Tensor, config: VideoMAEConfig) -> None:
    """Else frames of another size would be cut into the wrong patches without a word."""
    side = config.image_size
    expected = (len(frames), config.num_frames, side, side, 3), (len(frames), all_tokens(config))
    if (tuple(frames.shape), tuple(masked.shape)) != expected or frames.dtype != torch.uint8:
        found = f"{frames.dtype} {tuple(frames.shape)}, {tuple(masked.shape)}"
        raise ValueError(f"frames and masks are {found}; expected are torch.uint8 {expected[0]}, {expected[1]}")


@dataclass(frozen=True)
class StepFlop:
    """FLOP of one clip, two a multiply-add, matrix products alone: forward, and forward with backward.

    What is computed twice (checkpointing, the weights in fused attention) counts once.
    """

    forward: float
    training: float


def step_flop(config: VideoMAEConfig, ratio: float) -> StepFlop:
    """Of `Reconstruction`."""
    visible, hidden = token_counts(config, ratio)
    return _flop(config, visible, hidden, embedded=visible, asking=hidden)


def stock_flop(config: VideoMAEConfig, ratio: float) -> StepFlop:
    """Of `VideoMAEForPreTraining` on the same clip."""
    visible, hidden = token_counts(config, ratio)
    return _flop(config, visible, hidden, embedded=visible + hidden, asking=visible + hidden)


def token_counts(config: VideoMAEConfig, ratio: float) -> tuple[int, int]:
    """Visible and masked tokens of a clip under a tube mask."""
    slots = config.num_frames // config.tubelet_size
    patches = all_tokens(config) // slots
    hidden = slots * int(ratio * patches)
    return slots * patches - hidden, hidden


def _flop(config: VideoMAEConfig, visible: int, hidden: int, embedded: int, asking: int) -> StepFlop:
    width, narrow = config.hidden_size, config.decoder_hidden_size
    pixels = 3 * config.tubelet_size * config.patch_size**2
    every = visible + hidden
    embedding = 2.0 * embedded * pixels * width  # no gradient goes to the pixels: one product in the backward pass
    others = config.num_hidden_layers * _layer_flop(visible, visible, width, config.intermediate_size)
    others += 2.0 * visible * width * narrow
    for asked in [every] * (config.decoder_num_hidden_layers - 1) + [asking]:
        others += _layer_flop(asked, every, narrow, config.decoder_intermediate_size)
    others += 2.0 * hidden * narrow * pixels
    return StepFlop(forward=embedding + others, training=2 * embedding + 3 * others)


def _layer_flop(asking: int, tokens: int, width: int, inner: int) -> float:
    """Query and output of the asking, key and value of all; scores and mixing; the MLP of the asking."""
    return 4.0 * (asking + tokens) * width**2 + 4.0 * asking * tokens * width + 4.0 * asking * width * inner
