"""The seizure's curves hold what the documentation says, in the human and in the rodent time scale."""

from itertools import pairwise

import numpy as np
import pytest

from benchmark.data.demo.behaviour import ordinary_movements, seizure_signs
from benchmark.data.demo.design import Seizure

FPS = 50
HUMAN = (np.arange(0, 150, 1 / FPS), Seizure(onset_s=40.3, duration_s=18.0, lead_s=12.0, jerk_hz=4.0, side=1))
RODENT = (np.arange(0, 10, 1 / FPS), Seizure(onset_s=5.2, duration_s=4.8, lead_s=3.0, jerk_hz=4.0, side=-1))
BOTH = pytest.mark.parametrize(("t", "seizure"), [HUMAN, RODENT], ids=["human", "rodent"])


def signs_of(t, seizure):
    return seizure_signs(t, seizure, np.random.default_rng(0))


def test_without_a_seizure_time_runs_on_and_no_sign_shows():
    t = HUMAN[0]
    signs = signs_of(t, None)
    np.testing.assert_array_equal(signs.clock_s, t)
    for curve in (signs.jerk, signs.head, signs.tonic, signs.clonic, signs.exhaustion):
        assert not curve.any()


@BOTH
def test_nothing_announces_a_seizure_before_its_lead(t, seizure):
    signs, before = signs_of(t, seizure), t < seizure.onset_s - seizure.lead_s
    np.testing.assert_allclose(np.diff(signs.clock_s[before]), 1 / FPS)
    for curve in (signs.jerk, signs.head, signs.tonic, signs.clonic):
        assert not curve[before].any()


@BOTH
def test_behaviour_freezes_in_the_first_quarter_of_the_lead(t, seizure):
    clock = signs_of(t, seizure).clock_s
    frozen = (t > seizure.onset_s - 0.75 * seizure.lead_s) & (t < seizure.onset_s + seizure.duration_s)
    assert np.ptp(clock[frozen]) < 1e-9


@BOTH
def test_jerks_wax_at_three_to_five_hertz_until_onset(t, seizure):
    jerk = signs_of(t, seizure).jerk
    lead = (t > seizure.onset_s - seizure.lead_s) & (t < seizure.onset_s)
    spectrum = np.abs(np.fft.rfft(jerk[lead] - jerk[lead].mean()))
    peak_hz = np.fft.rfftfreq(lead.sum(), 1 / FPS)[spectrum.argmax()]
    assert 3.0 <= peak_hz <= 5.0
    early, late = np.array_split(jerk[lead], 2)
    assert late.mean() > 1.2 * early.mean()


@BOTH
def test_tonic_comes_before_clonic_and_clonic_jerks_slow_down(t, seizure):
    signs = signs_of(t, seizure)
    since = (t - seizure.onset_s) / seizure.duration_s
    assert signs.tonic[(since > 0.2) & (since < 0.25)].min() > 0.85
    assert signs.clonic[since < 0.19].max() == 0
    assert signs.clonic[since > 0.5].max() > 0.6
    rises = np.flatnonzero((signs.clonic[:-1] < 0.3) & (signs.clonic[1:] >= 0.3))
    between = np.diff(rises) / FPS
    assert between[-1] > 1.2 * between[0]
    assert signs.clonic[since >= 1].sum() == 0


def test_ordinary_behaviour_is_back_within_sixty_seconds_after_a_seizure():
    t, seizure = HUMAN
    signs, back = signs_of(t, seizure), t > seizure.onset_s + seizure.duration_s + 60
    np.testing.assert_allclose(np.diff(signs.clock_s[back]), 1 / FPS)
    for curve in (signs.jerk, signs.head, signs.tonic, signs.clonic, signs.exhaustion):
        assert not curve[back].any()


def test_ordinary_behaviour_has_long_pauses_so_that_stillness_announces_nothing():
    movements = ordinary_movements({"look": (1.0, 1.0, 2.0)}, (2.0, 3.0), 600, np.random.default_rng(0), 2.5)
    pauses = [b.start_s - a.start_s - a.duration_s for a, b in pairwise(movements)]
    assert min(pauses) >= 0
    assert sum(pause >= 8 for pause in pauses) >= 10
