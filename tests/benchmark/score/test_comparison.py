"""The paired test: the worked example, brute-force swapping, scipy, the interval's law, and how often it errs."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import rankdata
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from benchmark.score.comparison import (
    IDENTICAL,
    NO_SPREAD,
    TOO_FEW,
    Contributions,
    all_flips,
    contributions,
    paired_test,
)
from benchmark.score.multiple import holm
from tasks.errors import BadInput

LABELS = np.array([1.0, 0.0] * 3)
PATIENTS = ["a", "a", "b", "b", "c", "c"]
A = np.array([0.9, 0.2, 0.6, 0.5, 0.5, 0.1])  # as in the worked example of docs/statistics.md
B = np.array([0.4, 0.3, 0.8, 0.9, 0.6, 0.2])

BETTER = {
    "roc_auc": roc_auc_score,
    "balanced_accuracy": lambda labels, scores: balanced_accuracy_score(labels, scores >= 0.5),
    "brier": lambda labels, scores: -brier_score_loss(labels, scores),
}


def one_shot(scores):
    return np.asarray(scores, dtype=float)[None, None]


def of(metric, a, b, labels=LABELS, patients=PATIENTS):
    return contributions(metric, one_shot(a), one_shot(b), labels, patients)


def equal_weights(values):
    return Contributions(np.asarray(values, dtype=float), np.full(len(values), 1 / len(values)))


def cohort(random, patients, methods=2, signal=1.0, levels=None):
    """1 to 5 clips a patient, classes by coin, each method on its own scale; `levels`: how many scores there are."""
    while True:
        of_clip = np.repeat(np.arange(patients), random.integers(1, 6, patients))
        labels = (random.random(len(of_clip)) < 0.5).astype(float)
        if 0 < labels.sum() < len(labels):
            break
    offset, noise = random.standard_normal(patients), random.standard_normal(len(labels))
    scores = []
    for method in range(methods):
        own = random.standard_normal(patients)
        raw = signal * labels + 0.5 * (offset + own)[of_clip] + noise + random.standard_normal(len(labels))
        squeezed = stats.norm.cdf(raw / 2 - method * 0.3)
        scores.append(np.round(squeezed * levels) / levels if levels else squeezed)
    return np.array(scores), labels, [f"p{number:02d}" for number in of_clip]


def swapped_and_scored(metric, a, b, labels, patients, flips):
    """The difference after exchanging the methods' scores of the flipped patients: no formula, only scoring."""
    if metric == "roc_auc":
        a, b = rankdata(a), rankdata(b)
    swap = flips[np.unique(patients, return_inverse=True)[1]]
    one, other = np.where(swap, b, a), np.where(swap, a, b)
    return BETTER[metric](labels, one) - BETTER[metric](labels, other)


def test_the_worked_example():
    part = of("roc_auc", A, B)
    assert part.values * 18 == pytest.approx([1.5, 4, -0.5], abs=1e-12)
    assert part.weights == pytest.approx([1 / 3] * 3)
    test = paired_test(part)
    assert test.difference == pytest.approx(8.5 / 9 - 6 / 9, abs=1e-12)
    assert (test.p, test.smallest_p, test.exact) == (0.5, 0.25, True)
    assert (test.low, test.high, test.no_interval) == (None, None, TOO_FEW)


def test_with_six_patients_the_interval_reaches_from_the_smallest_patient_to_the_largest():
    test = paired_test(equal_weights([0.02, 0.04, 0.06, 0.08, 0.10, 0.12]))
    assert test.p == 2 / 64
    assert (test.low, test.high) == pytest.approx((0.12, 0.72), abs=1e-12)


def test_balanced_accuracy_and_brier_are_the_patients_own_parts():
    # A is right about all but b- (0.5 is a warning); B is wrong about a+ and b-.
    assert of("balanced_accuracy", A, B).values == pytest.approx([1 / 6, 0, 0], abs=1e-12)
    brier = [0.6**2 + 0.3**2 - 0.1**2 - 0.2**2, 0.2**2 + 0.9**2 - 0.4**2 - 0.5**2, 0.4**2 + 0.2**2 - 0.5**2 - 0.1**2]
    assert of("brier", A, B).values == pytest.approx(np.array(brier) / 6, abs=1e-12)


@pytest.mark.parametrize("metric", BETTER)
@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("seed", range(5))
def test_flipping_signs_is_swapping_and_scoring_again(metric, levels, seed):
    random = np.random.default_rng(seed)
    (a, b), labels, patients = cohort(random, 6, levels=levels)
    part = of(metric, a, b, labels, patients)
    for flips in all_flips(6):
        signs = np.where(flips, -1, 1)
        brute = swapped_and_scored(metric, a, b, labels, np.array(patients), flips)
        assert signs @ part.values == pytest.approx(brute, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize("seed", range(4))
def test_p_is_scipys_over_swapped_patients(levels, seed):
    random = np.random.default_rng([seed, 1])
    (a, b), labels, patients = cohort(random, 7, levels=levels)

    def statistic(first, second):  # which method stands in each patient's first place: 0 or 1
        assert ((first + second) == 1).all()
        return swapped_and_scored("roc_auc", a, b, labels, np.array(patients), first == 1)

    scipys = stats.permutation_test(
        (np.zeros(7, dtype=int), np.ones(7, dtype=int)),
        statistic,
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=False,
    )
    assert paired_test(of("roc_auc", a, b, labels, patients)).p == pytest.approx(scipys.pvalue, abs=1e-12)


def test_shots_and_replicates_are_averaged_and_their_sum_is_the_difference():
    random = np.random.default_rng(0)
    labels, patients = np.tile([1.0, 0.0], 8), np.repeat([f"p{n}" for n in range(8)], 2)
    a, b = random.random((2, 3, 16)), random.random((2, 1, 16))
    a[1, :, 14:], b[1, :, 14:] = np.nan, np.nan  # at the second number of shots nobody asked about the last patient
    part = contributions("roc_auc", a, b, labels, patients)
    aucs = [
        [np.mean([roc_auc_score(labels[:n], row[:n]) for row in m[s]]) for s, n in ((0, 16), (1, 14))] for m in (a, b)
    ]
    assert part.values.sum() == pytest.approx(np.mean(aucs[0]) - np.mean(aucs[1]), abs=1e-12)
    assert part.weights == pytest.approx([(1 / 8 + 1 / 7) / 2] * 7 + [1 / 16])
    alone = [contributions("roc_auc", a[:, [r]], b, labels, patients).values for r in range(3)]
    assert part.values == pytest.approx(np.mean(alone, axis=0), abs=1e-12)


def test_scale_and_calibration_play_no_role_and_exchanging_the_methods_turns_the_sign():
    random = np.random.default_rng(4)
    (a, b), labels, patients = cohort(random, 9)
    test, scaled = (paired_test(of("roc_auc", a, x, labels, patients)) for x in (b, b**3 / 2))
    assert test == scaled
    turned = paired_test(of("roc_auc", b, a, labels, patients))
    assert turned.p == test.p
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-test.difference, -test.high, -test.low))


@given(st.lists(st.integers(-6, 6), min_size=6, max_size=8), st.lists(st.integers(1, 3), min_size=8, max_size=8))
@settings(max_examples=200, deadline=None)
def test_p_is_below_5_percent_exactly_where_0_lies_outside_the_interval(values, weights):
    weight = np.array(weights[: len(values)], dtype=float)
    test = paired_test(Contributions(np.array(values) / 60, weight / weight.sum()))
    if test.low is not None:
        assert (test.p < 0.05) == (not test.low <= 0 <= test.high)
        assert test.low <= test.difference <= test.high


@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=8),
    st.lists(st.integers(1, 3), min_size=8, max_size=8),
    st.floats(-1, 1),
)
@settings(max_examples=200, deadline=None)
def test_the_interval_holds_what_the_test_does_not_reject(values, weights, delta):
    weight = np.array(weights[: len(values)], dtype=float)
    values, weight = np.array(values) / len(values), weight / weight.sum()
    test = paired_test(Contributions(values, weight))
    if test.low is None or min(abs(delta - test.low), abs(delta - test.high)) < 1e-9:
        return
    shifted = paired_test(Contributions(values - delta * weight, weight))
    assert (shifted.p > 0.05) == (test.low < delta < test.high)


def test_beyond_16_patients_random_signs_come_near_the_exact_p_and_never_to_0():
    values = np.random.default_rng(1).normal(0.1, 0.3, 18)
    sums = np.where(all_flips(18), -1, 1) @ values
    test = paired_test(equal_weights(values))
    assert not test.exact
    assert test.p == pytest.approx(np.mean(np.abs(sums) >= abs(values.sum()) - 1e-9), abs=0.01)
    assert paired_test(equal_weights(np.ones(40) + np.arange(40))).p == 1 / 20_001


def test_patients_who_show_no_difference_do_not_move_p_and_do_not_count():
    some = [0.3, 0.2, -0.1, 0.4, 0.15]
    for silent in (0, 3, 20):
        test = paired_test(equal_weights([*some, *[0.0] * silent]))
        assert (test.p, test.smallest_p, test.exact) == (4 / 32, 2 / 32, True)
        assert (test.contributing, test.patients) == (5, 5 + silent)


def test_sixteen_patients_are_all_enumerated():
    values = [0.5, *[0.01 * n for n in range(1, 16)]]
    sums = np.where(all_flips(16), -1, 1) @ np.array(values)
    test = paired_test(equal_weights(values))
    assert test.exact
    assert test.p == np.mean(np.abs(sums) >= sum(values) - 1e-9)


def test_five_patients_cannot_be_significant_and_six_can():
    assert paired_test(equal_weights([1, 2, 3, 4, 5])).p == 0.0625
    assert paired_test(equal_weights([1, 2, 3, 4, 5, 6])).p == 0.03125


def test_where_there_is_no_interval_it_says_why():
    same = paired_test(of("roc_auc", A, A**2))
    assert (same.p, same.difference, same.no_interval) == (1.0, 0.0, IDENTICAL)
    constant = paired_test(equal_weights([0.05] * 8))
    assert (constant.p, constant.low, constant.no_interval) == (2 / 256, None, NO_SPREAD)


def test_pr_auc_other_clips_and_a_single_class_are_refused():
    with pytest.raises(BadInput, match="pr_auc: it is scored, not tested"):
        of("pr_auc", A, B)
    with pytest.raises(BadInput, match="same clips"):
        of("roc_auc", A, np.where(np.arange(6) == 3, np.nan, B))
    with pytest.raises(BadInput, match="all of one class"):
        of("roc_auc", A, B, labels=np.ones(6))


@pytest.mark.parametrize("patients", [8, 10])
def test_under_a_true_null_it_rejects_at_its_level(patients):
    # 10% instead of 5% would give 0.1 +- 0.009 single and more than 0.1 of families: both bounds would break.
    random, single, families = np.random.default_rng(patients), [], []
    for seed in range(500):
        scores, labels, names = cohort(random, patients, methods=4)
        ps = [paired_test(of("roc_auc", a, b, labels, names), seed=seed).p for a, b in combinations(scores, 2)]
        single.append(np.mean(np.array(ps) <= 0.05))
        families.append(min(holm(ps)) <= 0.05)
    assert 0.02 < np.mean(single) <= 0.065
    assert np.mean(families) <= 0.07


def test_all_flips_are_all_of_them():
    assert sorted(map(tuple, all_flips(3))) == sorted(product([False, True], repeat=3))
