"""Frozen features, each computed once: one small file a clip, named by everything that can change it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.files import replacing

Frames = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class FeatureStore:
    """Vectors under `root`, by the key of the encoder and the key of the clip's frames."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fetch(
        self,
        encoder: str,
        frame_keys: Sequence[str],
        open_frames: Callable[[str], Frames],
        embed: Callable[[Sequence[Frames]], Vectors],
    ) -> Vectors:
        """Features (N, D) of the clips, in order; those not yet there are computed and kept.

        Each clip is embedded by itself: in a batch, rounding would depend on which neighbours were missing, and
        a resumed run would differ in its last bits from an undisturbed one.
        """
        return np.stack([self._one(encoder, key, open_frames, embed) for key in frame_keys])

    def _one(
        self,
        encoder: str,
        frame_key: str,
        open_frames: Callable[[str], Frames],
        embed: Callable[[Sequence[Frames]], Vectors],
    ) -> Vectors:
        key = hashlib.sha256(json.dumps([encoder, frame_key]).encode()).hexdigest()
        path = self.root / key[:2] / f"{key}.npy"
        if path.is_file():
            try:
                stored: Vectors = np.load(path, allow_pickle=False)
                return stored
            except (OSError, ValueError):
                path.unlink(missing_ok=True)
        vector: Vectors = np.asarray(embed([open_frames(frame_key)])[0], dtype=np.float32)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, vector, allow_pickle=False)
        return vector
