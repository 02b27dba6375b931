"""Groups of methods that were not told apart."""

from __future__ import annotations

from itertools import combinations

from benchmark.score.groups import groups_of, letter, letters_of

NAMES = ["best", "good", "fair", "poor"]


def test_being_alike_is_not_passed_on():
    groups = groups_of(NAMES, [("good", "best"), ("good", "fair")])
    assert groups == [("best", "good"), ("good", "fair"), ("poor",)]
    assert letters_of(NAMES, groups) == {"best": "a", "good": "ab", "fair": "b", "poor": "c"}


def test_a_group_need_not_be_made_of_neighbours():
    assert groups_of(NAMES, [("best", "poor")]) == [("best", "poor"), ("good",), ("fair",)]


def test_all_alike_are_one_group_and_all_different_as_many_as_there_are():
    assert groups_of(NAMES, combinations(NAMES, 2)) == [tuple(NAMES)]
    assert letters_of(NAMES, groups_of(NAMES, [])) == dict(zip(NAMES, "abcd", strict=True))


def test_two_names_share_a_letter_exactly_if_they_are_alike():
    names = [f"m{number}" for number in range(7)]
    alike = {(a, b) for number, (a, b) in enumerate(combinations(names, 2)) if number % 3}
    letters = letters_of(names, groups_of(names, alike))
    for pair in combinations(names, 2):
        assert bool(set(letters[pair[0]]) & set(letters[pair[1]])) == (pair in alike)


def test_letters_go_on_after_z():
    assert [letter(number) for number in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]
    names = [f"m{number:02d}" for number in range(30)]
    letters = letters_of(names, [*[(name,) for name in names[:28]], ("m27", "m28"), ("m29",)])
    assert (letters["m27"], letters["m29"]) == ("ab-ac", "ad")


def test_more_groups_than_asked_for_are_not_listed():
    assert groups_of(NAMES, [], most=3) == []
    assert len(groups_of(NAMES, [], most=4)) == 4
