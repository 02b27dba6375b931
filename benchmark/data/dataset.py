"""The clips of a task, ready for episodes: a manifest and two specs go in, support and query sets come out.

TaskData = manifest -> candidate windows -> kept clips -> thinned pool

What a method is given of it are `Clips` and `Support` (`clips.py`), and for stage 1 `PretrainClips` (`stage1.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.data.clips import ClipRef, Clips, Stores, Support, clip_ref, open_stores, seed_of
from benchmark.data.frames import Sampling
from benchmark.data.manifest import Manifest, check_videos
from benchmark.data.mixes import Draw, Window, draw, load_mix
from benchmark.data.stage1 import Declaration, PretrainClips, declaration, decoded_clips, overlap, stage1_windows
from benchmark.progress import Progress
from protocols.episodes import Episode, thin_negatives
from protocols.spec import ProtocolSpec, Split
from tasks.errors import BadInput
from tasks.spec import TaskSpec
from tasks.windows import kept, label_windows

__all__ = ["Clips", "PretrainClips", "Split", "Stores", "Support", "TaskData", "open_stores", "seed_of"]


@dataclass(frozen=True)
class TaskData:
    """A manifest seen through a task and a protocol. `split` says whose recordings are asked about.

    With `allow_pretrained` stage 1 may have seen patients of the task: a result that must then be marked.
    """

    manifest: Manifest
    task: TaskSpec
    protocol: ProtocolSpec
    seed: int
    stores: Stores
    cache: Path
    split: Split = "evaluate"
    allow_pretrained: bool = False

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

    def label_in(self, episode: Episode) -> Mapping[str, int]:
        """Label by clip id as this episode sees it: the clip's own, or in a control the one that was dealt to it."""
        if episode.dealt_positives is None:
            return self.label_of
        positives = set(episode.dealt_positives)
        return {clip: int(clip in positives) for clip in self.label_of}

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the pool: clips, patients and labels."""
        return pool_digest(self.pool)

    @cached_property
    def _ref_by_id(self) -> dict[str, ClipRef]:
        recordings = {row["recording_id"]: row for row in self.manifest.recordings.to_dict("records")}
        return {
            row["clip_id"]: clip_ref(row, recordings[row["recording_id"]], self.manifest.path_of(row["recording_id"]))
            for row in self.pool.to_dict("records")
        }

    def query(self, episode: Episode, sampling: Sampling | None) -> Clips:
        """The clips that a method is asked about."""
        return Clips(tuple(self._ref_by_id[clip] for clip in episode.query), sampling, self.stores)

    def support(self, episode: Episode, sampling: Sampling | None, train_seed: int = 0) -> Support:
        """The clips that a method may learn from, with a seed drawn from the run's and the episode's digest.

        Another `train_seed` gives the same clips and another seed: the same training with other luck.
        """
        label_of = self.label_in(episode)
        labels = np.array([label_of[clip] for clip in episode.support], dtype=np.int64)
        refs = tuple(self._ref_by_id[clip] for clip in episode.support)
        luck = (train_seed,) if train_seed else ()  # the first keeps the seed that it had when it was the only one
        return Support(refs, sampling, self.stores, labels, seed_of(self.seed, episode.digest, *luck))

    def decode_pool(self, sampling: Sampling, workers: int, progress: Progress) -> int:
        """Put the frames of every clip of the pool into the store; how many clips had to be decoded."""
        requests = [ref.request for ref in self._ref_by_id.values()]
        check_videos(self.manifest, self.pool["recording_id"], self.cache / "sha256.json", progress)
        with progress.track("decoding clips", len(requests)) as advance:
            return self.stores.frames.ensure(
                requests, sampling, workers=workers, progress=lambda done, _: advance(done)
            )

    @cached_property
    def stage1_windows(self) -> list[Window]:
        """All windows that a mix may draw from (`benchmark.data.stage1`)."""
        return stage1_windows(self.manifest)

    def stage1_draw(self, mix_name: str) -> Draw:
        """What a mix draws of them, by the run's seed; no video is opened."""
        return draw(load_mix(mix_name), self.stage1_windows, self.seed)

    def pretraining(
        self, sampling: Sampling, mix_name: str, workers: int, progress: Progress
    ) -> tuple[PretrainClips, int]:
        """The clips of a mix, and how many of them had to be decoded.

        Raises:
            BadInput: there are none, one of their patients is also in the task, a video is not the manifest's, or too
                many cannot be decoded.
        """
        drawn = self.stage1_draw(mix_name)
        self.refuse_pretrained(declaration(drawn.windows))
        return decoded_clips(drawn, self.manifest, sampling, self.stores, self.cache, workers, progress)

    def pretrained_patients(self, declared: Declaration) -> tuple[str, ...]:
        """Patients of the pool whom a stage 1 has seen."""
        return overlap(declared, self.manifest, set(self.pool["subject_id"]))

    def refuse_pretrained(self, declared: Declaration) -> None:
        """Unless they are allowed, raise BadInput where a stage 1 has seen patients of the pool."""
        seen = self.pretrained_patients(declared)
        if seen and not self.allow_pretrained:
            others = f" (and {len(seen) - 1} more)" if len(seen) > 1 else ""
            raise BadInput(
                f"subject {seen[0]!r}{others} is in stage 1 and in the task; give each subject one split, choose a mix "
                "without them, or run with --allow-pretrained-patients, which marks every row"
            )


def pool_digest(clips: pd.DataFrame) -> str:
    """Hex sha256 of clip_id, subject_id and label, in the order of the rows."""
    content = (
        clips[["clip_id", "subject_id", "label"]].astype({"label": float}).to_csv(index=False, lineterminator="\n")
    )
    return hashlib.sha256(content.encode()).hexdigest()
