"""From stored uint8 frames to what a network takes, and the augmentations on the way.

views (T, H, W, 3) uint8 -> [crop and flip, one draw a clip] -> float, normalised -> (N, T, 3, H, W) or (N, 3, T, H, W)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from benchmark.baseline import Input

View = NDArray[np.uint8]


def to_batch(views: Sequence[View], wanted: Input, device: str) -> torch.Tensor:
    """Stack views (T, H, W, 3) into a normalised float32 batch, (N, T, 3, H, W) or (N, 3, T, H, W) by layout."""
    return normalised(torch.from_numpy(np.stack(views)).to(device).permute(0, 1, 4, 2, 3), wanted)


def batch_of(views: Sequence[torch.Tensor], wanted: Input) -> torch.Tensor:
    """The same of views (T, H, W, 3), uint8, that are on the device."""
    return normalised(torch.stack(list(views)).permute(0, 1, 4, 2, 3), wanted)


def augmented_batch(
    views: Sequence[torch.Tensor], wanted: Input, generator: torch.Generator, smallest_crop: float, flip: bool
) -> torch.Tensor:
    """As `batch_of`, each clip (T, H, W, 3) cropped and mirrored at random, all its frames alike."""
    changed = [augmented(view.permute(0, 3, 1, 2), generator, smallest_crop, flip) for view in views]
    return normalised(torch.stack(changed), wanted)


def augmented(clip: torch.Tensor, generator: torch.Generator, smallest_crop: float, flip: bool) -> torch.Tensor:
    """A random square of a clip (T, 3, S, S), scaled back to S, and mirrored every other time; uint8 in and out.

    Args:
        clip: uint8.
        generator: the episode's own; the same four numbers are drawn whatever the settings.
        smallest_crop: the square's least area as a share of the picture, drawn evenly from there to 1. 1: no crop.
        flip: whether to mirror left and right with probability one half.

    Source: the random resized crop of Szegedy et al. 2015 at a fixed aspect ratio, as video networks are trained.
    """
    side = clip.shape[-1]
    area, down, along, mirror = torch.rand(4, generator=generator).tolist()
    kept = max(1, round(side * math.sqrt(smallest_crop + area * (1 - smallest_crop))))
    if kept < side:
        top, left = int(down * (side - kept + 1)), int(along * (side - kept + 1))
        square = clip[:, :, top : top + kept, left : left + kept]
        clip = interpolate(square.float(), size=(side, side), mode="bilinear").round_().to(torch.uint8)
    return clip.flip(-1) if flip and mirror < 0.5 else clip


def normalised(frames: torch.Tensor, wanted: Input) -> torch.Tensor:
    """uint8 (N, T, 3, H, W) as float32, normalised, in the network's layout."""
    mean, std = _constants(wanted.mean, wanted.std, frames.device)
    batch = frames.float().div_(255).sub_(mean).div_(std)
    return batch if wanted.layout == "TCHW" else batch.transpose(1, 2).contiguous()


@lru_cache(maxsize=64)  # made in each step, each would make a GPU wait for the host
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode(False):  # what was made in inference mode cannot serve a training
        return tuple(torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))  # type: ignore[return-value]
