"""Stage 1: continue VideoMAE's masked reconstruction on rodent and human video (arXiv 2603.12887, section 3).

    clips set aside for pre-training -> tube masks -> mean squared error on the masked patches -> a checkpoint

A checkpoint is named by all that it follows from (clips, settings, initial weights, seed, device, code), so the next
run finds it and trains nothing. It is a `save_pretrained` folder: anyone can load it with transformers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from pydantic import Field
from transformers import VideoMAEForPreTraining

from baselines.common import batches
from baselines.common.weights import digest_of_state
from baselines.videomae import encoder, masking
from baselines.videomae.encoder import (
    VideoMAESettings,
    all_tokens,
    pretraining_network,
    videomae_config,
    videomae_input,
)
from benchmark.baseline import Context, Input, Scale
from benchmark.data.dataset import PretrainClips
from benchmark.files import replacing, sha256_of


class Stage1Settings(VideoMAESettings):
    """The paper's values where it gives them (mask ratio, optimiser, rate); epochs and batch size are ours."""

    mask_ratio: float = Field(default=0.3, gt=0, lt=1)
    stage1_epochs: int = Field(default=20, ge=1, le=100_000)
    stage1_lr: float = Field(default=1e-4, gt=0, le=1)
    stage1_batch_size: int = Field(default=16, ge=1, le=4096)
    norm_pix_loss: bool = Field(default=True, description="normalise each target patch, as upstream does")


@dataclass(frozen=True)
class Checkpoint:
    """A finished stage 1: its folder and the sha256 of its weights."""

    folder: Path
    weights: str


def stage1_input(scale: Scale) -> Input:
    """Three views a clip, of which each epoch draws one: a rodent clip lasts 10 s, a view 1 to 2 s."""
    return videomae_input(scale, "several")


def pretrained(settings: Stage1Settings, scale: Scale, context: Context) -> Checkpoint:
    """The checkpoint of stage 1 on the data's pre-training clips: from the cache, or trained now."""
    return pretrain(settings, scale, context, context.pretraining(stage1_input(scale).sampling))


def pretrain(settings: Stage1Settings, scale: Scale, context: Context, clips: PretrainClips) -> Checkpoint:
    """Train stage 1 on `clips`, or find it in the cache. A second process that wants the same one waits for it."""
    network = pretraining_network(scale, context.weights, context.seed)
    network.config.norm_pix_loss = settings.norm_pix_loss
    facts = _facts(settings, scale, context, clips, network)
    folder = context.cache / "stage1" / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "stage1.json").is_file():
            losses = _train(network.to(context.device), settings, scale, context, clips)
            with replacing(folder) as temporary:
                network.save_pretrained(temporary)
                card = {**facts, "losses": losses, "subjects": sorted(set(clips.subjects)), "clips": list(clips.ids)}
                (temporary / "stage1.json").write_text(json.dumps(card, indent=1, sort_keys=True), encoding="utf-8")
    return Checkpoint(folder, sha256_of(folder / "model.safetensors"))


def stage1_flop(settings: Stage1Settings, scale: Scale, clips: int) -> float:
    """FLOP of stage 1: forward and backward (three forwards) over visible tokens, decoder over all."""
    config = videomae_config(scale)
    slots = config.num_frames // config.tubelet_size
    patches = all_tokens(config) // slots
    visible = slots * (patches - int(settings.mask_ratio * patches))
    decoder = encoder.transformer_flop(
        slots * patches,
        config.decoder_hidden_size,
        config.decoder_intermediate_size,
        config.decoder_num_hidden_layers,
    )
    return 3 * settings.stage1_epochs * clips * (encoder.encoder_flop(scale, visible) + decoder)


def _facts(
    settings: Stage1Settings, scale: Scale, context: Context, clips: PretrainClips, network: VideoMAEForPreTraining
) -> dict[str, Any]:
    """Whatever the final weights follow from."""
    code = [Path(module.__file__ or "").read_bytes() for module in (encoder, masking, batches)]
    code.append(Path(__file__).read_bytes())
    own = Stage1Settings.model_fields.keys() - VideoMAESettings.model_fields.keys()
    return {
        "settings": settings.model_dump(mode="json", include=set(own)),
        "size": scale.size,
        "init": scale.init,
        "initial_weights": digest_of_state(network.state_dict()),
        "frames": hashlib.sha256("".join(clips.frame_keys).encode()).hexdigest(),
        "seed": context.seed,
        "device": context.device.split(":")[0],
        "threads": context.threads,
        "code": hashlib.sha256(b"\0".join(code)).hexdigest(),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
    }


def _train(
    network: VideoMAEForPreTraining, settings: Stage1Settings, scale: Scale, context: Context, clips: PretrainClips
) -> list[float]:
    """Train in place; the mean loss of each epoch."""
    wanted, frames = stage1_input(scale), clips.frames()
    slots = network.config.num_frames // network.config.tubelet_size
    patches = all_tokens(network.config) // slots
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.stage1_lr)
    bf16 = context.device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    if context.device.startswith("cuda"):
        network.activation_checkpointing_enable({"use_reentrant": False})
    network.train()
    losses = []
    with context.progress.track("stage 1 (clips)", settings.stage1_epochs * len(frames)) as advance:
        for epoch in range(settings.stage1_epochs):
            order = np.random.default_rng([context.seed, epoch]).permutation(len(frames))
            total, seen = 0.0, 0
            for first in range(0, len(order), settings.stage1_batch_size):
                samples = order[first : first + settings.stage1_batch_size]
                views = [frames[i][_view(len(frames[i]), context.seed, epoch, int(i))] for i in samples]
                masks = [
                    masking.tube_mask(settings.mask_ratio, slots, patches, context.seed, epoch, int(i)) for i in samples
                ]
                batch = batches.to_batch(views, wanted, context.device)
                with torch.autocast(context.device.split(":")[0], dtype=torch.bfloat16, enabled=bf16):
                    loss = network(batch, torch.from_numpy(np.stack(masks)).to(context.device)).loss
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total, seen = total + loss.item() * len(samples), seen + len(samples)
                advance(epoch * len(frames) + seen)
            losses.append(total / len(frames))
    return losses


def _view(views: int, seed: int, epoch: int, sample: int) -> int:
    """Which view of a clip an epoch sees; the 1 keeps this draw apart from the mask's."""
    return int(np.random.default_rng([seed, epoch, sample, 1]).integers(views))
