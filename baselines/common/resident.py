"""Clips on the device, as the bytes that they were stored as: each travels there once, not once a step.

A support of 8 base-size clips is 19 MB as uint8 and 77 MB as float32, so bytes are kept, and each step makes floats of
its own few clips on the device. Clips stay from one episode to the next, up to a share of the device's memory.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch

from benchmark.data.dataset import Clips

HOST_BYTES = 1 << 30
SHARE_OF_GPU = 1 / 8


class Resident:
    """Clips by the address of their frames, those used longest ago dropped first.

    Args:
        device: `cpu` or a CUDA device.
        most_bytes: what may be kept; default: 1 GiB of a CPU's memory, an eighth of a GPU's.
    """

    def __init__(self, device: str, most_bytes: int | None = None) -> None:
        self.device = device
        self.most_bytes = _usual_bytes(device) if most_bytes is None else most_bytes
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, clips: Clips) -> list[torch.Tensor]:
        """The clips in order, each (V, T, H, W, 3), uint8."""
        keys = clips.frame_keys
        if any(key not in self._kept for key in keys):
            for key, frames in zip(keys, clips.frames(), strict=True):
                if key not in self._kept:
                    self._kept[key] = torch.from_numpy(np.array(frames)).to(self.device)
                    self._bytes += frames.nbytes
        found = [self._kept[key] for key in keys]
        for key in keys:
            self._kept.move_to_end(key)
        while self._bytes > self.most_bytes and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return found


def _usual_bytes(device: str) -> int:
    if not device.startswith("cuda"):
        return HOST_BYTES
    return int(torch.cuda.get_device_properties(device).total_memory * SHARE_OF_GPU)
