from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.mixes import Mix, Part, PartCount, draw, load_mix, mix_names
from tasks.errors import BadInput

OWN = "name: few\ndescription: few rats\nparts:\n  - {species: rodent, seizure: true, count: 6}\n"


def window(subject: str, number: int, species: str = "rat", seizure: bool = True) -> dict[str, object]:
    name = f"{subject}-{number}-{'y' if seizure else 'n'}"
    return {"clip_id": name, "subject_id": subject, "species": species, "seizure": seizure}


def windows(supply: dict[str, int], species: str = "rat", seizure: bool = True) -> list[dict[str, object]]:
    return [window(subject, n, species, seizure) for subject, count in supply.items() for n in range(count)]


def rodents(count: int) -> Mix:
    return Mix(name="own", description="", parts=(Part(species="rodent", seizure=True, count=count),))


def shares(mix: Mix, rows: list[dict[str, object]], seed: int = 0) -> Counter[str]:
    return Counter(row["subject_id"] for row in draw(mix, rows, seed).windows)


def test_the_six_mixes_stand_in_the_papers_order_with_its_counts() -> None:
    assert mix_names() == ("base", "+H", "+R(Y)", "+R(N)", "+R(Y/N)", "+R(Y/N)+H")
    kinds = {name: [(part.species, part.seizure, part.count) for part in load_mix(name).parts] for name in mix_names()}
    yes, no, human = ("rodent", True, 2952), ("rodent", False, 3000), ("human", False, 1870)
    assert list(kinds.values()) == [[], [human], [yes], [no], [yes, no], [yes, no, human]]


def test_a_file_of_ones_own_is_a_mix(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text(OWN)
    assert load_mix(str(tmp_path / "few.yaml")) == Mix(name="few", description="few rats", parts=rodents(6).parts)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("name: few", "name: +H"), "'\\+H' is a shipped mix's"),
        (("count: 6", "count: 0"), "parts.0.count"),
        (("count: 6", "cuont: 6"), "cuont|count"),
        (("species: rodent", "species: rat"), "parts.0.species"),
        (("parts:", "parts:\n  - {species: rodent, seizure: true, count: 2}"), "2 parts are rodent seizure clips"),
        (("description: few rats\n", ""), "'description' is missing"),
        (("name: few", "name: ../few"), "name"),
    ],
)
def test_a_fault_in_a_file_of_ones_own_is_named(tmp_path: Path, change: tuple[str, str], fault: str) -> None:
    (tmp_path / "few.yaml").write_text(OWN.replace(*change))
    with pytest.raises(BadInput, match=rf"few\.yaml: .*({fault})"):
        load_mix(str(tmp_path / "few.yaml"))


def test_an_unknown_mix_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match=r"unknown mix 'R\(Y\)': did you mean \+R\(Y\)\?"):
        load_mix("R(Y)")
    with pytest.raises(BadInput, match=r"choose one of base, \+H, .* or name a \.yaml file"):
        load_mix("none.yaml")


def test_shares_are_equal_as_far_as_supplies_go() -> None:
    rows = windows({"a": 10, "b": 3, "c": 1})
    assert shares(rodents(8), rows) == {"a": 4, "b": 3, "c": 1}
    assert shares(rodents(7), rows) == {"a": 3, "b": 3, "c": 1}
    assert shares(rodents(99), rows) == {"a": 10, "b": 3, "c": 1}


def test_the_remainder_goes_by_lot_and_the_lot_by_seed() -> None:
    rows = windows(dict.fromkeys("abcd", 5))
    extra = {next(s for s, n in shares(rodents(5), rows, seed).items() if n == 2) for seed in range(40)}
    assert extra == set("abcd")
    assert len({draw(rodents(5), rows, seed).windows[0]["clip_id"] for seed in range(40)}) > 1


@given(
    supply=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 12), min_size=1),
    count=st.integers(1, 40),
    seed=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_a_draw_is_as_many_as_there_are_balanced_nested_and_independent_of_row_order(
    supply: dict[str, int], count: int, seed: int, order: object
) -> None:
    rows = windows(supply)
    drawn = draw(rodents(count), rows, seed)
    ids = [row["clip_id"] for row in drawn.windows]
    assert ids == sorted(set(ids))
    assert len(ids) == min(count, len(rows)) == drawn.counts[0].drawn
    share = shares(rodents(count), rows, seed)
    for subject, available in supply.items():
        assert share[subject] == available or share[subject] >= max(share.values()) - 1
    assert {*ids} <= {row["clip_id"] for row in draw(rodents(count + 1), rows, seed).windows}
    shuffled = list(rows)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert draw(rodents(count), shuffled, seed) == drawn


def test_rodent_is_every_species_but_human_and_a_part_is_the_same_in_every_mix() -> None:
    rows = [
        *windows({"r": 3}, "rat"),
        *windows({"m": 2}, "mouse"),
        *windows({"r": 2}, "rat", seizure=False),
        *windows({"h": 4}, "human", seizure=False),
        *windows({"h": 3}, "human"),
    ]
    ids = {name: {row["clip_id"] for row in draw(load_mix(name), rows, 0).windows} for name in mix_names()}
    assert ids["+R(Y)"] == {"r-0-y", "r-1-y", "r-2-y", "m-0-y", "m-1-y"}
    assert ids["+R(N)"] == {"r-0-n", "r-1-n"}
    assert ids["+H"] == {f"h-{n}-n" for n in range(4)}
    assert ids["+R(Y/N)+H"] == ids["+R(Y)"] | ids["+R(N)"] | ids["+H"]
    assert ids["base"] == set()


def test_counts_tell_what_was_asked_for_and_what_came() -> None:
    drawn = draw(load_mix("+R(Y/N)"), windows({"r": 60}), 0)
    assert [count.in_words() for count in drawn.counts] == [
        "60 of 2,952 rodent seizure clips",
        "0 of 3,000 rodent normal clips",
    ]
    lost = PartCount("human", False, asked=1870, drawn=1870, unreadable=3)
    assert lost.in_words() == "1,867 of 1,870 human normal clips (3 unreadable)"
