"""Frozen features, each computed once and read once: one small file a clip, named by everything that can change it.

A process keeps what it has read or computed, up to MEMORY bytes: over hundreds of episodes on one pool of clips a
method's features are then a table in memory, and what an episode costs is its classifier.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.files import replacing

Frames = NDArray[np.uint8]
Vectors = NDArray[np.float32]


MEMORY = 256 << 20  # bytes a store; 87,000 vectors of 768 numbers


class FeatureStore:
    """Vectors under `root`, by the key of the encoder and the key of the clip's frames."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
        self._bytes = 0

    def path(self, encoder: str, frame_key: str) -> Path:
        """Where a clip's features are, or would be."""
        key = hashlib.sha256(json.dumps([encoder, frame_key]).encode()).hexdigest()
        return self.root / key[:2] / f"{key}.npy"

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
        place = (encoder, frame_key)
        vector = self._kept.get(place)
        if vector is None:
            vector = self._kept[place] = self._stored(encoder, frame_key, open_frames, embed)
            self._bytes += vector.nbytes
        self._kept.move_to_end(place)
        while self._bytes > MEMORY and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return vector

    def _stored(
        self,
        encoder: str,
        frame_key: str,
        open_frames: Callable[[str], Frames],
        embed: Callable[[Sequence[Frames]], Vectors],
    ) -> Vectors:
        path = self.path(encoder, frame_key)
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
