"""Calibration against hand computation and scikit-learn, and every case in which there is nothing to say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from benchmark.score.calibration import CLIPS_A_BIN, MOST_BINS, calibration, reliability_bins

NINE = [f"p{i}" for i in range(9)]


def alternating(count):
    return np.arange(count) % 2 * 1.0


def cohort(patients, clips=4, seed=0, slope=1.0):
    """Overlapping scores of `patients` patients, half of each one's clips positive."""
    random = np.random.default_rng(seed)
    labels = alternating(patients * clips)
    scores = expit(slope * (labels - 0.5 + random.normal(size=len(labels))))
    return scores, labels, [f"p{i // clips:03d}" for i in range(len(labels))]


def nothing_is_nan(found):
    return all(value == value for value in (*found.slope.model_dump().values(), *found.intercept.model_dump().values()))


def test_two_scores_give_slope_and_intercept_worked_out_by_hand():
    # docs/statistics.md. At 0.2 one of four is positive, at 0.8 three of four: two groups, so the best line goes
    # through the logits of both shares: b = (logit 3/4 - logit 1/4) / (logit 0.8 - logit 0.2) = log 3 / log 4.
    scores = np.repeat([0.2, 0.8], 4)
    labels = np.array([1.0, 0, 0, 0, 1, 1, 1, 0])
    found = calibration(scores, labels, ["a", "b", "c", "d"] * 2)
    assert found.slope.value == pytest.approx(np.log(3) / np.log(4), abs=1e-12)
    assert found.intercept.value == pytest.approx(0, abs=1e-12)
    assert found.slope.unsaid == "no interval: it needs 8 patients, there are 4"
    assert (found.patients, found.clips) == (4, 8)


def test_the_intercept_of_a_constant_score_is_the_distance_of_the_logits():
    # Every clip says 0.2, three of four are positive: a + logit 0.2 = logit 0.75, a = log 3 + log 4 = log 12.
    found = calibration(np.full(4, 0.2), np.array([1.0, 1, 1, 0]), list("abcd"))
    assert found.intercept.value == pytest.approx(np.log(12), abs=1e-12)
    assert found.slope.value is None
    assert found.slope.unsaid == "all clips have the same score"


@pytest.mark.parametrize("seed", range(20))
def test_slope_is_that_of_scikit_learn_and_the_intercept_makes_the_mean_right(seed):
    scores, labels, patients = cohort(12, seed=seed, slope=[0.2, 1, 4][seed % 3])
    found = calibration(scores, labels, patients)
    column = logit(scores)[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(column, labels)
    assert found.slope.value == pytest.approx(fitted.coef_[0, 0], rel=1e-7)
    assert expit(column[:, 0] + found.intercept.value).mean() == pytest.approx(labels.mean(), abs=1e-12)


def test_the_interval_leaves_out_one_patient_at_a_time():
    scores, labels, patients = cohort(9, seed=3)
    found, owners = calibration(scores, labels, patients), np.array(patients)
    for name in ("slope", "intercept"):
        estimate = getattr(found, name)
        others = []
        for left_out in sorted(set(patients)):
            kept = owners != left_out
            others.append(getattr(calibration(scores[kept], labels[kept], owners[kept]), name).value)
        error = np.sqrt(8 / 9 * ((np.array(others) - np.mean(others)) ** 2).sum())
        reach = stats.t.ppf(0.975, 8) * error
        assert (estimate.low, estimate.high) == pytest.approx(
            (estimate.value - reach, estimate.value + reach), rel=1e-7
        )
        assert estimate.unsaid is None


@pytest.mark.parametrize(("patients", "there"), [(7, False), (8, True)])
def test_an_interval_takes_eight_patients(patients, there):
    found = calibration(*cohort(patients))
    for estimate in (found.slope, found.intercept):
        assert estimate.value is not None
        assert (estimate.low is not None) is there
        assert (estimate.unsaid is None) is there


def test_an_interval_counts_patients_with_a_score_only():
    scores, labels, patients = cohort(8)
    scores[:4] = np.nan
    found = calibration(scores, labels, patients)
    assert (found.patients, found.clips) == (7, 28)
    assert found.slope.low is None


@pytest.mark.parametrize(
    "labels",
    [
        [0.0, 0, 0, 1, 1, 1],  # apart
        [1.0, 1, 1, 0, 0, 0],  # the wrong way round
    ],
)
@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.3, 0.6, 0.7, 0.8], [0.1, 0.2, 0.5, 0.5, 0.7, 0.8], [0, 0, 0, 1, 1, 1]])
def test_classes_that_at_most_touch_have_no_finite_slope(scores, labels):
    found = calibration(np.array(scores, dtype=float), np.array(labels), list("abcdef"))
    assert found.slope.value is None
    assert found.slope.unsaid == "the scores of the two classes do not overlap, so the best slope is infinite"
    assert found.intercept.value is not None


def test_one_pair_out_of_order_has_a_finite_slope():
    found = calibration(np.array([0.1, 0.2, 0.5, 0.49, 0.7, 0.8]), np.array([0.0, 0, 0, 1, 1, 1]), list("abcdef"))
    assert 4 < found.slope.value < 5


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_only_has_neither_slope_nor_intercept(label):
    found = calibration(np.linspace(0.1, 0.9, 9), np.full(9, label), NINE)
    for estimate in (found.slope, found.intercept):
        assert (estimate.value, estimate.unsaid) == (None, "all clips are of one class")


def test_a_patient_without_whom_the_classes_do_not_overlap_leaves_the_slope_without_interval():
    scores, labels = np.linspace(0.1, 0.9, 9), (np.arange(9) >= 4) * 1.0
    labels[0] = 1  # the first patient alone makes the classes overlap
    found = calibration(scores, labels, NINE)
    assert found.slope.value is not None
    assert found.slope.low is None
    assert found.slope.unsaid == "no interval: the figure does not exist when one of 1 patients (of 9) is left out"
    assert found.intercept.low is not None


def test_a_figure_that_no_patient_moves_has_no_interval_of_width_nought():
    found = calibration(np.full(36, 0.4), alternating(36), np.repeat(NINE, 4))
    assert found.intercept.value == pytest.approx(-logit(0.4))
    assert found.intercept.low is None
    assert "the same whichever patient is left out" in found.intercept.unsaid


def test_one_patient_and_no_clip_at_all_are_told():
    assert "there are 1" in calibration(np.array([0.4, 0.3, 0.6]), np.array([1.0, 0, 1]), ["a"] * 3).intercept.unsaid
    found = calibration(np.full(2, np.nan), np.array([1.0, 0]), ["a", "b"])
    assert (found.slope.unsaid, found.intercept.unsaid) == ("no clip is scored", "no clip is scored")
    assert (found.clips, found.patients) == (0, 0)


def test_replicates_are_averaged_figure_by_figure():
    scores, labels, patients = cohort(9)
    other = cohort(9, seed=1)[0]
    both = calibration(np.stack([scores, other]), labels, patients)
    alone = [calibration(s, labels, patients) for s in (scores, other)]
    assert both.slope.value == pytest.approx(np.mean([one.slope.value for one in alone]), abs=1e-12)
    assert both.intercept.value == pytest.approx(np.mean([one.intercept.value for one in alone]), abs=1e-12)


def test_ece_takes_a_hundred_clips():
    scores = np.array([0.05] * 50 + [0.95] * 50)
    labels = np.array([1.0] * 10 + [0.0] * 40 + [1.0] * 50)
    # 50 clips of 0.05 with a share of 0.2, 50 of 0.95 with a share of 1: (0.15 + 0.05) / 2.
    assert calibration(scores, labels, ["a"] * 100).ece == pytest.approx(0.1, abs=1e-12)
    found = calibration(scores[1:], labels[1:], ["a"] * 99)
    assert (found.ece, found.ece_unsaid) == (None, "it needs 100 clips, there are 99")


def test_ece_puts_a_score_of_one_into_the_last_bin():
    found = calibration(np.array([1.0, 0.95] * 50), np.array([1.0, 0.0] * 50), ["a"] * 100)
    assert found.ece == pytest.approx(abs(0.5 - 0.975), abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from([0.0, 0.5, 0.5 + 1e-9, 1.0]), st.floats(0, 1)),
            st.sampled_from([0.0, 1.0]),
            st.integers(0, 9),
        ),
        max_size=30,
    )
)
def test_whatever_the_scores_nothing_is_nan_and_what_is_missing_is_explained(clips):
    scores, labels, patients = (list(column) for column in zip(*clips, strict=True)) if clips else ([], [], [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calibration(np.array(scores, dtype=float), np.array(labels, dtype=float), [str(p) for p in patients])
    for estimate in (found.slope, found.intercept):
        assert (estimate.low is None) == (estimate.high is None) == (estimate.unsaid is not None)
        assert estimate.low is None or estimate.low < estimate.value < estimate.high
    assert nothing_is_nan(found)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_clips_changes_nothing(seed):
    scores, labels, patients = cohort(8, seed=seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    one = calibration(scores, labels, patients)
    other = calibration(scores[order], labels[order], [patients[i] for i in order])
    assert (one.slope.value, one.intercept.high) == pytest.approx((other.slope.value, other.intercept.high), rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.sampled_from([0.2, 0.5]), st.floats(0, 1)), st.booleans()), max_size=120))
def test_bins_hold_every_clip_once_and_never_part_equal_scores(clips):
    scores = np.array([score for score, _ in clips], dtype=float)
    labels = np.array([float(label) for _, label in clips])
    bins = reliability_bins(scores, labels)
    assert sum(b.clips for b in bins) == len(clips)
    assert sum(b.clips * b.share for b in bins) == pytest.approx(labels.sum())
    assert sum(b.clips * b.score for b in bins) == pytest.approx(scores.sum())
    assert len(bins) <= MOST_BINS
    assert all(b.clips >= min(CLIPS_A_BIN, len(clips)) for b in bins)
    ends = np.cumsum([0, *(b.clips for b in bins)])
    ranked = np.sort(scores)
    assert all(ranked[end - 1] < ranked[end] for end in ends[1:-1])


def test_bins_of_24_clips_are_three_with_wilson_intervals():
    scores, labels = np.linspace(0, 0.92, 24), np.array([0.0] * 8 + [0.0] * 6 + [1.0] * 10)
    bins = reliability_bins(scores, labels)
    assert [(b.clips, b.share) for b in bins] == [(8, 0.0), (8, 0.25), (8, 1.0)]
    assert [b.score for b in bins] == pytest.approx([0.14, 0.46, 0.78])
    # Wilson for 0 of 8: from 0 to z^2 / (8 + z^2).
    z = stats.norm.ppf(0.975) ** 2
    assert (bins[0].low, bins[0].high) == pytest.approx((0, z / (8 + z)))


def test_a_constant_score_is_one_bin_at_that_score():
    (only,) = reliability_bins(np.full(40, 0.3), alternating(40))
    assert (only.clips, only.score, only.share) == (40, 0.3, 0.5)


def test_clips_without_a_score_are_in_no_bin():
    assert reliability_bins(np.array([np.nan, 0.2]), np.array([1.0, 0.0]))[0].clips == 1
    assert reliability_bins(np.array([np.nan]), np.array([1.0])) == ()
