"""Ranks: the p-values of the paired test, ties where nothing was told apart, kept by content."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.board import ranking
from benchmark.board.ranking import Contest, Contestant, cached_rank, pair_tests, rank
from benchmark.progress import Progress
from benchmark.score.comparison import contributions, paired_test

QUIET = Progress(quiet=True)


def contest(patients=12, rows=5, clips=2, shots=2, replicates=(1,), digits=1, seed=0):
    """Rows from bad to good; digits: few make many ties."""
    random = np.random.default_rng(seed)
    labels = np.arange(patients * clips) % 2 * 1.0
    made = []
    for place in range(rows):
        shape = (shots, replicates[place % len(replicates)], len(labels))
        scores = 1 / (1 + np.exp(-(labels * place + random.normal(size=shape))))
        made.append(Contestant(f"row-{place}", scores.round(digits)))
    names = tuple(f"p{clip // clips:02d}" for clip in range(len(labels)))
    return Contest(tuple(made), labels, names)


def separated(patients=8):
    """Two perfect rows and one that is always wrong."""
    labels = np.arange(2 * patients) % 2 * 1.0
    right = labels[None, None] * 0.8 + 0.1
    rows = (Contestant("wrong", 1 - right), Contestant("right", right), Contestant("also-right", right / 2))
    return Contest(rows, labels, tuple(f"p{clip // 2}" for clip in range(len(labels))))


def assert_same_as_the_paired_test(of):
    tests = pair_tests(of, QUIET)
    pairs = list(combinations(of.contestants, 2))
    assert len(tests.p) == len(pairs)
    for p, better, (a, b) in zip(tests.p, tests.first_better, pairs, strict=True):
        expected = paired_test(contributions("roc_auc", a.scores, b.scores, of.labels, of.patients))
        assert p == expected.p
        if abs(expected.difference) > 1e-12:
            assert better == (expected.difference > 0)


@pytest.mark.parametrize("patients", [1, 2, 5, 11, 16, 17, 24])
def test_every_pair_has_the_p_of_the_paired_test(patients):
    assert_same_as_the_paired_test(contest(patients))


def test_replicates_are_averaged_as_in_the_paired_test():
    assert_same_as_the_paired_test(contest(10, replicates=(1, 3, 2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 3), st.integers(0, 2))
def test_whatever_the_scores_and_ties(seed, patients, clips, digits):
    assert_same_as_the_paired_test(contest(patients, rows=3, clips=clips + 1, digits=digits, seed=seed))


def test_of_many_patients_those_that_contribute_decide():
    of = contest(20)
    scores = of.contestants[0].scores.copy()
    scores[:, :, :6] = 0.5  # of three patients
    rows = (of.contestants[0], Contestant("copy", of.contestants[0].scores.copy()), Contestant("near", scores))
    assert_same_as_the_paired_test(replace(of, contestants=rows))
    assert pair_tests(replace(of, contestants=rows), QUIET).p[0] == 1


def test_clips_that_no_episode_asks_about_take_no_part():
    of = contest(9)
    rows = tuple(replace(one, scores=np.where(np.arange(18) < 4, np.nan, one.scores)) for one in of.contestants)
    assert_same_as_the_paired_test(replace(of, contestants=rows))
    assert rank(replace(of, contestants=rows), QUIET).patients == 7


def test_rank_is_one_more_than_the_rows_told_apart_above():
    found = rank(separated(), QUIET)
    assert found.ranks == {"right": 1, "also-right": 1, "wrong": 3}
    assert found.joined == (("also-right", "right"), ("wrong",))
    assert (found.pairs, found.told_apart, found.patients, found.smallest_p) == (3, 2, 8, 2 / 2**8)


def test_what_cannot_be_told_apart_ties():
    found = rank(separated(patients=6), QUIET)  # smallest p 2 / 64, times 3 pairs
    assert set(found.ranks.values()) == {1}
    assert found.told_apart == 0
    assert found.joined == (("also-right", "right", "wrong"),)


def test_who_is_above_chance_and_every_cue():
    found = rank(replace(separated(), floor=frozenset({"wrong"})), QUIET)
    assert found.above_floor == ("also-right", "right")
    assert rank(replace(separated(), floor=frozenset({"wrong", "right"})), QUIET).above_floor == ()
    assert rank(separated(), QUIET).above_floor == ()


def test_order_of_rows_changes_nothing():
    of = contest(12, rows=6)
    assert rank(of, QUIET) == rank(replace(of, contestants=of.contestants[::-1]), QUIET)


def test_no_rows_no_ranking():
    found = rank(Contest((), np.zeros(0), ()), QUIET)
    assert (found.ranks, found.joined, found.pairs) == ({}, (), 0)
    assert rank(contest(rows=1), QUIET).ranks == {"row-0": 1}


def test_rows_that_score_other_clips_are_refused():
    of = contest()
    hole = of.contestants[1].scores.copy()
    hole[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="same clips"):
        rank(replace(of, contestants=(of.contestants[0], Contestant("hole", hole))), QUIET)


def test_a_ranking_is_kept_by_content_and_made_again_when_its_file_is_cut_short(tmp_path):
    asked = []

    def make():
        asked.append(1)
        return separated()

    first = cached_rank("key", tmp_path, make, QUIET)
    assert cached_rank("key", tmp_path, make, QUIET) == first
    assert len(asked) == 1
    assert cached_rank("other key", tmp_path, make, QUIET) == first
    assert len(asked) == 2
    for path in (tmp_path / "ranks").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert cached_rank("key", tmp_path, make, QUIET) == first
    assert len(asked) == 3


def test_groups_of_more_rows_than_can_be_read_are_not_listed(monkeypatch):
    monkeypatch.setattr(ranking, "MOST_GROUPED", 2)
    found = rank(separated(), QUIET)
    assert found.joined == ()
    assert found.ranks["wrong"] == 3


def test_who_is_told_apart_from_chance_and_on_which_side():
    found = rank(replace(separated(), chance=frozenset({"wrong"})), QUIET)
    assert (found.above_chance, found.below_chance) == (("also-right", "right"), ())
    found = rank(replace(separated(), chance=frozenset({"right"})), QUIET)
    assert (found.above_chance, found.below_chance) == ((), ("wrong",))
    assert rank(separated(), QUIET).above_chance == ()
