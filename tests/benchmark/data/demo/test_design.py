"""The complete design, without drawing it: it serves the task, and nothing but behaviour tells the label."""

import hashlib
from collections import Counter

import pytest
from sklearn.metrics import roc_auc_score

from benchmark.data.demo.design import DEMO_VERSION, complete_design
from benchmark.data.demo.render import tables
from tasks.spec import load_task
from tasks.windows import label_windows

PLANS = complete_design()
BY_ID = {plan.recording_id: plan for plan in PLANS}
SHORTCUTS = ("start_s", "from_middle_s", "duration_s", "fps", "pixels", "night")


def clips_of(task, split="evaluate", **changes):
    """Labelled clips of the complete design, with all that a cheat could look at."""
    digests = {plan.recording_id: "0" * 64 for plan in PLANS}
    clips = label_windows(*tables(PLANS, digests), load_task(task, **changes), split)
    clips = clips[clips["label"].notna()].copy()
    plans = [BY_ID[name] for name in clips["recording_id"]]
    clips["duration_s"] = [plan.duration_s for plan in plans]
    clips["from_middle_s"] = abs((clips["start_s"] + clips["end_s"] - clips["duration_s"]) / 2)
    clips["fps"] = [float(plan.fps) for plan in plans]
    clips["pixels"] = [plan.width * plan.height for plan in plans]
    clips["night"] = [float(plan.night) for plan in plans]
    return clips


def test_design_changes_only_with_its_version():
    digest = hashlib.sha256(repr([repr(plan) for plan in PLANS]).encode()).hexdigest()
    assert (DEMO_VERSION, digest[:16]) == ("1", "fe52c5bb02281370")


def test_subjects_and_recordings_are_those_of_the_documentation():
    recordings = Counter((plan.split, plan.subject_id[:2]) for plan in PLANS)
    assert recordings == {("evaluate", "pt"): 24, ("develop", "dv"): 8, ("pretrain", "pr"): 6, ("pretrain", "rd"): 120}
    assert len(BY_ID) == len(PLANS)
    assert {plan.species for plan in PLANS} == {"human", "mouse", "rat"}


@pytest.mark.parametrize("window_s", [3, 5, 10])
def test_paper_s_twenty_and_twenty_clips_come_from_twelve_patients(window_s):
    clips = clips_of("forecast_5s", window_s=window_s)
    for label in (0.0, 1.0):
        assert (clips["label"] == label).sum() >= 20
        assert clips.loc[clips["label"] == label, "subject_id"].nunique() == 12


def test_each_recording_gives_both_classes_with_three_ten_second_negatives():
    counts = clips_of("forecast_5s", window_s=10).groupby("recording_id")["label"].value_counts().unstack()
    assert len(counts) == 24
    assert (counts[1.0] >= 1).all()
    assert (counts[0.0] >= 3).all()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("task", ["forecast_5s", "forecast_10s"])
def test_shortcut_does_not_predict_the_forecast(task, shortcut):
    clips = clips_of(task)
    assert roc_auc_score(clips["label"], clips[shortcut]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("shortcut", [s for s in SHORTCUTS if s != "start_s"])
def test_shortcut_does_not_predict_ictal_time(shortcut):
    """Start is left out: pre-ictal time is mirrored, so ictal time, which follows it, cannot be (docs/demo_set.md)."""
    clips = clips_of("detect_ictal")
    assert roc_auc_score(clips["label"], clips[shortcut]) == pytest.approx(0.5, abs=0.06)


def test_onsets_are_irregular_and_seizures_lie_inside_their_recordings():
    seizures = [(plan, plan.seizure) for plan in PLANS if plan.seizure]
    fractions = [seizure.onset_s % 1 for _, seizure in seizures]
    assert sum(fraction == 0 for fraction in fractions) <= 1  # one in a thousand falls on a whole second by chance
    assert len(set(fractions)) > 0.9 * len(fractions)
    for plan, seizure in seizures:
        assert seizure.onset_s >= seizure.lead_s
        assert seizure.onset_s + seizure.duration_s <= plan.duration_s
        if plan.species == "human":
            assert 15 <= seizure.duration_s <= 30


def test_patients_have_one_early_and_one_late_seizure_balanced_over_day_and_night():
    kinds = Counter(
        (plan.seizure.onset_s < plan.duration_s / 2, plan.night) for plan in PLANS if plan.split == "evaluate"
    )
    assert set(kinds.values()) == {6}
    assert len(kinds) == 4


def test_rodent_classes_are_balanced_within_each_animal():
    rodents = [plan for plan in PLANS if plan.species != "human"]
    counts = Counter((plan.subject_id, plan.width, plan.fps, plan.night, plan.seizure is not None) for plan in rodents)
    assert set(counts.values()) == {3}
    assert {plan.duration_s for plan in rodents} == {10.0}
    place = [int(plan.recording_id[-2:]) for plan in rodents]
    assert roc_auc_score([plan.seizure is not None for plan in rodents], place) == pytest.approx(0.5, abs=0.1)
