"""What stage 1 may see of a manifest, and whom it has seen.

    stage1_windows   all windows of the recordings set aside by `split` = pretrain
    pretrain_clips   those that a mix draws, decoded; what cannot be decoded is left out, counted and named
    Declaration      who was pre-trained on: it travels with a checkpoint
    overlap          patients of a task who are in a declaration

arXiv 2603.12887, section 3: rodent clips of 10 s, human ones of 5 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field

from benchmark.data.clips import Clips, Stores, clip_ref
from benchmark.data.frames import Request, Sampling
from benchmark.data.manifest import UNKNOWN, Manifest, check_videos
from benchmark.data.mixes import Draw, Mix, PartCount, Window, draw
from benchmark.progress import Progress
from tasks.errors import BadInput
from tasks.windows import watched_bounds

WINDOW_S = {"human": 5.0}
WINDOW_OTHERS_S = 10.0
SHORTEST_WINDOW_S = 3.0
ONE_IN = 20  # may be unreadable: beyond it a disk or a download is at fault, not single files
NAMED = 3  # clips named in a notice

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Declaration:
    """Who was pre-trained on: (source_dataset, site_id, subject_id) of each subject, and sha256s of the videos."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    subjects: tuple[tuple[str, str, str], ...]
    videos: tuple[Sha256, ...]


@dataclass(frozen=True)
class Unreadable:
    """A clip that was left out, and the decoder's reason."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class PretrainClips(Clips):
    """Clips for stage 1: `subjects`, `species` and whether a seizure is in the clip, in the order of the ids."""

    mix: str
    subjects: tuple[str, ...]
    species: tuple[str, ...]
    seizure: tuple[bool, ...]
    counts: tuple[PartCount, ...]
    unreadable: tuple[Unreadable, ...]
    declaration: Declaration


def stage1_windows(manifest: Manifest) -> list[Window]:
    """Rows of the windows of the recordings set aside for stage 1, in order of clip_id.

    Each row holds its recording's columns, `clip_id`, `start_s`, `end_s` and `seizure`: whether any is in the window.
    """
    events, watched = manifest.events, manifest.annotated_intervals
    seizures = events[events["event_type"].str.startswith("sz")]
    seizures_of = {name: _spans(table) for name, table in seizures.groupby("recording_id")}
    watched_of = dict(iter(watched.groupby("recording_id")))
    rows = [
        window
        for recording in manifest.recordings.to_dict("records")
        if recording["split"] == "pretrain" and recording["recording_id"] in watched_of
        for window in _cut(
            recording,
            seizures_of.get(recording["recording_id"], []),
            zip(*watched_bounds(watched_of[recording["recording_id"]]), strict=True),
        )
    ]
    return sorted(rows, key=lambda row: str(row["clip_id"]))


def pretrain_clips(
    manifest: Manifest,
    mix: Mix,
    seed: int,
    sampling: Sampling,
    stores: Stores,
    cache: Path,
    workers: int,
    progress: Progress,
) -> tuple[PretrainClips, int]:
    """Draw a mix and decode it: `decoded_clips(draw(...))`."""
    return decoded_clips(
        draw(mix, stage1_windows(manifest), seed), manifest, sampling, stores, cache, workers, progress
    )


def decoded_clips(
    drawn: Draw,
    manifest: Manifest,
    sampling: Sampling,
    stores: Stores,
    cache: Path,
    workers: int,
    progress: Progress,
) -> tuple[PretrainClips, int]:
    """Check the videos of what was drawn, and decode what the store lacks, `workers` videos at a time.

    A clip that cannot be decoded is left out and named. Nothing is opened for a mix without parts.

    Returns:
        The clips, and how many of them had to be decoded.

    Raises:
        BadInput: the mix finds no clip, a video is missing or not the one of the manifest, or too many clips cannot be
            decoded (`most_left_out`).
    """
    if drawn.counts and not drawn.windows:
        raise BadInput(
            f"{manifest.root}: stage 1 has nothing to train on, as no clip is of mix {drawn.mix}'s kinds; set "
            "recordings aside by `split` = pretrain in recordings.tsv (rodents are by default), or choose another mix"
        )
    for count in drawn.counts:
        if count.drawn == 0:
            progress.say(f"mix {drawn.mix}: {count.in_words()}")
    reason_of, decoded = _decode(drawn, manifest, sampling, stores, cache, workers, progress)
    if reason_of:
        progress.say(_notice(reason_of, len(drawn.windows)))
    return _gathered(drawn, reason_of, manifest, sampling, stores), decoded


def most_left_out(total: int) -> int:
    """How many of `total` may be unreadable: one in twenty, or else one, but never all."""
    return min(max(1, total // ONE_IN), total - 1)


def declaration(windows: Iterable[Window]) -> Declaration:
    """Who is in these windows."""
    rows = list(windows)
    return Declaration(
        tuple(sorted({(row["source_dataset"], row["site_id"], row["subject_id"]) for row in rows})),
        tuple(sorted({row["sha256"] for row in rows})),
    )


def overlap(declared: Declaration, manifest: Manifest, subject_ids: Collection[str]) -> tuple[str, ...]:
    """Those of `subject_ids` (of this manifest) who were pre-trained on.

    The same subject id counts, unless both data sets are named and differ; so does any video of theirs with the same
    sha256. Upper and lower case are taken as the same.
    """
    sets_of: dict[str, set[str]] = {}
    for source, _, subject in declared.subjects:
        sets_of.setdefault(subject.casefold(), set()).add(source.casefold())
    videos = set(declared.videos)
    seen = set()
    for row in manifest.recordings[["subject_id", "source_dataset", "sha256"]].to_dict("records"):
        known, own = sets_of.get(row["subject_id"].casefold(), set()), row["source_dataset"].casefold()
        if row["sha256"] in videos or (known and (own == UNKNOWN or not known.isdisjoint({own, UNKNOWN}))):
            seen.add(row["subject_id"])
    return tuple(sorted(seen & set(subject_ids)))


def _spans(seizures: Any) -> list[tuple[float, float]]:
    return list(zip(seizures["onset_s"], seizures["onset_s"] + seizures["duration_s"], strict=True))


def _cut(
    recording: Window, seizures: Sequence[tuple[float, float]], watched: Iterable[tuple[float, float]]
) -> list[Window]:
    """Non-overlapping windows of a recording's watched time; what is a little short is taken whole."""
    longest = WINDOW_S.get(recording["species"], WINDOW_OTHERS_S)
    windows = []
    for start_s, end_s in watched:
        window = min(longest, end_s - start_s)
        if window < SHORTEST_WINDOW_S:
            continue
        for index in range(int(np.floor(round((end_s - start_s) / window, 6)))):
            start, end = round(start_s + index * window, 6), round(start_s + (index + 1) * window, 6)
            windows.append(
                {
                    **recording,
                    "clip_id": f"{recording['recording_id']}@{start:.3f}-{end:.3f}",
                    "start_s": start,
                    "end_s": end,
                    "seizure": any(onset < end and start < offset for onset, offset in seizures),
                }
            )
    return windows


def _decode(
    drawn: Draw,
    manifest: Manifest,
    sampling: Sampling,
    stores: Stores,
    cache: Path,
    workers: int,
    progress: Progress,
) -> tuple[dict[str, str], int]:
    """Why clips were left out, by clip_id, and how many were decoded. Stops as soon as too many are left out."""
    reason_of: dict[str, str] = {}
    clips_of: dict[str, list[str]] = {}
    for row in drawn.windows:
        clips_of.setdefault(row["recording_id"], []).append(row["clip_id"])

    def leave_out(clip_id: str, reason: str) -> None:
        reason_of[clip_id] = reason
        if len(reason_of) > most_left_out(len(drawn.windows)):
            raise BadInput(
                f"{manifest.root}: at least {len(reason_of):,} of the {len(drawn.windows):,} clips drawn for stage 1 "
                f"cannot be decoded, among them {clip_id} ({reason}); that is more than single files: check disk and "
                "download, restore or convert the videos, and import them again"
            )

    def leave_out_video(recording_id: str, reason: str) -> None:
        for clip_id in clips_of[recording_id]:
            leave_out(clip_id, reason)

    check_videos(manifest, clips_of, cache / "sha256.json", progress, leave_out_video)
    request_of = {
        row["clip_id"]: Request(manifest.path_of(row["recording_id"]), row["sha256"], row["start_s"], row["end_s"])
        for row in drawn.windows
        if row["clip_id"] not in reason_of
    }
    clip_of = {request: clip_id for clip_id, request in request_of.items()}
    with progress.track("decoding clips", len(clip_of)) as advance:
        decoded = stores.frames.ensure(
            clip_of,
            sampling,
            workers=workers,
            progress=lambda done, _: advance(done),
            leave_out=lambda request, reason: leave_out(clip_of[request], reason),
        )
    return reason_of, decoded


def _gathered(
    drawn: Draw, reason_of: dict[str, str], manifest: Manifest, sampling: Sampling, stores: Stores
) -> PretrainClips:
    rows = [row for row in drawn.windows if row["clip_id"] not in reason_of]
    lost = Counter((row["species"] == "human", row["seizure"]) for row in drawn.windows if row["clip_id"] in reason_of)
    return PretrainClips(
        tuple(clip_ref(row, row, manifest.path_of(row["recording_id"])) for row in rows),
        sampling,
        stores,
        mix=drawn.mix,
        subjects=tuple(row["subject_id"] for row in rows),
        species=tuple(row["species"] for row in rows),
        seizure=tuple(row["seizure"] for row in rows),
        counts=tuple(
            replace(count, unreadable=lost[count.species == "human", count.seizure]) for count in drawn.counts
        ),
        unreadable=tuple(Unreadable(clip_id, reason_of[clip_id]) for clip_id in sorted(reason_of)),
        declaration=declaration(rows),
    )


def _notice(reason_of: dict[str, str], total: int) -> str:
    named = [f"{clip_id} ({reason})" for clip_id, reason in sorted(reason_of.items())[:NAMED]]
    more = [f"{len(reason_of) - NAMED:,} more"] if len(reason_of) > NAMED else []
    return f"{len(reason_of):,} of {total:,} clips left out, unreadable: {', '.join([*named, *more])}"
