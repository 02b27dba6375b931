"""Power: where it is known in closed form, against textbook values, and against planted differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.score.comparison import Contributions, paired_test
from benchmark.score.power import detectable_effect, outlook, patients_needed, power, spread_of
from tests.benchmark.score.test_comparison import A, B, equal_weights, of


def test_the_worked_example():
    part = of("roc_auc", A, B)
    assert spread_of(part) * 18 == pytest.approx(np.sqrt(45.75), abs=1e-12)
    plan = outlook(part, 0.05, tests=1)
    ends = [spread_of(part) * np.sqrt(2 / stats.chi2.ppf(q, 2)) for q in (0.975, 0.025)]
    assert (plan.sd.low, plan.sd.high) == pytest.approx(ends)
    assert (plan.alone.detectable.value, plan.alone.power.value) == (None, 0.0)  # three patients


@pytest.mark.parametrize(("patients", "alpha"), [(6, 0.05), (8, 0.05 / 6), (8, 0.0079), (15, 1e-4)])
def test_where_all_signs_must_agree_power_is_the_chance_that_they_do(patients, alpha):
    for effect in (0.5, 1.5, 2.0):
        agree = stats.norm.cdf(effect) ** patients + stats.norm.cdf(-effect) ** patients
        assert power(effect, patients, alpha) == pytest.approx(agree, abs=0.02)


def test_with_many_patients_it_is_the_paired_t_test_of_the_textbooks():
    # Cohen (1988) and every calculator since: 34 pairs for d = 0.5, 199 for d = 0.2, at 5% and 80%.
    assert (patients_needed(0.5, 0.05), patients_needed(-0.2, 0.05)) == (34, 199)
    assert power(0.5, 34, 0.05) == pytest.approx(0.8078, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_the_run_test_passes_into_the_t_test_without_a_step(alpha):
    found = [power(0.9, patients, alpha) for patients in (11, 12, 13, 14)]
    steps = np.diff(found)
    assert (steps > 0).all()
    assert steps.max() < 0.1


def test_it_is_the_level_without_an_effect_and_1_with_a_huge_one():
    for patients in (9, 13, 40, 5000):
        assert power(0.0, patients, 0.05) == pytest.approx(0.05, abs=0.004)
        assert power(50.0, patients, 0.05) == pytest.approx(1.0)
    assert power(np.inf, 5, 0.05) == 0.0


def test_what_is_detectable_is_found_with_80_percent_power():
    for patients in (6, 12, 20):
        assert power(detectable_effect(patients, 0.05), patients, 0.05) == pytest.approx(0.8, abs=0.002)
    assert detectable_effect(5, 0.05) is None
    assert detectable_effect(7, 0.05 / 6) is None


def test_the_needed_patients_are_the_fewest_that_will_do():
    for effect in (1.2, 0.6, 0.1):
        needed = patients_needed(effect, 0.01)
        assert power(effect, needed, 0.01) >= 0.8 > power(effect, needed - 1, 0.01)
    assert patients_needed(0.01, 0.05) is None
    assert patients_needed(0.0, 0.05) is None


def test_everything_scales_with_the_spread_between_patients():
    values = np.random.default_rng(0).normal(0.02, 0.02, 12)
    one, doubled = outlook(equal_weights(values), 0.1, 6), outlook(equal_weights(2 * values), 0.2, 6)
    assert doubled.sd.value == pytest.approx(2 * one.sd.value)
    assert doubled.family.detectable.value == pytest.approx(2 * one.family.detectable.value)
    assert doubled.alone.patients == one.alone.patients
    assert one.alone.detectable.high / one.alone.detectable.value == pytest.approx(one.sd.high / one.sd.value)
    for ranged in (one.sd, one.alone.power, one.alone.detectable, one.alone.patients):
        assert ranged.low < ranged.value < ranged.high
    assert one.family.alpha == 0.05 / 6
    assert one.family.patients.value > one.alone.patients.value


def test_a_steady_difference_is_no_spread_whatever_the_patients_weights():
    weights = np.array([1, 2, 3, 4]) / 10
    assert outlook(Contributions(0.3 * weights, weights), 0.05, 1) is None
    assert outlook(Contributions(np.array([0.3]), np.array([1.0])), 0.05, 1) is None


@pytest.mark.parametrize(("patients", "alpha"), [(8, 0.05 / 6), (10, 0.05), (13, 0.05)])
def test_a_planted_difference_is_found_as_often_as_predicted(patients, alpha):
    random, effect = np.random.default_rng(patients), 0.8
    found = np.mean(
        [paired_test(equal_weights(random.normal(effect, 1, patients) / patients)).p <= alpha for _ in range(1500)]
    )
    assert found == pytest.approx(power(effect, patients, alpha), abs=0.035)
