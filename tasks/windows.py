"""From annotated recordings to labelled windows, by rule; nothing is labelled by hand.

Candidate windows start on a grid over each recording. Each gets a rule: why it is positive, negative or left
out. Of overlapping windows only a non-overlapping set is kept, so that two clips never share a frame:

    candidates of one seizure   |-1-|-2-|-3-|-4-|-5-|   each 5 s long, starting 1 s apart
    kept                                |-3-|           one fits; which one is drawn from the recording's name,
                                                        so that lead times spread over the horizon
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.spec import TaskSpec

Spans = tuple[NDArray[np.float64], NDArray[np.float64]]  # starts and ends, or onsets and offsets

CLIP_COLUMNS = (
    "clip_id",
    "recording_id",
    "subject_id",
    "start_s",
    "end_s",
    "label",
    "gap_to_next_onset_s",
    "gap_from_prev_offset_s",
    "rule_id",
)


class Rule(StrEnum):
    """Why a window is kept (the first three) or left out."""

    PRE_ICTAL = "pre_ictal"
    INTER_ICTAL = "inter_ictal"
    ICTAL = "ictal"
    OTHER_SPECIES = "other_species"
    OTHER_SPLIT = "other_split"
    SHORTER_THAN_WINDOW = "shorter_than_window"
    NOT_WATCHED = "not_watched"
    TOUCHES_ICTAL = "touches_ictal"
    TOUCHES_POST_ICTAL = "touches_post_ictal"
    TOO_CLOSE_TO_SEIZURE = "too_close_to_seizure"
    OVERLAPS_KEPT_CLIP = "overlaps_kept_clip"


LABELS = {Rule.PRE_ICTAL: 1.0, Rule.ICTAL: 1.0, Rule.INTER_ICTAL: 0.0}
REASONS = {
    Rule.PRE_ICTAL: "kept as positive: an onset lies in (end + SPH, end + SPH + SOP]",
    Rule.INTER_ICTAL: "kept as negative: at least the minimum gap from every seizure",
    Rule.ICTAL: "kept as positive: wholly inside a seizure",
    Rule.OTHER_SPECIES: "the task is about another species",
    Rule.OTHER_SPLIT: "the recording is set aside for pre-training or development",
    Rule.SHORTER_THAN_WINDOW: "the recording is shorter than the window",
    Rule.NOT_WATCHED: "not wholly inside an interval that somebody watched",
    Rule.TOUCHES_ICTAL: "contains ictal time (for a detection task: only in part)",
    Rule.TOUCHES_POST_ICTAL: "contains post-ictal time",
    Rule.TOO_CLOSE_TO_SEIZURE: "no onset within the horizon, yet nearer to a seizure than the minimum gap",
    Rule.OVERLAPS_KEPT_CLIP: "overlaps a kept window",
}


def label_windows(
    recordings: pd.DataFrame,
    events: pd.DataFrame,
    annotated_intervals: pd.DataFrame,
    spec: TaskSpec,
    split: str = "evaluate",
) -> pd.DataFrame:
    """Label every candidate window of every recording.

    Args:
        recordings: one row a recording, with recording_id, subject_id, species, split and duration_s.
        events: seizures and background, with recording_id, onset_s, duration_s, event_type and onset_type.
        annotated_intervals: what was watched, with recording_id, start_s and end_s.
        spec: the task.
        split: whose recordings are asked about: `evaluate`, or `develop` to choose settings on.

    Returns:
        CLIP_COLUMNS, ordered by recording and time, whatever the order of the input rows. `label` is 1, 0, or
        NaN for a window left out; `rule_id` is its Rule. Gaps are in seconds to the task's own onset type, NaN
        where there is no such seizure in the recording.
    """
    seizures = events[events["event_type"].str.startswith("sz")]
    seizures_of = dict(iter(seizures.groupby("recording_id")))
    watched_of = dict(iter(annotated_intervals.groupby("recording_id")))
    tables = [
        _label_recording(
            recording,
            seizures_of.get(recording["recording_id"], seizures.iloc[:0]),
            watched_of.get(recording["recording_id"], annotated_intervals.iloc[:0]),
            spec,
            split,
        )
        for recording in recordings.sort_values("recording_id").to_dict("records")
    ]
    if not tables:
        return pd.DataFrame({name: [] for name in CLIP_COLUMNS})
    return pd.DataFrame({name: np.concatenate([table[name] for table in tables]) for name in CLIP_COLUMNS})


def kept(clips: pd.DataFrame) -> pd.DataFrame:
    """The windows that carry a label."""
    return clips[clips["label"].notna()].reset_index(drop=True)


def _label_recording(
    recording: dict[Hashable, Any], seizures: pd.DataFrame, watched: pd.DataFrame, spec: TaskSpec, split: str
) -> dict[str, list[Any] | NDArray[np.float64]]:
    """Columns of one recording; a table for each of ten thousand recordings would cost more than the labelling."""
    name, duration = str(recording["recording_id"]), float(recording["duration_s"])
    count = math.floor(round((duration - spec.window_s) / spec.stride_s, 6)) + 1
    if count < 1:
        starts, ends = np.array([0.0]), np.array([duration])
    else:
        starts = np.round(np.arange(count) * spec.stride_s, 6)
        ends = np.round(starts + spec.window_s, 6)

    of_type = seizures[seizures["onset_type"] == spec.onset_type] if len(seizures) else seizures
    onsets, offsets = _onsets_and_offsets(of_type)
    to_next, from_prev = _next(onsets, ends) - ends, starts - _last(offsets, starts)
    aside = _rule_for_all(recording, count, spec, split)
    if aside is not None:
        rules = np.full(len(starts), aside, dtype=object)
    else:
        rules = _rules(starts, ends, (onsets, offsets), _onsets_and_offsets(seizures), watched_bounds(watched), spec)
        rules = _without_overlaps(rules, name, starts, spec)
    return {
        "clip_id": [f"{name}@{start:.3f}-{end:.3f}" for start, end in zip(starts, ends, strict=True)],
        "recording_id": [name] * len(starts),
        "subject_id": [str(recording["subject_id"])] * len(starts),
        "start_s": starts,
        "end_s": ends,
        "label": [LABELS.get(rule, np.nan) for rule in rules],
        "gap_to_next_onset_s": np.where(np.isfinite(to_next), np.round(to_next, 6), np.nan),
        "gap_from_prev_offset_s": np.where(np.isfinite(from_prev), np.round(from_prev, 6), np.nan),
        "rule_id": [str(rule) for rule in rules],
    }


def _rule_for_all(recording: dict[Hashable, Any], count: int, spec: TaskSpec, split: str) -> Rule | None:
    """The rule that leaves out every window of a recording, if there is one."""
    if recording["species"] != spec.species:
        return Rule.OTHER_SPECIES
    if recording["split"] != split:
        return Rule.OTHER_SPLIT
    return Rule.SHORTER_THAN_WINDOW if count < 1 else None


def _rules(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    seizures: Spans,
    any_seizures: Spans,
    watched: Spans,
    spec: TaskSpec,
) -> NDArray[np.object_]:
    """The rule of each window taken by itself; later assignments override earlier ones.

    `seizures` are those of the task's onset type: they make positives. `any_seizures` keep negatives away, since a
    recording whose EEG onsets alone are known is not inter-ictal around them.
    """
    onsets, offsets = seizures
    rules = np.full(len(starts), Rule.TOO_CLOSE_TO_SEIZURE, dtype=object)
    gap = np.minimum(_next(any_seizures[0], ends) - ends, starts - _last(any_seizures[1], starts))
    far = ~_overlaps(starts, ends, *any_seizures) & (np.round(gap, 6) >= spec.min_gap_s)
    rules[far] = Rule.INTER_ICTAL
    touches_ictal = _overlaps(starts, ends, onsets, offsets)
    if spec.kind == "forecast":
        first, last = np.round(ends + spec.sph_s, 6), np.round(ends + spec.sph_s + spec.sop_s, 6)
        rules[_any_in(onsets, first, last)] = Rule.PRE_ICTAL
        rules[_overlaps(starts, ends, offsets, np.round(offsets + spec.postictal_s, 6))] = Rule.TOUCHES_POST_ICTAL
        rules[touches_ictal] = Rule.TOUCHES_ICTAL
    else:
        rules[touches_ictal] = Rule.TOUCHES_ICTAL
        rules[_inside(starts, ends, onsets, offsets)] = Rule.ICTAL
    rules[~_inside(starts, ends, *watched)] = Rule.NOT_WATCHED
    return rules


def _without_overlaps(
    rules: NDArray[np.object_], recording_id: str, starts: NDArray[np.float64], spec: TaskSpec
) -> NDArray[np.object_]:
    """Keep as many non-overlapping windows as fit into each run of equal labels, at an offset drawn by name.

    Without the draw every kept window would sit at the far end of the horizon (or the near one), and the lead
    time would be a constant that real warnings do not have. With an SPH, the horizons of two seizures can lie nearer
    than a window apart: a run begins where the windows kept before it have ended.
    """
    thinned = rules.copy()
    step = math.ceil(round(spec.window_s / spec.stride_s, 6))
    free = 0  # the first window that overlaps none kept so far
    for first, length in _runs(rules):
        if rules[first] not in LABELS:
            continue
        thinned[first : first + length] = Rule.OVERLAPS_KEPT_CLIP
        begin, end = max(first, free), first + length
        if begin >= end:
            continue
        slack = (end - begin - 1) % step
        draw = hashlib.sha256(f"{recording_id}:{starts[begin]:.3f}".encode()).digest()
        chosen = range(begin + int.from_bytes(draw[:8], "big") % (slack + 1), end, step)
        thinned[chosen] = rules[chosen]
        free = chosen[-1] + step
    return thinned


def _runs(values: NDArray[np.object_]) -> list[tuple[int, int]]:
    """(first index, length) of each run of equal neighbours."""
    changes = [0, *(i for i in range(1, len(values)) if values[i] != values[i - 1]), len(values)]
    return [(a, b - a) for a, b in pairwise(changes)]


def watched_bounds(intervals: pd.DataFrame) -> Spans:
    """Starts and ends (s) of a recording's watched stretches, sorted; those that touch or overlap are joined."""
    joined: list[list[float]] = []
    for start, end in sorted(zip(intervals["start_s"].astype(float), intervals["end_s"].astype(float), strict=True)):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    table = np.array(joined, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _onsets_and_offsets(seizures: pd.DataFrame) -> Spans:
    if seizures.empty:
        return np.empty(0), np.empty(0)
    ordered = seizures.sort_values("onset_s")
    onsets = ordered["onset_s"].to_numpy(dtype=np.float64)
    return onsets, np.round(onsets + ordered["duration_s"].to_numpy(dtype=np.float64), 6)


def _next(times: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first of `times` at or after each moment; infinity where there is none."""
    padded = np.append(times, np.inf)
    return padded[np.searchsorted(times, after, side="left")]


def _last(times: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last of `times` at or before each moment; minus infinity where there is none."""
    ordered = np.sort(times)
    padded = np.insert(ordered, 0, -np.inf)
    return padded[np.searchsorted(ordered, before, side="right")]


def _any_in(times: NDArray[np.float64], after: NDArray[np.float64], until: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether one of `times` lies in (after, until]."""
    return np.searchsorted(times, until, side="right") > np.searchsorted(times, after, side="right")


def _overlaps(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    onsets: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether [start, end) shares time with any [onset, offset)."""
    shared: NDArray[np.bool_] = (starts[:, None] < offsets) & (onsets < ends[:, None])
    return np.asarray(shared.any(axis=1), dtype=np.bool_)


def _inside(
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    onsets: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether [start, end] lies wholly in one [onset, offset]."""
    inside: NDArray[np.bool_] = (starts[:, None] >= onsets) & (ends[:, None] <= offsets)
    return np.asarray(inside.any(axis=1), dtype=np.bool_)
