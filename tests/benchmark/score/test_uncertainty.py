"""Intervals: where the answer is known exactly, and how often they cover what they should."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.score.metrics import METRICS, clip_metrics
from benchmark.score.uncertainty import CLIPS, PATIENTS, patient_interval, patient_intervals
from perf.coverage import Cell, coverage, truths


def cohort(patients, clips_each=4):
    """Labels alternate within each patient."""
    labels = np.tile(np.arange(clips_each) % 2, patients).astype(float)
    return labels, [f"p{number:02d}" for number in range(patients) for _ in range(clips_each)]


def test_eight_patients_are_resampled_as_patients_and_seven_by_clips():
    for count, source in ((8, PATIENTS), (7, CLIPS)):
        labels, patients = cohort(count)
        interval = patient_interval("roc_auc", np.random.default_rng(0).random(len(labels)), labels, patients)
        assert (interval.source, interval.patients, interval.clips) == (source, count, 4 * count)


def test_clips_of_a_patient_stay_together_and_the_interval_is_that_of_a_share_of_patients():
    # Each patient is all right or all wrong, 7 of 10 right: draws are Binomial(10, 0.7) / 10, of variance 0.021, times
    # 10 / 9. On the logit scale that is 0.15275 / 0.21, and t[0.975, 9] is 2.2622.
    labels, patients = cohort(10, clips_each=2)
    right = np.repeat(np.arange(10) < 7, 2)
    scores = np.where(right, labels, 1 - labels)
    interval = patient_interval("balanced_accuracy", scores, labels, patients, resamples=40_000)
    reach = 2.2622 * np.sqrt(0.7 * 0.3 / 10 * 10 / 9) / (0.7 * 0.3)
    expected = 1 / (1 + np.exp(-(np.log(0.7 / 0.3) + np.array([-reach, reach]))))
    assert interval.standard_error == pytest.approx(0.15275, rel=0.01)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=0.005)


def test_an_interval_near_one_reaches_further_towards_one_half():
    labels, patients = cohort(10, clips_each=2)
    right = np.repeat(np.arange(10) < 9, 2)
    interval = patient_interval("balanced_accuracy", np.where(right, labels, 1 - labels), labels, patients)
    assert 0 < interval.low < 0.9 - 2 * (interval.high - 0.9) < interval.high < 1


def test_same_seed_same_interval_and_another_seed_another():
    labels, patients = cohort(10)
    scores = np.random.default_rng(3).random(len(labels))
    first, again, other = (patient_interval("roc_auc", scores, labels, patients, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("count", [10, 5, 1])
def test_order_of_clips_and_names_of_patients_change_nothing(count):
    labels, patients = cohort(count)
    scores = np.random.default_rng(3).random(len(labels))
    renamed = [f"site-b/{name}" for name in patients]
    assert patient_interval("pr_auc", scores, labels, renamed) == patient_interval("pr_auc", scores, labels, patients)
    if count >= 8:
        order = np.random.default_rng(4).permutation(len(labels))
        shuffled = patient_interval("pr_auc", scores[order], labels[order], [patients[i] for i in order])
        plain = patient_interval("pr_auc", scores, labels, patients)
        assert (shuffled.low, shuffled.high) == pytest.approx((plain.low, plain.high), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [10, 3])
def test_perfect_separation_gets_the_exact_limit_for_that_many_patients(metric, count):
    labels, patients = cohort(count)
    interval = patient_interval(metric, labels, labels, patients)
    limit = stats.binomtest(count, count, alternative="greater").proportion_ci(0.95, method="exact").low
    expected = (0.0, 1 - limit) if metric == "brier" else (limit, 1.0)
    assert interval.degenerate
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


def test_the_exact_limit_counts_the_class_with_fewer_patients():
    # Ten patients, but positives of two only: the claim about positives rests on two.
    labels = np.array([1.0, 0.0] * 2 + [0.0, 0.0] * 8)
    patients = [f"p{number}" for number in range(10) for _ in range(2)]
    interval = patient_interval("roc_auc", labels, labels, patients)
    assert interval.low == pytest.approx(0.05 ** (1 / 2))


def test_always_wrong_is_guarded_too():
    labels, patients = cohort(10)
    interval = patient_interval("roc_auc", 1 - labels, labels, patients)
    assert (interval.low, interval.high) == pytest.approx((0.0, 1 - 0.05**0.1))


def test_a_constant_score_stays_one_point_and_is_flagged():
    labels, patients = cohort(10)
    interval = patient_interval("roc_auc", np.full(len(labels), 0.1), labels, patients)
    assert (interval.low, interval.high, interval.degenerate) == (0.5, 0.5, True)


def test_draws_with_one_class_are_dropped_and_counted():
    # One of eight patients has all positives: a draw misses it with probability (7/8) ** 8 = 0.344.
    labels = np.repeat([1.0] + [0.0] * 7, 2)
    patients = [f"p{number}" for number in range(8) for _ in range(2)]
    interval = patient_interval("roc_auc", np.random.default_rng(0).random(16), labels, patients, resamples=4000)
    assert interval.resamples_dropped / 4000 == pytest.approx((7 / 8) ** 8, abs=0.03)
    assert 0 <= interval.low <= interval.high <= 1


def test_one_class_only_has_no_interval():
    assert patient_interval("brier", np.array([0.2, 0.4]), np.array([1.0, 1.0]), ["a", "b"]) is None


def test_a_single_patient_gets_clips_resampled():
    labels, patients = cohort(1, clips_each=20)
    interval = patient_interval("roc_auc", np.random.default_rng(0).random(20), labels, patients)
    assert (interval.patients, interval.source, interval.resamples_dropped) == (1, CLIPS, 0)
    assert interval.low < interval.high


def test_one_clip_of_each_class_is_an_interval_all_the_same():
    interval = patient_interval("roc_auc", np.array([0.9, 0.1]), np.array([1.0, 0.0]), ["a", "a"])
    assert (interval.low, interval.high) == pytest.approx((0.05, 1.0))


def test_with_one_clip_of_a_class_and_several_of_the_other_nothing_can_be_said():
    scores, labels = np.array([0.6, 0.1, 0.9]), np.array([1.0, 0.0, 0.0])
    interval = patient_interval("roc_auc", scores, labels, ["a", "b", "b"])
    assert (interval.low, interval.high, interval.validated) == (0.0, 1.0, False)


def test_all_shots_meet_the_same_draws():
    # Two shots whose scores mirror each other: their mean ROC-AUC is 0.5 in every draw, if the draws are the same.
    labels, patients = cohort(10)
    scores = np.random.default_rng(0).random(len(labels))
    found = patient_intervals(np.stack([scores, 1 - scores])[:, None], labels, patients)["roc_auc"]
    assert (found.averaged.low, found.averaged.high) == (0.5, 0.5)
    assert found.per_shot[0].low < found.per_shot[0].high


def test_replicates_are_averaged_within_each_draw():
    labels, patients = cohort(10)
    scores = np.random.default_rng(0).random(len(labels))
    found = patient_intervals(np.stack([scores, 1 - scores])[None], labels, patients)["roc_auc"]
    assert (found.averaged.low, found.averaged.high) == (0.5, 0.5)


def test_clips_without_a_score_are_left_out_of_their_shot_only():
    labels, patients = cohort(10)
    scores = np.random.default_rng(0).random((2, 1, len(labels)))
    scores[1, 0, :8] = np.nan  # the first two patients
    found = patient_intervals(scores, labels, patients)["roc_auc"]
    assert [(i.patients, i.clips) for i in (*found.per_shot, found.averaged)] == [(10, 40), (8, 32), (10, 40)]


def test_blocks_of_draws_do_not_change_the_interval(monkeypatch):
    labels, patients = cohort(10)
    scores = np.random.default_rng(0).random(len(labels))
    whole = patient_interval("pr_auc", scores, labels, patients)
    monkeypatch.setattr("benchmark.score.uncertainty._WEIGHTS_AT_ONCE", 40 * 7)
    assert patient_interval("pr_auc", scores, labels, patients) == whole


def test_intervals_of_a_random_score_contain_one_half_in_about_95_percent():
    # 400 cohorts of 12 patients. Binomial SD at 0.95 is 0.011; 0.92 to 0.98 is what luck of 2.7 SD allows.
    labels, patients = cohort(12)
    hits = 0
    for seed in range(400):
        scores = np.random.default_rng(10_000 + seed).random(len(labels))
        interval = patient_interval("roc_auc", scores, labels, patients, resamples=600, seed=seed)
        hits += interval.low <= 0.5 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_patients_who_differ_are_covered_by_patients_and_not_by_clips():
    # The score follows the label in one patient and runs against it in another; on average ROC-AUC is 0.5.
    covered = {}
    for count in (10, 5):
        labels, patients = cohort(count, clips_each=8)
        hits = 0
        for seed in range(200):
            random = np.random.default_rng(seed)
            slope = np.repeat(random.normal(size=count), 8)
            scores = 1 / (1 + np.exp(-(slope * (labels - 0.5) + random.normal(size=len(labels)))))
            interval = patient_interval("roc_auc", scores, labels, patients, resamples=400, seed=seed)
            hits += interval.low <= 0.5 <= interval.high
        covered[count] = hits / 200
    assert covered[10] >= 0.91  # 0.95 less 2.7 binomial SDs
    assert covered[5] <= 0.90


@pytest.mark.parametrize("cell", [Cell("offset", 8, 5, 0.6, 0.9), Cell("effect", 20, 2, 0.3, 0.7)])
def test_intervals_that_claim_to_be_validated_cover_the_truth_of_simulated_cohorts(cell):
    # docs/statistics.md has all cells. 0.90 is 0.93 less 2.4 binomial SDs; percentiles reach 0.85 in the first cell.
    found = coverage(cell, 400, seed=1, resamples=400)
    assert {metric for metric in METRICS if found[metric].validated} == {"roc_auc", "balanced_accuracy"}
    assert all(found[metric].share >= 0.90 for metric in METRICS)


def test_truths_of_a_simulated_cohort_are_what_many_clips_come_to():
    random = np.random.default_rng(0)
    labels = np.repeat([1.0, 0.0], 100_000)
    distance = np.sqrt(2) * stats.norm.ppf(0.8)
    scores = stats.norm.cdf(distance * (labels - 0.5) + random.standard_normal(200_000))
    for metric, value in clip_metrics(labels, scores).items():
        assert truths(0.8)[metric] == pytest.approx(value, abs=0.004)


def test_an_interval_is_validated_only_with_eight_patients_of_each_class():
    labels = np.array([1.0, 0.0] * 8 + [0.0, 0.0] * 2)
    patients = [f"p{number}" for number in range(10) for _ in range(2)]
    scores = np.random.default_rng(0).random(20)
    assert patient_interval("roc_auc", scores, labels, patients).validated
    assert not patient_interval("pr_auc", scores, labels, patients).validated
    fewer = np.where(np.arange(20) < 14, labels, 0.0)
    assert not patient_interval("roc_auc", scores, fewer, patients).validated
