"""The clips of a task, ready for episodes: a manifest and two specs go in, support and query sets come out.

TaskData = manifest -> candidate windows -> kept clips -> thinned pool
Clips      what a method may see of a query: frames, features, facts of the file; no label, no patient
Support    Clips with labels and the episode's seed
PretrainClips   windows of the recordings set aside for stage 1, with species and condition
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.data.features import FeatureStore, Frames, Vectors
from benchmark.data.frames import FrameStore, Request, Sampling
from benchmark.data.manifest import Manifest, check_videos
from benchmark.progress import Progress
from protocols.episodes import Episode, thin_negatives
from protocols.spec import ProtocolSpec
from tasks.errors import BadInput
from tasks.spec import TaskSpec
from tasks.windows import kept, label_windows, watched_bounds

STAGE1_WINDOW_S = {"human": 5.0}
STAGE1_WINDOW_OTHERS_S = 10.0  # both as in arXiv 2603.12887: rodent clips of 10 s, human ones of 5 s
SHORTEST_STAGE1_WINDOW_S = 3.0


Split = Literal["evaluate", "develop"]  # develop: patients to choose settings on, never part of a result


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


@dataclass(frozen=True)
class PretrainClips(Clips):
    """Clips for stage 1: `species` and whether a seizure is in the clip, in the order of the ids."""

    subjects: tuple[str, ...]
    species: tuple[str, ...]
    seizure: tuple[bool, ...]


@dataclass(frozen=True)
class TaskData:
    """A manifest seen through a task and a protocol. `split` says whose recordings are asked about."""

    manifest: Manifest
    task: TaskSpec
    protocol: ProtocolSpec
    seed: int
    stores: Stores
    cache: Path
    split: Split = "evaluate"

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Every candidate window with its rule (`tasks.windows.label_windows`)."""
        tables = (self.manifest.recordings, self.manifest.events, self.manifest.annotated_intervals)
        return label_windows(*tables, self.task, self.split)

    @cached_property
    def pool(self) -> pd.DataFrame:
        """The labelled clips of which episodes are made."""
        return thin_negatives(kept(self.candidates), self.protocol, self.seed)

    @cached_property
    def subject_of(self) -> dict[str, str]:
        """Patient by clip id."""
        return dict(zip(self.pool["clip_id"], self.pool["subject_id"], strict=True))

    @cached_property
    def label_of(self) -> dict[str, int]:
        """Label by clip id."""
        return dict(zip(self.pool["clip_id"], self.pool["label"].astype(int), strict=True))

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the pool: clips, patients and labels."""
        content = self.pool[["clip_id", "subject_id", "label"]].to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def _recording_by_id(self) -> dict[str, dict[Any, Any]]:
        return {row["recording_id"]: row for row in self.manifest.recordings.to_dict("records")}

    @cached_property
    def _ref_by_id(self) -> dict[str, ClipRef]:
        return {row["clip_id"]: self._ref(row) for row in self.pool.to_dict("records")}

    def query(self, episode: Episode, sampling: Sampling | None) -> Clips:
        """The clips that a method is asked about."""
        return Clips(tuple(self._ref_by_id[clip] for clip in episode.query), sampling, self.stores)

    def support(self, episode: Episode, sampling: Sampling | None) -> Support:
        """The clips that a method may learn from, with a seed drawn from the run's and the episode's digest."""
        labels = np.array([self.label_of[clip] for clip in episode.support], dtype=np.int64)
        refs = tuple(self._ref_by_id[clip] for clip in episode.support)
        return Support(refs, sampling, self.stores, labels, seed_of(self.seed, episode.digest))

    def decode_pool(self, sampling: Sampling, workers: int, progress: Progress) -> int:
        """Put the frames of every clip of the pool into the store; how many clips had to be decoded."""
        return self._decode(list(self._ref_by_id.values()), self.pool["recording_id"], sampling, workers, progress)

    def pretraining(self, sampling: Sampling, workers: int, progress: Progress) -> tuple[PretrainClips, int]:
        """The clips of the recordings set aside for stage 1, and how many of them had to be decoded.

        Raises:
            BadInput: there are none, or one of their patients is also in the task.
        """
        rows = self.stage1_windows
        if not rows:
            raise BadInput(
                f"{self.manifest.root}: stage 1 has nothing to train on; set recordings aside by `split` = pretrain in "
                "recordings.tsv (rodents are by default)"
            )
        shared = {row["subject_id"] for row in rows} & set(self.pool["subject_id"])
        if shared:
            raise BadInput(f"subject {min(shared)!r} is in stage 1 and in the task; give each subject one split")
        refs = [self._ref(row) for row in rows]
        recordings = pd.Series([row["recording_id"] for row in rows])
        decoded = self._decode(refs, recordings, sampling, workers, progress)
        clips = PretrainClips(
            tuple(refs),
            sampling,
            self.stores,
            subjects=tuple(row["subject_id"] for row in rows),
            species=tuple(row["species"] for row in rows),
            seizure=tuple(row["seizure"] for row in rows),
        )
        return clips, decoded

    @cached_property
    def stage1_windows(self) -> list[dict[Any, Any]]:
        """Rows of the stage-1 clips, in order of clip_id."""
        events, watched = self.manifest.events, self.manifest.annotated_intervals
        seizures = events[events["event_type"].str.startswith("sz")]
        seizures_of, watched_of = (dict(iter(table.groupby("recording_id"))) for table in (seizures, watched))
        rows = [
            row
            for name, recording in self._recording_by_id.items()
            if recording["split"] == "pretrain" and name in watched_of
            for row in self._cut(recording, seizures_of.get(name, seizures.iloc[:0]), watched_of[name])
        ]
        return sorted(rows, key=lambda row: str(row["clip_id"]))

    @staticmethod
    def _cut(recording: dict[Any, Any], seizures: pd.DataFrame, watched: pd.DataFrame) -> list[dict[Any, Any]]:
        """Non-overlapping windows of the watched time of a recording that is set aside for pre-training."""
        name, longest = recording["recording_id"], STAGE1_WINDOW_S.get(recording["species"], STAGE1_WINDOW_OTHERS_S)
        windows = []
        for start_s, end_s in zip(*watched_bounds(watched), strict=True):
            window = min(longest, end_s - start_s)
            if window < SHORTEST_STAGE1_WINDOW_S:
                continue
            for index in range(int(np.floor(round((end_s - start_s) / window, 6)))):
                start, end = round(start_s + index * window, 6), round(start_s + (index + 1) * window, 6)
                ictal = (seizures["onset_s"] < end) & (start < seizures["onset_s"] + seizures["duration_s"])
                windows.append(
                    {
                        **recording,
                        "clip_id": f"{name}@{start:.3f}-{end:.3f}",
                        "start_s": start,
                        "end_s": end,
                        "seizure": bool(ictal.any()),
                    }
                )
        return windows

    def _ref(self, row: dict[Any, Any]) -> ClipRef:
        recording = self._recording_by_id[row["recording_id"]]
        path = self.manifest.path_of(row["recording_id"])
        facts = {
            "window_s": row["end_s"] - row["start_s"],
            "start_s": row["start_s"],
            "recording_s": recording["duration_s"],
            "fps": recording["fps"],
            "width": float(recording["width"]),
            "height": float(recording["height"]),
            "file_bytes": float(path.stat().st_size) if path.is_file() else 0.0,
        }
        request = Request(path, recording["sha256"], row["start_s"], row["end_s"])
        return ClipRef(row["clip_id"], request, tuple(facts.items()))

    def _decode(
        self, refs: list[ClipRef], recordings: pd.Series, sampling: Sampling, workers: int, progress: Progress
    ) -> int:
        check_videos(self.manifest, recordings, self.cache / "sha256.json", progress)
        with progress.track("decoding clips", len(refs)) as advance:
            return self.stores.frames.ensure(
                [ref.request for ref in refs], sampling, workers=workers, progress=lambda done, _: advance(done)
            )


def open_stores(cache: Path) -> Stores:
    """The stores under a cache folder."""
    return Stores(FrameStore(cache / "frames"), FeatureStore(cache / "features"))


def seed_of(*parts: object) -> int:
    """A seed (63 bits) drawn from anything that prints the same each time."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
