"""A frozen encoder as the harness wants it: a key for its features, and the features of a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.common.batches import to_batch
from baselines.videomae.encoder import Encoder
from benchmark.baseline import Input


class FrozenEncoder:
    """Features of clips, float32 whatever the device, averaged over a clip's views."""

    def __init__(self, encoder: Encoder, weights: str, wanted: Input, device: str, threads: int) -> None:
        self.encoder = encoder.to(device).eval()
        self.weights, self.input, self.device, self.threads = weights, wanted, device, threads

    @cached_property
    def embedding_key(self) -> str:
        versions = [version("torch"), version("transformers")]
        where = [self.device.split(":")[0], self.threads]
        look = [self.encoder.pool, self.input.mean, self.input.std, self.input.layout]
        return json.dumps([self.weights, versions, where, look])

    @torch.inference_mode()
    def embed(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batch = to_batch([view for clip in frames for view in clip], self.input, self.device)
        features = self.encoder(batch).float().cpu().numpy()
        means: NDArray[np.float32] = features.reshape(len(frames), -1, features.shape[-1]).mean(axis=1)
        return means
