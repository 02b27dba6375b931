"""The clips of a task, ready for episodes: a manifest and two specs go in, support and query sets come out.

TaskData = manifest -> candidate windows -> kept clips -> thinned pool

What a method is given of it are `Clips` and `Support` (`clips.py`), and for stage 1 `PretrainClips` (`stage1.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from benchmark.data.clips import ClipRef, Clips, Stores, Support, clip_ref, open_stores, seed_of
from benchmark.data.frames import Sampling
from benchmark.data.manifest import Manifest, check_videos
from benchmark.data.mixes import Draw, Window, draw, load_mix
from benchmark.data.stage1 import Declaration, PretrainClips, declaration, decoded_clips, overlap, stage1_windows
from benchmark.progress import Progress
from protocols.episodes import Episode, thin_negatives
from protocols.spec import ProtocolSpec
from tasks.errors import BadInput
from tasks.spec import TaskSpec
from tasks.windows import kept, label_windows

__all__ = ["Clips", "PretrainClips", "Split", "Stores", "Support", "TaskData", "open_stores", "seed_of"]

Split = Literal["evaluate", "develop"]  # develop: patients to choose settings on, never part of a result


@dataclass(frozen=True)
class TaskData:
    """A manifest seen through a task and a protocol. `split` says whose recordings are asked about.

    With `allow_pretrained` stage 1 may have seen patients of the task: a result that must then be marked. With
    `permute_labels` the pool is a control and no result at all: see `permuted`.
    """

    manifest: Manifest
    task: TaskSpec
    protocol: ProtocolSpec
    seed: int
    stores: Stores
    cache: Path
    split: Split = "evaluate"
    allow_pretrained: bool = False
    permute_labels: bool = False

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Every candidate window with its rule (`tasks.windows.label_windows`)."""
        tables = (self.manifest.recordings, self.manifest.events, self.manifest.annotated_intervals)
        return label_windows(*tables, self.task, self.split)

    @cached_property
    def pool(self) -> pd.DataFrame:
        """The labelled clips of which episodes are made. BadInput where labels cannot be permuted."""
        clips = thin_negatives(kept(self.candidates), self.protocol, self.seed)
        return permuted(clips, self.seed) if self.permute_labels else clips

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
        labels = np.array([self.label_of[clip] for clip in episode.support], dtype=np.int64)
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


def permuted(clips: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The same clips, each patient's labels dealt anew among that patient's clips, by their names and the seed.

    Within patients, because clips of one patient are alike whatever their label: same room, same camera, same body. A
    permutation over all clips would cut that bond too, and would ask whether labels and clips are related at all. This
    one keeps all that goes with the patient, shares of each class included, and cuts the bond between a label and
    the moment of its clip alone: what a forecaster must live on (exchangeability blocks: Winkler et al., NeuroImage
    2015). A method that still finds the labels has found a leak in the harness, or tells patients apart whose shares of
    positives differ.

    Args:
        clips: clip_id, subject_id, label; the order of rows is kept and plays no part.
        seed: of the run.

    Raises:
        BadInput: no patient has clips of both classes, so that there is nothing to permute.
    """
    movable = sorted(set(clips["subject_id"]) - set(one_class(clips)))
    if not movable:
        raise BadInput(
            f"--permute-labels: none of the {clips['subject_id'].nunique()} patients has clips of both classes, and "
            "labels are only permuted within a patient; leave it out, or take a task or data in which some have both"
        )
    label_of = dict(zip(clips["clip_id"], clips["label"], strict=True))
    for subject in movable:
        own = clips[clips["subject_id"] == subject].sort_values("clip_id")
        dealt = sorted(own["clip_id"], key=lambda clip: seed_of(seed, "permuted label", clip))
        label_of |= dict(zip(dealt, own["label"], strict=True))
    return clips.assign(label=clips["clip_id"].map(label_of))


def one_class(clips: pd.DataFrame) -> tuple[str, ...]:
    """Patients whose clips are all of one class: a permutation within patients leaves them as they are."""
    classes = clips.groupby("subject_id")["label"].nunique()
    return tuple(sorted(classes.index[classes < 2]))
