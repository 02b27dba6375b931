"""Clips: what a method may see of a window of video.

Clips      of a query: frames, features, facts of the file; no label, no patient
Support    Clips with labels and the episode's seed
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.data.features import FeatureStore, Frames, Vectors
from benchmark.data.frames import FrameStore, Request, Sampling


class Encoder(Protocol):
    """What `Clips.embeddings` needs of a method (see `benchmark.baseline.Embeds`)."""

    @property
    def embedding_key(self) -> str: ...

    def embed(self, frames: Sequence[Frames]) -> Vectors: ...


@dataclass(frozen=True)
class ClipRef:
    """One clip: where its frames are, and the facts of its file that any method may use."""

    clip_id: str
    request: Request
    facts: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Stores:
    """Where decoded frames and frozen features are kept."""

    frames: FrameStore
    features: FeatureStore


@dataclass(frozen=True)
class Clips:
    """Clips without labels, in alphabetical order of their ids. Frames are uint8, (V, T, H, W, 3), RGB."""

    refs: tuple[ClipRef, ...]
    sampling: Sampling | None
    stores: Stores

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def ids(self) -> tuple[str, ...]:
        """Clip ids, in order."""
        return tuple(ref.clip_id for ref in self.refs)

    @property
    def facts(self) -> pd.DataFrame:
        """One row a clip: window_s, start_s, recording_s, fps, width, height, file_bytes."""
        return pd.DataFrame([dict(ref.facts) for ref in self.refs])

    @property
    def frame_keys(self) -> list[str]:
        """Content addresses of the clips' frames."""
        if self.sampling is None:
            raise ValueError("this method asks for no frames: its `input` is None")
        return [self.stores.frames.key(ref.request, self.sampling) for ref in self.refs]

    def frames(self) -> list[Frames]:
        """The clips' frames as read-only memory maps."""
        return [self.stores.frames.open(key) for key in self.frame_keys]

    def embeddings(self, encoder: Encoder) -> Vectors:
        """Frozen features (N, D), from the store where they were computed before."""
        return self.stores.features.fetch(
            encoder.embedding_key, self.frame_keys, self.stores.frames.open, encoder.embed
        )


@dataclass(frozen=True)
class Support(Clips):
    """Clips to learn from. `labels` (N,) are 0 or 1; `seed` is the episode's own."""

    labels: NDArray[np.int64]
    seed: int


def clip_ref(window: dict[Any, Any], recording: dict[Any, Any], path: Path) -> ClipRef:
    """A window (clip_id, start_s, end_s) of a recording, a row of the manifest, whose video is at `path`."""
    facts = {
        "window_s": window["end_s"] - window["start_s"],
        "start_s": window["start_s"],
        "recording_s": recording["duration_s"],
        "fps": recording["fps"],
        "width": float(recording["width"]),
        "height": float(recording["height"]),
        "file_bytes": float(path.stat().st_size) if path.is_file() else 0.0,
    }
    request = Request(path, recording["sha256"], window["start_s"], window["end_s"])
    return ClipRef(window["clip_id"], request, tuple(facts.items()))


def open_stores(cache: Path) -> Stores:
    """The stores under a cache folder."""
    return Stores(FrameStore(cache / "frames"), FeatureStore(cache / "features"))


def seed_of(*parts: object) -> int:
    """A seed (63 bits) drawn from anything that prints the same each time."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
