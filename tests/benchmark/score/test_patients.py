"""Figures of single patients worked out by hand, and a worst patient that is judged against luck."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from benchmark.score.patients import per_patient, worst_patient

# docs/statistics.md. a: 0.9 beats both negatives, 0.6 one of them; b: 0.4 beats 0.3 and not 0.5; c has positives only.
PATIENTS = ["a", "a", "a", "a", "b", "b", "b", "c"]
LABELS = np.array([1.0, 1, 0, 0, 1, 0, 0, 1])
SCORES = np.array([0.9, 0.6, 0.7, 0.2, 0.4, 0.3, 0.5, 0.8])


def once(scores):
    """One number of shots, one replicate."""
    return np.asarray(scores)[None, None]


def same(patients, wrong=0, clips=4):
    """`clips` + `clips` clips each, ranked perfectly but in the first `wrong` patients, where they are the reverse."""
    labels = np.tile(np.repeat([1.0, 0.0], clips), patients)
    right = np.tile(np.concatenate([np.linspace(0.6, 0.9, clips), np.linspace(0.1, 0.4, clips)]), patients)
    owners = np.repeat([f"p{i:02d}" for i in range(patients)], 2 * clips)
    return once(np.where(owners < f"p{wrong:02d}", 1 - right, right)), labels, [str(owner) for owner in owners]


def test_each_patient_has_the_figures_worked_out_by_hand():
    a, b, c = per_patient(once(SCORES), LABELS, PATIENTS)
    assert (a.patient, a.positives, a.negatives) == ("a", 2, 2)
    assert (a.roc_auc, a.balanced_accuracy) == (0.75, 0.75)  # sensitivity 1, specificity 1/2
    assert a.brier == pytest.approx((0.01 + 0.16 + 0.49 + 0.04) / 4)
    assert (a.positive_score, a.negative_score) == pytest.approx((0.75, 0.45))
    assert (b.roc_auc, b.balanced_accuracy) == (0.5, 0.25)  # 0.4 is no warning, and 0.5 is one
    assert (c.roc_auc, c.balanced_accuracy, c.negative_score) == (None, None, None)
    assert (c.positives, c.negatives, c.positive_score) == (1, 0, 0.8)
    assert c.brier == pytest.approx(0.04)


def test_replicates_are_scored_one_by_one_and_shots_averaged():
    # Replicates: 1 and 0, mean 0.5 (their mean score would tie). Shots: 0.5 and 1.
    scores = np.array([[[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.7, 0.3]]])
    (only,) = per_patient(scores, np.array([1.0, 0.0]), ["a", "a"])
    assert only.roc_auc == 0.75
    assert only.positive_score == pytest.approx((0.5 + 0.75) / 2)


def test_a_missing_shot_leaves_no_average_and_a_patient_never_scored_is_left_out():
    scores = np.stack([once(SCORES)[0], once(SCORES)[0]])
    scores[1, 0, 2:4] = np.nan  # a's negatives, in one of two shots
    scores[:, 0, 7] = np.nan  # c
    a, b = per_patient(scores, LABELS, PATIENTS)
    assert (a.patient, a.roc_auc, a.negative_score, a.positives, a.negatives) == ("a", None, None, 2, 2)
    assert a.positive_score == pytest.approx(0.75)
    assert (b.patient, b.roc_auc) == ("b", 0.5)


def test_a_clip_that_one_replicate_lacks_is_left_out_of_all():
    scores = np.stack([SCORES, SCORES])[None]
    scores[0, 1, 2] = np.nan
    a = per_patient(scores, LABELS, PATIENTS)[0]
    assert (a.roc_auc, a.negatives) == (1.0, 1)


def test_the_worst_patient_is_the_lowest_with_both_classes_and_says_what_it_stands_on():
    worst = worst_patient(once(SCORES), LABELS, PATIENTS)
    assert (worst.patient, worst.roc_auc, worst.positives, worst.negatives) == ("b", 0.5, 1, 2)
    assert (worst.shared_by, worst.patients) == (1, 2)


def test_of_those_who_share_the_minimum_the_one_with_most_clips_is_named():
    labels, patients = np.array([1.0, 0, 1, 0, 0, 1, 0]), ["a", "a", "b", "b", "b", "c", "c"]
    worst = worst_patient(once([0.1, 0.9, 0.1, 0.8, 0.7, 0.9, 0.1]), labels, patients)
    assert (worst.patient, worst.shared_by, worst.patients, worst.roc_auc) == ("b", 2, 3, 0.0)


def test_what_luck_gives_two_patients_is_known_by_hand():
    # Positives 0.9 and 0.4, negatives 0.5 and 0.1. Dealt 0.9 with 0.5 and 0.4 with 0.1 the minimum is 1, else 0.
    labels, patients = np.array([1.0, 0, 1, 0]), ["a", "a", "b", "b"]
    for scores, minimum in (([0.9, 0.5, 0.4, 0.1], 1.0), ([0.9, 0.1, 0.4, 0.5], 0.0)):
        worst = worst_patient(once(scores), labels, patients)
        assert (worst.roc_auc, worst.expected_low, worst.expected_high) == (minimum, 0.0, 1.0)
        assert worst.worse_than_luck is False


def test_one_patient_got_wrong_among_many_right_is_worse_than_luck():
    worst = worst_patient(*same(8, wrong=1))
    assert (worst.patient, worst.roc_auc, worst.worse_than_luck) == ("p00", 0.0, True)
    assert 0 < worst.expected_low <= worst.expected_median <= worst.expected_high < 1


def test_patients_got_equally_right_are_no_worse_than_luck():
    worst = worst_patient(*same(8))
    assert (worst.roc_auc, worst.shared_by, worst.expected_low, worst.worse_than_luck) == (1.0, 8, 1.0, False)


def test_a_single_patient_is_the_worst_and_nothing_is_expected_of_it():
    worst = worst_patient(*same(1))
    assert (worst.patient, worst.roc_auc, worst.patients) == ("p00", 1.0, 1)
    assert (worst.expected_low, worst.expected_median, worst.expected_high, worst.worse_than_luck) == (None,) * 4


def test_without_a_patient_of_both_classes_there_is_no_worst():
    assert worst_patient(once([0.2, 0.7]), np.array([1.0, 0.0]), ["a", "b"]) is None
    assert worst_patient(once([np.nan, np.nan]), np.array([1.0, 0.0]), ["a", "a"]) is None
    assert per_patient(once([np.nan, np.nan]), np.array([1.0, 0.0]), ["a", "a"]) == ()


def test_alike_patients_are_called_worse_than_luck_in_at_most_one_of_forty_cohorts():
    random, labels, owners = (
        np.random.default_rng(0),
        np.tile([1.0] * 6 + [0.0] * 6, 8),
        np.repeat(list("abcdefgh"), 12),
    )
    found = [
        worst_patient(once(random.normal(0.3, 0.1, 96) + 0.15 * labels), labels, list(owners), seed=i).worse_than_luck
        for i in range(400)
    ]
    assert sum(found) <= 400 * 0.025 + 2 * np.sqrt(400 * 0.025 * 0.975)
    assert any(found)


def test_the_same_seed_gives_the_same_expectation_in_any_order_of_shots():
    scores = np.random.default_rng(1).random((2, 3, 8))
    labels, patients = np.tile([1.0, 0.0], 4), list("aabbccdd")
    assert worst_patient(scores, labels, patients) == worst_patient(scores[::-1], labels, patients)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=30))
def test_a_patients_roc_auc_is_that_of_scikit_learn(clips):
    scores = np.array([score / 10 for score, _, _ in clips])
    labels = np.array([float(label) for _, label, _ in clips])
    owners = np.array([name for _, _, name in clips])
    found = per_patient(once(scores), labels, list(owners))
    assert [result.patient for result in found] == sorted(set(owners))
    for result in found:
        own = owners == result.patient
        if len(set(labels[own])) == 1:
            assert result.roc_auc is None
        else:
            assert result.roc_auc == pytest.approx(roc_auc_score(labels[own], scores[own]), abs=1e-12)
    known = [result.roc_auc for result in found if result.roc_auc is not None]
    worst = worst_patient(once(scores), labels, list(owners), deals=20)
    assert (worst is None) == (not known)
    assert worst is None or worst.roc_auc == pytest.approx(min(known))
