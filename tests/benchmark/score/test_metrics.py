"""The metrics against numbers worked out by hand, and the weighted forms against scikit-learn on repeated clips."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss, roc_auc_score

from benchmark.score.metrics import METRICS, WEIGHTED, clip_metrics, quick_metrics

# Few distinct values make ties common; 0.5 is the threshold itself.
SCORES = st.one_of(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.floats(0, 1, allow_subnormal=False))
CLIP = st.tuples(st.sampled_from([0.0, 1.0]), SCORES, st.integers(0, 4))


def by_sklearn(labels, scores, **weights):
    return {
        "balanced_accuracy": balanced_accuracy_score(labels, scores >= 0.5, **weights),
        "roc_auc": roc_auc_score(labels, scores, **weights),
        "pr_auc": average_precision_score(labels, scores, **weights),
        "brier": brier_score_loss(labels, scores, **weights),
    }


def test_four_clips_give_the_figures_worked_out_by_hand():
    # Pairs: .9 beats .6 and .2, .4 beats .2 only: 3 of 4. Sensitivity 1/2, specificity 1/2.
    # Precision at the positives, from the top: 1/1 and 2/3. Squares: .01 + .36 + .36 + .04.
    found = clip_metrics(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.4, 0.6, 0.2]))
    assert found == pytest.approx(
        {"balanced_accuracy": 0.5, "roc_auc": 0.75, "pr_auc": (1 + 2 / 3) / 2, "brier": 0.77 / 4}, abs=1e-15
    )


def test_a_tie_between_the_classes_counts_half():
    found = clip_metrics(np.array([1.0, 0.0]), np.array([0.3, 0.3]))
    assert found["roc_auc"] == 0.5
    assert found["pr_auc"] == 0.5


def test_a_score_of_exactly_one_half_is_a_warning():
    assert clip_metrics(np.array([1.0, 0.0]), np.array([0.5, 0.49]))["balanced_accuracy"] == 1.0


def test_a_constant_score_has_the_prevalence_as_pr_auc_and_one_half_as_roc_auc():
    found = clip_metrics(np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 0.3))
    assert (found["pr_auc"], found["roc_auc"]) == (0.25, 0.5)


@pytest.mark.parametrize("labels", [[1.0, 1.0], [0.0, 0.0], []])
@pytest.mark.parametrize("form", [clip_metrics, quick_metrics])
def test_one_class_only_gives_none_and_no_warning(form, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert form(np.array(labels), np.full(len(labels), 0.7)) == dict.fromkeys(METRICS)


@given(st.lists(CLIP, min_size=2, max_size=25))
@settings(max_examples=300, deadline=None)
def test_weights_equal_repeated_rows_in_scikit_learn(clips):
    labels, scores, counts = (np.array(column) for column in zip(*clips, strict=True))
    repeated = np.repeat(np.arange(len(clips)), counts)
    assume(len(set(labels[repeated])) == 2)
    expected = by_sklearn(labels[repeated], scores[repeated])
    weights = np.stack([counts, counts * 3]).astype(float)
    for metric in METRICS:
        found = WEIGHTED[metric](labels, scores, weights)
        assert found == pytest.approx([expected[metric]] * 2, abs=1e-12), metric


@given(st.lists(CLIP, min_size=2, max_size=25), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_fractional_weights_equal_scikit_learns_sample_weight(clips, seed):
    labels, scores, _ = (np.array(column) for column in zip(*clips, strict=True))
    assume(len(set(labels)) == 2)
    weights = np.random.default_rng(seed).uniform(0.1, 2.0, size=len(clips))
    expected = by_sklearn(labels, scores, sample_weight=weights)
    for metric in METRICS:
        assert WEIGHTED[metric](labels, scores, weights[None])[0] == pytest.approx(expected[metric], abs=1e-12)


@given(st.lists(CLIP, min_size=2, max_size=25))
@settings(max_examples=200, deadline=None)
def test_the_quick_form_equals_scikit_learn(clips):
    labels, scores, _ = (np.array(column) for column in zip(*clips, strict=True))
    assume(len(set(labels)) == 2)
    assert quick_metrics(labels, scores) == pytest.approx(clip_metrics(labels, scores), abs=1e-12)
    assert clip_metrics(labels, scores) == pytest.approx(by_sklearn(labels, scores), abs=0)


def test_each_weighting_is_scored_on_its_own():
    labels, scores = np.array([1.0, 1.0, 0.0]), np.array([0.9, 0.1, 0.5])
    weights = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 3.0, 2.0]])
    assert WEIGHTED["roc_auc"](labels, scores, weights).tolist() == [1.0, 0.0, 0.25]


@pytest.mark.parametrize("metric", METRICS)
def test_a_weighting_without_one_class_is_nan_without_a_warning(metric):
    labels, scores = np.array([1.0, 0.0]), np.array([0.9, 0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = WEIGHTED[metric](labels, scores, np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0], [1.0, 1.0]]))
    assert np.isnan(found).tolist() == [True, True, True, False]
