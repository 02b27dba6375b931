"""Clips against seizures: do the labels follow from the events, and is any seizure already in the picture?

    |---clip---|...SPH...|---SOP---|        forecast: a positive has an onset in (end + SPH, end + SPH + SOP],
    start    end                            and no ictal or post-ictal time, by whatever marks

The clips are those of a task's pool, or those that a run was made of, which older events may have labelled.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.audit.findings import FaultName, Finding, finding
from protocols.spec import ProtocolSpec
from tasks.errors import BadInput
from tasks.spec import TaskSpec

CONSTANT_LEAD = 0.2  # of the SOP: 6 lead times drawn evenly over it lie this close together once in 600 data sets
ENOUGH_LEADS = 6
ROUNDING_S = 0.0011  # clip ids hold milliseconds

Times = NDArray[np.float64]


def timing_findings(
    clips: pd.DataFrame, recordings: pd.DataFrame, events: pd.DataFrame, task: TaskSpec, protocol: ProtocolSpec
) -> list[Finding]:
    """Everything below.

    Args:
        clips: clip_id, recording_id, subject_id, start_s, end_s, label (1 or 0).
        recordings: of the manifest; those of the task's species and of the clips' splits are looked at.
        events: of the manifest.
        task: what is asked.
        protocol: what support and query may share.
    """
    seizures = events[events["event_type"].str.startswith("sz")]
    own = seizures[seizures["onset_type"] == task.onset_type]
    asked = recordings[recordings["recording_id"].isin(clips["recording_id"])]["split"].unique()
    theirs = recordings[recordings["split"].isin(asked) & (recordings["species"] == task.species)]
    return [
        *labels_against_onsets(clips, seizures, own, task),
        *constant_lead(clips, own, task),
        *seizure_time(clips, seizures, task),
        *mixed_onset_types(theirs, seizures),
        *overlapping_clips(clips, protocol),
    ]


def clips_of_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Add recording_id, start_s and end_s, read from ids such as `rec@12.000-17.000`.

    Raises:
        BadInput: an id is not of that form.
    """
    parts = table["clip_id"].str.extract(r"^(?P<recording_id>.+)@(?P<start_s>\d+\.\d+)-(?P<end_s>\d+\.\d+)$")
    strange = table.loc[parts["recording_id"].isna(), "clip_id"]
    if len(strange):
        raise BadInput(
            f"clip id {strange.iloc[0]!r} of the run does not say recording@start-end; audit a run of this version"
        )
    return table.assign(
        **{str(name): column for name, column in parts.astype({"start_s": float, "end_s": float}).items()}
    )


def labels_against_onsets(
    clips: pd.DataFrame, seizures: pd.DataFrame, own: pd.DataFrame, task: TaskSpec
) -> list[Finding]:
    """Clips whose label the events contradict. `own`: the seizures of the task's onset type."""
    own_of, all_of = (dict(iter(table.groupby("recording_id"))) for table in (own, seizures))
    evidence = []
    for clip in clips.to_dict("records"):
        recording, start, end = clip["recording_id"], clip["start_s"], clip["end_s"]
        if clip["label"] == 1:
            onsets, offsets = _spans(own_of.get(recording))
            fault = _fault_of_positive(start, end, onsets, offsets, task)
        else:
            onsets, offsets = _spans(all_of.get(recording))
            apart = float(np.maximum(onsets - end, start - offsets).min(initial=np.inf))
            fault = f"negative, yet {max(apart, 0):.3f} s from a seizure (least {task.min_gap_s:g} s)"
            fault = fault if apart < task.min_gap_s - ROUNDING_S else ""
        if fault:
            evidence.append(f"{clip['clip_id']}: {fault}")
    return finding(
        "clip-end-against-onset",
        "hard",
        f"labels of clips contradict the {task.onset_type} onsets in events.tsv by task {task.name}; correct the "
        "events, or run again so that the clips are cut by them",
        evidence,
    )


def constant_lead(clips: pd.DataFrame, own: pd.DataFrame, task: TaskSpec) -> list[Finding]:
    """Positives that all end (nearly) the same time before the onset, as clips cut by hand do."""
    if task.kind != "forecast":
        return []
    own_of = dict(iter(own.groupby("recording_id")))
    leads = []
    for clip in clips[clips["label"] == 1].to_dict("records"):
        onsets, _ = _spans(own_of.get(clip["recording_id"]))
        later = onsets[onsets > clip["end_s"]] - clip["end_s"]
        leads += [float(later.min())] if len(later) else []
    if len(leads) < ENOUGH_LEADS or max(leads) - min(leads) >= CONSTANT_LEAD * task.sop_s:
        return []
    return finding(
        "clip-end-against-onset",
        "soft",
        f"all positive clips end at nearly the same time before the onset, which no real warning does, so a method can "
        f"learn that moment; watch (annotate) more time before the onsets, so that leads spread over {task.sop_s:g} s",
        [f"{len(leads)} positive clips end {min(leads):.2f} to {max(leads):.2f} s before the onset"],
    )


def seizure_time(clips: pd.DataFrame, seizures: pd.DataFrame, task: TaskSpec) -> list[Finding]:
    """Forecasting clips that hold ictal or post-ictal time (for a detection task: negatives that hold ictal time).

    Hard by marks of the task's own onset type, and where a negative is ictal. Soft where only the other type says so,
    as EEG onsets before the clinical ones do: what is then forecast is early detection.
    """
    marks_of = {
        recording: list(zip(*_spans(table), table["onset_type"], strict=True))
        for recording, table in seizures.groupby("recording_id")
    }
    ictal: dict[bool, list[str]] = {True: [], False: []}
    postictal: dict[bool, list[str]] = {True: [], False: []}
    for clip in clips.to_dict("records"):
        if task.kind == "detect" and clip["label"] == 1:
            continue
        for onset, offset, kind in marks_of.get(clip["recording_id"], []):
            own = kind == task.onset_type
            told = f"{clip['clip_id']}: {kind} seizure from {onset:.3f} to {offset:.3f} s"
            if _shared(clip, onset, offset) > ROUNDING_S:
                ictal[own or clip["label"] != 1].append(told)
            elif task.kind == "forecast" and _shared(clip, offset, offset + task.postictal_s) > ROUNDING_S:
                postictal[own].append(f"{told}, post-ictal for {task.postictal_s:g} s more")
    return [
        *_time_in_clip("ictal-time-in-clip", "ictal", ictal),
        *_time_in_clip("post-ictal-time-in-clip", "post-ictal", postictal),
    ]


def mixed_onset_types(recordings: pd.DataFrame, seizures: pd.DataFrame) -> list[Finding]:
    """Recordings whose seizures are marked by EEG alone beside others marked clinically alone."""
    theirs = seizures[seizures["recording_id"].isin(recordings["recording_id"])]
    kinds = theirs.groupby("recording_id")["onset_type"].agg(lambda values: " ".join(sorted(set(values))))
    alone = {kind: sorted(kinds[kinds == kind].index) for kind in ("clinical", "eeg")}
    if not all(alone.values()):
        return []
    return finding(
        "onset-types-mixed",
        "soft",
        "some recordings are marked by EEG onset alone and others by clinical onset alone, so the same label means two "
        "moments; mark both in each, or audit and run each part apart",
        [
            f"{kind} alone: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for kind, names in alone.items()
        ],
    )


def overlapping_clips(clips: pd.DataFrame, protocol: ProtocolSpec) -> list[Finding]:
    """Clips of one recording that share time. Hard where they may part into support and query, or differ in label."""
    hits: dict[bool, list[str]] = {}
    for a, b in _overlaps(clips):
        is_hard = protocol.disjoint == "clip" or a["label"] != b["label"]
        hits.setdefault(is_hard, []).append(
            f"{a['clip_id']} and {b['clip_id']} share {min(a['end_s'], b['end_s']) - b['start_s']:.3f} s"
        )
    told = "clips share frames, so they are no independent cases; cut the clips by a task of this suite, which never do"
    return [
        *finding("overlapping-clips", "hard", told, hits.get(True, [])),
        *finding("overlapping-clips", "soft", told, hits.get(False, [])),
    ]


def _overlaps(clips: pd.DataFrame) -> Iterator[tuple[dict[Hashable, Any], dict[Hashable, Any]]]:
    """Neighbours in time that share more than a rounding."""
    for _, group in clips.sort_values(["start_s", "end_s"]).groupby("recording_id"):
        for a, b in pairwise(group.to_dict("records")):
            if min(a["end_s"], b["end_s"]) - b["start_s"] > ROUNDING_S:
                yield a, b


def _fault_of_positive(start: float, end: float, onsets: Times, offsets: Times, task: TaskSpec) -> str:
    """What the events say against a positive clip; empty where nothing."""
    if task.kind == "detect":
        inside = (onsets <= start + ROUNDING_S) & (end <= offsets + ROUNDING_S)
        return "" if inside.any() else f"positive, yet not inside a {task.onset_type} seizure"
    lead = onsets - end
    first, last = task.sph_s, task.sph_s + task.sop_s
    if ((lead > first - ROUNDING_S) & (lead <= last + ROUNDING_S)).any():
        return ""
    later = lead[lead > -ROUNDING_S]
    next_one = f"the next {task.onset_type} onset is {later.min():.3f} s" if len(later) else "no onset comes"
    return f"positive, yet {next_one} after its end (must be in {first:g} to {last:g} s)"


def _time_in_clip(name: FaultName, what: str, hits: dict[bool, list[str]]) -> list[Finding]:
    told = f"clips to forecast from hold {what} time"
    return [
        *finding(
            name,
            "hard",
            f"{told}, so the seizure itself is in the picture; run again on these events, so that the task cuts it out",
            hits[True],
        ),
        *finding(
            name,
            "soft",
            f"{told} by marks of the other onset type, so what is forecast may be early detection; say so with the "
            "result, or run with that --onset-type",
            hits[False],
        ),
    ]


def _shared(clip: dict[Hashable, Any], start: float, end: float) -> float:
    """Seconds of the clip in [start, end]."""
    return min(clip["end_s"], end) - max(clip["start_s"], start)


def _spans(seizures: pd.DataFrame | None) -> tuple[Times, Times]:
    if seizures is None:
        return np.empty(0), np.empty(0)
    onsets = seizures["onset_s"].to_numpy(dtype=np.float64)
    return onsets, onsets + seizures["duration_s"].to_numpy(dtype=np.float64)
