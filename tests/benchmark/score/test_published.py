"""What published figures and the number of clips allow: against figures of the sources and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.score.published import (
    ClipCount,
    balanced_accuracy_error,
    clips_needed,
    correlation_needed,
    detectable,
    pair,
    pr_auc_error,
    reach,
    roc_auc_error,
)

CLIPS = ClipCount(18, 18)


def test_the_error_of_a_roc_auc_is_that_of_hanley_and_mcneil_by_hand():
    # A = 0.5, 2 + 3 clips: Q1 = 0.5 / 1.5 = 1/3, Q2 = 0.5 / 1.5 = 1/3; (1/4 + 1/12 + 2/12) / 6 = 1/12.
    assert roc_auc_error(0.5, ClipCount(2, 3)) == pytest.approx(np.sqrt(1 / 12), abs=1e-12)


def test_the_published_roc_auc_has_the_interval_that_the_field_quotes():
    error = roc_auc_error(0.7558, CLIPS)
    assert (round(0.7558 - 1.96 * error, 2), round(0.7558 + 1.96 * error, 2)) == (0.60, 0.92)


def test_the_error_of_a_roc_auc_at_one_half_is_that_of_the_rank_sum():
    # Mann-Whitney under no difference: var U = m n (m + n + 1) / 12, and ROC-AUC = U / (m n).
    assert roc_auc_error(0.5, ClipCount(7, 11)) == pytest.approx(np.sqrt((7 + 11 + 1) / (12 * 7 * 11)), abs=1e-12)


def test_errors_of_shares_are_binomial():
    # Sensitivity of 18 clips and specificity of 18 clips, both 0.7: sd of their mean is sqrt(2 * 0.21 / 18) / 2.
    assert balanced_accuracy_error(0.7, CLIPS) == pytest.approx(np.sqrt(2 * 0.21 / 18) / 2, abs=1e-12)
    assert pr_auc_error(0.5, ClipCount(25, 100)) == pytest.approx(0.1, abs=1e-12)


def test_an_interval_is_symmetric_on_the_logit_scale_and_stays_inside():
    low, high = reach("roc_auc", 0.9, CLIPS)
    logits = [np.log(value / (1 - value)) for value in (low, 0.9, high)]
    assert logits[1] - logits[0] == pytest.approx(logits[2] - logits[1])
    assert 0 < low < 0.9 < high < 1


def test_independent_figures_compare_by_the_sum_of_their_variances():
    found = pair("balanced_accuracy", 0.7, 0.5, CLIPS, correlation=0.0)
    by_hand = np.sqrt((0.21 + 0.25) / 36)
    assert (found.difference, found.error) == pytest.approx((0.2, by_hand))
    assert found.p == pytest.approx(2 * stats.norm.sf(0.2 / by_hand), abs=1e-12)


def test_at_the_correlation_needed_p_is_just_five_percent():
    needed = correlation_needed("roc_auc", 0.7558, 0.5722, CLIPS)
    assert pair("roc_auc", 0.7558, 0.5722, CLIPS, needed).p == pytest.approx(0.05)
    assert correlation_needed("roc_auc", 0.99, 0.5, CLIPS) == 0.0
    assert correlation_needed("roc_auc", 0.99, 0.98, CLIPS) is None


def test_a_study_of_the_clips_needed_has_eighty_percent_power():
    clips = clips_needed("balanced_accuracy", 0.7, 0.65, CLIPS, correlation=0.5)
    found = pair("balanced_accuracy", 0.7, 0.65, clips, correlation=0.5)
    assert stats.norm.sf(1.959964 - 0.05 / found.error) == pytest.approx(0.80, abs=0.001)


def test_the_detectable_difference_is_2_8_errors():
    assert detectable("roc_auc", 0.75, CLIPS, 0.0) == pytest.approx(
        2.8016 * np.sqrt(2) * roc_auc_error(0.75, CLIPS), 1e-4
    )
