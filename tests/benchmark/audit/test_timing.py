"""Clips against seizures: labels that events contradict, seizures in the picture, and clips that share time."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.audit.timing import clips_of_ids, timing_findings
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task
from tasks.windows import kept, label_windows

FORECAST = load_task("forecast_5s")  # window 5, SPH 0, SOP 5, gap 75, post-ictal 60
DETECT = load_task("detect_ictal")
DISJOINT, PAPER = load_protocol("patient_disjoint"), load_protocol("paper")
RECORDINGS = pd.DataFrame(
    [(name, name[0], "human", "evaluate", 1000.0) for name in ("a1", "a2", "b1", "b2")],
    columns=["recording_id", "subject_id", "species", "split", "duration_s"],
)


def events(*rows):
    columns = ["recording_id", "onset_s", "duration_s", "onset_type"]
    return pd.DataFrame(rows, columns=columns).assign(event_type="sz")


def clips(*rows):
    table = pd.DataFrame(rows, columns=["recording_id", "start_s", "label"])
    return table.assign(
        end_s=table["start_s"] + 5,
        subject_id=table["recording_id"].str[0],
        clip_id=[f"{r}@{s:.3f}-{s + 5:.3f}" for r, s in zip(table["recording_id"], table["start_s"], strict=True)],
    )


def found(clips, events, task=FORECAST, protocol=DISJOINT):
    return {(f.name, f.severity): f.evidence for f in timing_findings(clips, RECORDINGS, events, task, protocol)}


SEIZURE = ("a1", 100.0, 20.0, "clinical")


@pytest.mark.parametrize(
    ("start", "wrong"), [(89.999, True), (90.0, False), (92.5, False), (94.998, False), (95.0, False)]
)
def test_a_positive_ends_within_the_horizon_before_an_onset(start, wrong):
    """Ends at 94.999 s: the onset is 5.001 s later, past the horizon; ids are rounded to milliseconds."""
    shifted = start - 0.001 if wrong else start
    assert (("clip-end-against-onset", "hard") in found(clips(("a1", shifted, 1.0)), events(SEIZURE))) == wrong


def test_the_evidence_says_how_far_the_onset_is():
    assert found(clips(("a1", 50.0, 1.0)), events(SEIZURE)) == {
        ("clip-end-against-onset", "hard"): (
            "a1@50.000-55.000: positive, yet the next clinical onset is 45.000 s after its end (must be in 0 to 5 s)",
        )
    }


@pytest.mark.parametrize(("start", "wrong"), [(20.0, False), (20.5, True), (194.5, True), (195.0, False)])
def test_a_negative_keeps_its_gap_on_both_sides(start, wrong):
    assert (("clip-end-against-onset", "hard") in found(clips(("a1", start, 0.0)), events(SEIZURE))) == wrong


def test_a_recording_without_seizures_holds_negatives_anywhere():
    assert found(clips(("a1", 500.0, 0.0), ("a2", 3.0, 0.0)), events(SEIZURE)) == {}


def test_a_detected_clip_lies_inside_a_seizure():
    assert found(clips(("a1", 105.0, 1.0)), events(SEIZURE), DETECT) == {}
    assert ("clip-end-against-onset", "hard") in found(clips(("a1", 117.0, 1.0)), events(SEIZURE), DETECT)


@pytest.mark.parametrize(("leads", "told"), [([3.0] * 6, True), ([2.6, 3, 3, 3, 3, 3.5], True), ([3.0] * 5, False)])
def test_a_constant_lead_is_told_from_six_clips_on(leads, told):
    names = ["a1", "a2", "b1", "b2", "a1", "a2"][: len(leads)]
    onsets = [200.0 + 200 * (number // 4) for number in range(len(leads))]
    table = clips(*[(n, onset - lead - 5, 1.0) for n, onset, lead in zip(names, onsets, leads, strict=True)])
    marked = events(*[(n, onset, 10.0, "clinical") for n, onset in zip(names, onsets, strict=True)])
    assert (("clip-end-against-onset", "soft") in found(table, marked)) == told


def test_leads_over_the_whole_horizon_are_as_they_should_be():
    table = clips(*[("a1", 200.0 * k - 5 - lead, 1.0) for k, lead in enumerate([0.5, 1, 2, 3, 4, 4.5], 1)])
    marked = events(*[("a1", 200.0 * k, 10.0, "clinical") for k in range(1, 7)])
    assert found(table, marked) == {}


def test_ictal_time_by_the_tasks_own_marks_is_wrong_and_by_others_to_be_looked_at():
    positive = clips(("a1", 92.0, 1.0))
    own = events(SEIZURE, ("a1", 80.0, 15.0, "clinical"))
    eeg = events(SEIZURE, ("a1", 82.0, 38.0, "eeg"))
    assert ("ictal-time-in-clip", "hard") in found(positive, own)
    assert found(positive, eeg) == {
        ("ictal-time-in-clip", "soft"): ("a1@92.000-97.000: eeg seizure from 82.000 to 120.000 s",)
    }


def test_post_ictal_time_lasts_as_long_as_the_task_says():
    positive = clips(("a1", 92.0, 1.0))
    ends_60_s_before = events(SEIZURE, ("a1", 22.0, 10.0, "eeg"))
    ends_59_s_before = events(SEIZURE, ("a1", 23.0, 10.0, "eeg"))
    assert found(positive, ends_60_s_before) == {}
    assert set(found(positive, ends_59_s_before)) == {("post-ictal-time-in-clip", "soft")}
    own = events(SEIZURE, ("a1", 23.0, 10.0, "clinical"))
    assert set(found(positive, own)) == {("post-ictal-time-in-clip", "hard")}


def test_onset_types_are_mixed_where_no_recording_joins_them():
    eeg = ("b1", 100.0, 10.0, "eeg")
    clean = clips(("a1", 92.0, 1.0), ("a2", 500.0, 0.0))
    assert found(clean, events(SEIZURE, eeg))[("onset-types-mixed", "soft")] == (
        "clinical alone: a1",
        "eeg alone: b1",
    )
    assert found(clean, events(SEIZURE, eeg, ("b1", 110.0, 10.0, "clinical"))) == {}


def test_overlap_is_soft_only_where_the_two_clips_stay_together():
    same = clips(("a1", 500.0, 0.0), ("a1", 504.0, 0.0), ("a2", 500.0, 0.0))
    other = clips(("a1", 500.0, 0.0), ("a1", 504.0, 1.0))
    assert set(found(same, events(SEIZURE))) == {("overlapping-clips", "soft")}
    assert found(same, events(SEIZURE))[("overlapping-clips", "soft")] == (
        "a1@500.000-505.000 and a1@504.000-509.000 share 1.000 s",
    )
    assert ("overlapping-clips", "hard") in found(same, events(SEIZURE), protocol=PAPER)
    assert ("overlapping-clips", "hard") in found(other, events(SEIZURE))
    assert found(clips(("a1", 500.0, 0.0), ("a1", 505.0, 0.0)), events(SEIZURE)) == {}


def test_clip_ids_carry_their_time():
    table = clips_of_ids(pd.DataFrame({"clip_id": ["a@b_1@2.000-7.500"], "label": [1.0]}))
    assert table.to_dict("records") == [
        {"clip_id": "a@b_1@2.000-7.500", "label": 1.0, "recording_id": "a@b_1", "start_s": 2.0, "end_s": 7.5}
    ]
    with pytest.raises(BadInput, match="'clip 7'"):
        clips_of_ids(pd.DataFrame({"clip_id": ["clip 7"]}))


@given(
    seizures=st.lists(st.tuples(st.integers(0, 9000), st.integers(5, 200)), max_size=4),
    task=st.sampled_from(["forecast_5s", "forecast_60s", "detect_ictal"]),
    sph=st.sampled_from([0, 7.5]),
)
def test_what_label_windows_cuts_is_never_a_hard_finding(seizures, task, sph):
    """The rule that labels and the rule that audits are written apart; they must agree."""
    spec = load_task(task, sph_s=sph, min_gap_s=160) if task != "detect_ictal" else load_task(task)
    rows, end = [], -1.0
    for onset, length in sorted(seizures):
        if onset / 10 > end:
            rows.append(("a1", onset / 10, length / 10, "clinical"))
            end = (onset + length) / 10
    watched = pd.DataFrame([("a1", 0.0, 1000.0)], columns=["recording_id", "start_s", "end_s"])
    pool = kept(label_windows(RECORDINGS, events(*rows), watched, spec))
    assert [f for f in timing_findings(pool, RECORDINGS, events(*rows), spec, PAPER) if f.severity == "hard"] == []
