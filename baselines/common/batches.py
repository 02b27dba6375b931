"""From stored uint8 frames to what a network takes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.baseline import Input


def to_batch(views: list[NDArray[np.uint8]], wanted: Input, device: str) -> torch.Tensor:
    """Stack views (T, H, W, 3) into a normalised float32 batch, (N, T, 3, H, W) or (N, 3, T, H, W) by layout."""
    batch = torch.from_numpy(np.stack(views)).to(device).permute(0, 1, 4, 2, 3).float().div_(255)
    mean = torch.tensor(wanted.mean, device=device).view(3, 1, 1)
    std = torch.tensor(wanted.std, device=device).view(3, 1, 1)
    batch = batch.sub_(mean).div_(std)
    return batch if wanted.layout == "TCHW" else batch.transpose(1, 2).contiguous()
