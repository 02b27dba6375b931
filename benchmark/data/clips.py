"""Clips: what a method may see of a window of video.

Clips        of a query: frames, features, facts of the file; no label, no patient
Support      Clips with labels and the episode's seed
Alteration   what a control does to each clip's frames before a method sees them: `clips.altered(alteration)`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

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
class Alteration:
    """A change of a clip's frames, by those frames alone: the same frames are always changed alike.

    `change` takes and gives uint8 (V, T, H, W, 3). Name and version stand in the key of whatever is kept of altered
    clips: another `change` needs another `version`.
    """

    name: str
    version: int
    change: Callable[[Frames], Frames]


@dataclass(frozen=True)
class Clips:
    """Clips without labels, in alphabetical order of their ids. Frames are uint8, (V, T, H, W, 3), RGB."""

    refs: tuple[ClipRef, ...]
    sampling: Sampling | None
    stores: Stores
    alterations: tuple[Alteration, ...] = field(default=(), kw_only=True)

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

    def altered(self, alteration: Alteration) -> Self:
        """The same clips, their frames changed, after whatever was changed before."""
        return replace(self, alterations=(*self.alterations, alteration))

    @property
    def frame_keys(self) -> list[str]:
        """Addresses of the clips' frames as they are seen here: altered ones share none with the stored."""
        return [self._address(key) for key in self._stored_keys]

    def frames(self) -> list[Frames]:
        """The clips' frames, read-only; memory maps where nothing is altered."""
        return [self._seen(key) for key in self._stored_keys]

    def embeddings(self, encoder: Encoder) -> Vectors:
        """Frozen features (N, D), from the store where they were computed before."""
        stored = self._stored_keys
        addresses = [self._address(key) for key in stored]
        stored_at = dict(zip(addresses, stored, strict=True))
        return self.stores.features.fetch(
            encoder.embedding_key, addresses, lambda address: self._seen(stored_at[address]), encoder.embed
        )

    @property
    def _stored_keys(self) -> list[str]:
        if self.sampling is None:
            raise ValueError("this method asks for no frames: its `input` is None")
        return [self.stores.frames.key(ref.request, self.sampling) for ref in self.refs]

    def _address(self, stored_key: str) -> str:
        if not self.alterations:
            return stored_key
        how = [[alteration.name, alteration.version] for alteration in self.alterations]
        return hashlib.sha256(json.dumps([stored_key, how]).encode()).hexdigest()

    def _seen(self, stored_key: str) -> Frames:
        frames = self.stores.frames.open(stored_key)
        for alteration in self.alterations:
            frames = alteration.change(frames)
            frames.flags.writeable = False
        return frames


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
