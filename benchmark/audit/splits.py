"""Who stands on two sides of a split: subjects, videos, sessions, and support and query of a run. Tables only.

A split is either the manifest's (`pretrain`, `develop`, `evaluate`) or an episode's (support, query).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from benchmark.audit.findings import Finding, finding
from benchmark.data.manifest import UNKNOWN
from protocols.episodes import Episode
from protocols.spec import ProtocolSpec


def split_findings(recordings: pd.DataFrame, test_split: str) -> list[Finding]:
    """Everything below that the manifest's recordings alone tell; `test_split` is the one that results are about."""
    return [
        *subjects_across_splits(recordings),
        *pretrained_subjects(recordings, test_split),
        *files_across_splits(recordings),
        *repeated_files(recordings),
        *sessions_across_splits(recordings),
    ]


def subjects_across_splits(recordings: pd.DataFrame) -> list[Finding]:
    """A subject in two splits, or written in two ways that differ in case alone: two patients to any protocol."""
    table = recordings.assign(folded=recordings["subject_id"].str.casefold())
    evidence = [
        f"subject {' = '.join(sorted(set(rows['subject_id'])))}: {_places(rows)}"
        for _, rows in table.groupby("folded")
        if rows["split"].nunique() > 1 or rows["subject_id"].nunique() > 1
    ]
    return finding(
        "subject-across-split",
        "hard",
        "a subject stands on two sides of a split, so a method can know its test patients; write each subject's id in "
        "one way and give all its recordings one split in recordings.tsv",
        evidence,
    )


def pretrained_subjects(recordings: pd.DataFrame, test_split: str) -> list[Finding]:
    """A subject set aside for stage 1 who is also asked about."""
    table = recordings.assign(folded=recordings["subject_id"].str.casefold())
    evidence = [
        f"subject {rows['subject_id'].iloc[0]}: {_places(rows[rows['split'].isin(['pretrain', test_split])])}"
        for _, rows in table.groupby("folded")
        if {"pretrain", test_split} <= set(rows["split"])
    ]
    return finding(
        "pretraining-patient-in-test",
        "hard",
        "stage 1 may train on patients of the test; give all recordings of a subject the same split in recordings.tsv",
        evidence,
    )


def files_across_splits(recordings: pd.DataFrame) -> list[Finding]:
    """The same bytes under two splits or subjects. (Twice under one: `repeated_files`.)"""
    return finding(
        "file-across-split",
        "hard",
        "one video stands under two subjects or splits; keep the row that is right and drop the other",
        [
            f"sha256 {str(digest)[:12]}: {_places(rows, subjects=True)}"
            for digest, rows in _repeated(recordings)
            if not _one_owner(rows)
        ],
    )


def repeated_files(recordings: pd.DataFrame) -> list[Finding]:
    """The same bytes twice under one subject and split: each of its clips counts twice."""
    return finding(
        "overlapping-clips",
        "hard",
        "a video stands in recordings.tsv twice, so each of its clips counts twice; drop one of the rows",
        [
            f"sha256 {str(digest)[:12]}: {_places(rows)}, all {rows['duration_s'].min():g} s in both"
            for digest, rows in _repeated(recordings)
            if _one_owner(rows)
        ],
    )


def sessions_across_splits(recordings: pd.DataFrame) -> list[Finding]:
    """One camera's session used by subjects of two splits.

    Soft: a hospital that counts sessions anew for every patient has an s1 of each patient in the same room, filmed
    weeks apart; only a person can tell that from two patients filmed at once.
    """
    key = ["species", "site_id", "session_id", "camera_id"]
    folded = recordings.assign(**{name: recordings[name].str.strip().str.casefold() for name in key})
    known = folded[~folded[key].isin(["", UNKNOWN]).any(axis=1)]
    torn = known[known.groupby(key)["split"].transform("nunique") > 1]
    evidence = []
    for _, group in torn.groupby(key):
        rows = recordings.loc[group.index]
        if rows["subject_id"].str.casefold().nunique() > 1:
            name = ", ".join(f"{label} {rows[f'{label}_id'].iloc[0]}" for label in ("site", "session", "camera"))
            evidence.append(f"{name}: {_places(rows, subjects=True)}")
    return finding(
        "session-across-split",
        "soft",
        "subjects of two splits share a session of one camera, so light, bedding and staff tell them from others; give "
        "the session one split, or session ids of their own if sessions are counted anew for each patient",
        evidence,
    )


def episode_findings(episodes: Iterable[Episode], subject_of: dict[str, str], protocol: ProtocolSpec) -> list[Finding]:
    """What support and query of a run's episodes share although the protocol says otherwise.

    Args:
        episodes: as the run saved them.
        subject_of: patient by clip id.
        protocol: the run's; only `patient` disjointness forbids shared patients.
    """
    patients, clips = [], []
    for episode in episodes:
        where = f"{episode.shots} shots, episode {episode.index}"
        shared_clips = sorted(set(episode.support) & set(episode.query))
        if shared_clips:
            clips.append(f"{where}: {_few(shared_clips)} in support and query")
        donors, asked = (
            {subject_of.get(clip, clip).casefold() for clip in side} for side in (episode.support, episode.query)
        )
        if protocol.disjoint == "patient" and donors & asked:
            patients.append(f"{where}: {_few(sorted(donors & asked))} in support and query")
    remedy = "the episodes were changed after they were drawn: run again into a new folder"
    return [
        *finding("subject-across-split", "hard", f"patients of the support are also in the query; {remedy}", patients),
        *finding("overlapping-clips", "hard", f"clips of the support are also in the query; {remedy}", clips),
    ]


def _repeated(recordings: pd.DataFrame) -> list[tuple[object, pd.DataFrame]]:
    return list(recordings[recordings["sha256"].duplicated(keep=False)].groupby("sha256"))


def _one_owner(rows: pd.DataFrame) -> bool:
    return rows["subject_id"].str.casefold().nunique() == 1 and rows["split"].nunique() == 1


def _places(rows: pd.DataFrame, subjects: bool = False) -> str:
    """`r1 (evaluate), r2 (pretrain)`; at most two of each split, so that a line stays a line."""
    parts = []
    for split, group in rows.groupby("split"):
        names = [
            f"{row['recording_id']} of {row['subject_id']}" if subjects else str(row["recording_id"])
            for row in group.sort_values("recording_id").to_dict("records")
        ]
        parts.append(f"{_few(names)} ({split})")
    return ", ".join(parts)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
