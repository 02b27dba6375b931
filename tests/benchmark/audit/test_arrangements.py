"""Which labels could have been: listed by hand, and drawn as often as listed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.audit.arrangements import Arrangements, arrangements

Clips = list[tuple[str, str, str]]  # patient, recording, and its clips as + and -


def _arrange(clips: Clips, most: int = 999, seed: int = 0) -> tuple[np.ndarray, Arrangements]:
    labels = np.array([sign == "+" for _, _, signs in clips for sign in signs])
    patients = np.array([patient for patient, _, signs in clips for _ in signs])
    recordings = np.array([patient + recording for patient, recording, signs in clips for _ in signs])
    return labels, arrangements(labels, patients, recordings, most, seed)


def _law(found: Arrangements) -> dict[str, float]:
    rows = ["".join("+" if label else "-" for label in row) for row in found.labels]
    return dict(zip(rows, found.chances, strict=True))


def _listed(clips: Clips) -> dict[str, float]:
    _, found = _arrange(clips)
    assert found.exact
    return _law(found)


def test_clips_of_a_recording_exchange_labels() -> None:
    law = _listed([("a", "1", "+-"), ("b", "1", "+-")])
    assert law == pytest.approx(dict.fromkeys(["+-+-", "+--+", "-++-", "-+-+"], 0.25))


def test_recordings_of_one_class_exchange_it_as_a_whole() -> None:
    assert _listed([("a", "1", "++"), ("a", "2", "--")]) == pytest.approx({"++--": 0.5, "--++": 0.5})


def test_patients_of_one_class_exchange_it_as_a_whole_whatever_their_numbers_of_clips() -> None:
    law = _listed([("a", "1", "+++"), ("b", "1", "--"), ("c", "1", "-")])
    assert law == pytest.approx({"+++---": 1 / 3, "---++-": 1 / 3, "-----+": 1 / 3})


def test_a_control_is_exchanged_with_a_patient_who_has_both() -> None:
    law = _listed([("a", "1", "+-"), ("b", "1", "--")])
    assert law == pytest.approx({"+---": 0.25, "-+--": 0.25, "--+-": 0.25, "---+": 0.25})


def test_a_share_that_does_not_fit_is_rounded_with_its_own_chance() -> None:
    """A third of one clip is positive in one of three times."""
    law = _listed([("a", "1", "+--"), ("b", "1", "-")])
    kept, moved = 1 / 2, 1 / 2
    expected = {"+---": kept / 3, "-+--": kept / 3, "--+-": kept / 3, "---+": moved / 3, "----": moved * 2 / 3}
    assert law == pytest.approx(expected)


def test_fewer_recordings_get_some_of_the_shares_and_more_get_some_twice() -> None:
    law = _listed([("a", "1", "+"), ("a", "2", "-"), ("b", "1", "-")])
    # As it is: a's two orders. Exchanged: a gets b's share twice, b one of a's two.
    assert law == pytest.approx({"+--": 1 / 4, "-+-": 1 / 4, "--+": 1 / 4, "---": 1 / 4})


def test_clips_need_not_stand_in_the_order_of_recordings() -> None:
    labels = np.array([True, False, True, False])
    found = arrangements(labels, np.array(["a"] * 4), np.array(["1", "2", "1", "2"]), 99, 0)
    assert _law(found) == pytest.approx({"+-+-": 0.5, "-+-+": 0.5})


UNEQUAL: Clips = [("a", "1", "+--"), ("a", "2", "+"), ("b", "1", "+-"), ("c", "1", "--")]


def test_arrangements_are_drawn_as_often_as_the_listed_law_says() -> None:
    law = _listed(UNEQUAL)
    draws = 20
    count, drawn = 0, Counter[str]()
    while count < 6000:
        _, found = _arrange(UNEQUAL, most=draws, seed=count)
        assert not found.exact
        drawn.update("".join("+" if label else "-" for label in row) for row in found.labels)
        count += draws
    assert set(drawn) <= set(law)
    for row, chance in law.items():
        assert drawn[row] / count == pytest.approx(chance, abs=4 * np.sqrt(chance / count)), row


_SIGNS = st.text("+-", min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_SIGNS, min_size=1, max_size=2), min_size=1, max_size=4))
def test_the_observed_labels_are_listed_and_the_chances_sum_to_1(patients: list[list[str]]) -> None:
    clips = [(f"p{i}", f"r{j}", signs) for i, files in enumerate(patients) for j, signs in enumerate(files)]
    labels, found = _arrange(clips, most=2000)
    assert found.labels.shape[1] == len(labels)
    if found.exact:
        assert found.chances.sum() == pytest.approx(1)
        assert (found.labels == labels).all(axis=1).any()
        assert len(np.unique(found.labels, axis=0)) == len(found.labels) <= 2000
    else:
        assert len(found.labels) == 2000


def test_p_counts_ties_and_is_never_zero() -> None:
    labels = np.zeros((4, 2), dtype=bool)
    listed = Arrangements(labels, np.array([0.1, 0.2, 0.3, 0.4]), exact=True)
    assert listed.p_value(2.0, np.array([2.0, 3.0, 2.0 - 1e-12, 1.0])) == pytest.approx(0.6)
    drawn = Arrangements(labels, np.full(4, 0.25), exact=False)
    assert drawn.p_value(9.0, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1 / 5)


def test_the_exact_p_of_equal_patients_is_below_any_level_as_often_as_the_level() -> None:
    """Take each arrangement as the observed one: p of a statistic without ties is then 1/20, 2/20 and so on."""
    _, found = _arrange([(f"p{i}", "1", "++" if i < 3 else "--") for i in range(6)])
    assert len(found.labels) == 20
    null = np.random.default_rng(1).normal(size=20)
    ps = sorted(found.p_value(value, null) for value in null)
    assert ps == pytest.approx(np.arange(1, 21) / 20)


def test_many_clips_are_drawn_and_the_same_seed_draws_the_same() -> None:
    clips: Clips = [(f"p{i}", str(j), "+-") for i in range(12) for j in range(2)]
    _, one = _arrange(clips, seed=5)
    _, again = _arrange(clips, seed=5)
    _, other = _arrange(clips, seed=6)
    assert not one.exact
    assert (one.labels == again.labels).all()
    assert (one.labels != other.labels).any()
    assert (one.labels.reshape(-1, 24, 2).sum(axis=2) == 1).all()  # each recording keeps its one positive
