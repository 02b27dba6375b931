"""Each unit is done once, whoever is lost; clips are encoded first; a first stage is waited for."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from benchmark.run.rota import TRIES, Group, Rota


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 10**6))
def test_every_unit_is_done_once_though_workers_are_lost(sizes, workers, seed):
    """Losses are dealt at random, fewer than would give a unit up."""
    chance, first, groups = random.Random(seed), 0, []
    for size in sizes:
        groups.append(Group(deque(range(first, first + size)), deque([("a",), ("b",)][: chance.randint(0, 2)])))
        first += size
    rota, done, in_hand, losses = Rota(groups), [], {}, {}
    while not rota.closed:
        idle = [w for w in range(workers) if w not in in_hand and any(group.waiting for group in rota.groups)]
        if idle:
            worker = chance.choice(idle)
            in_hand[worker] = rota.take(worker)
        worker = chance.choice(list(in_hand))
        number, job = in_hand.pop(worker)
        losses[number, job] = losses.get((number, job), 0) + chance.randint(0, 1)
        if losses[number, job] and losses[number, job] < TRIES and chance.random() < 0.5:
            losses[number, job] += 1
            assert rota.lost(worker, number, job, ready=True) == []
        else:
            done += [job] if isinstance(job, int) else []
            rota.done(number, job)
    assert sorted(done) == list(range(first))
    assert rota.take(0) is None


def test_a_worker_stays_with_its_method_and_then_joins_the_one_with_most_work():
    rota = Rota([Group(deque([0, 1])), Group(deque([2, 3, 4])), Group(deque([5, 6, 7, 8, 9]))])
    assert [rota.take(0), rota.take(1)] == [(2, 5), (1, 2)]
    taken = [rota.take(1) for _ in range(2)]
    assert taken == [(1, 3), (1, 4)]
    assert rota.take(1) == (0, 0)
    assert [rota.take(1), rota.take(1)] == [(0, 1), (2, 6)]


def test_units_wait_for_all_clips_to_be_encoded():
    rota = Rota([Group(deque([0]), deque([("a",), ("b",)]))])
    assert [rota.take(0), rota.take(1)] == [(0, ("a",)), (0, ("b",))]
    rota.done(0, ("a",))
    assert rota.groups[0].waiting == 0
    rota.done(0, ("b",))
    assert rota.take(0) == (0, 0)


def test_others_join_a_method_with_a_first_stage_only_when_it_is_set_up():
    rota = Rota([Group(deque([0, 1, 2]), first_alone=True)])
    assert rota.take(0) == (0, 0)
    assert rota.groups[0].waiting == 0
    assert rota.lost(0, 0, 0, ready=False) == []
    assert rota.take(1) == (0, 0)
    rota.opened(0)
    assert rota.take(2) == (0, 1)


def test_a_unit_is_given_up_at_the_third_loss_and_no_other():
    rota = Rota([Group(deque([0, 1]))])
    for tries in range(1, TRIES + 1):
        assert rota.take(7) == (0, 0)
        assert rota.lost(7, 0, 0, ready=True) == ([0] if tries == TRIES else [])
    assert rota.take(8) == (0, 1)
    rota.done(0, 1)
    assert rota.closed


def test_a_method_is_given_up_once_three_units_in_a_row_have_killed_their_workers():
    rota = Rota([Group(deque(range(6))), Group(deque([9]))])
    assert rota.take(0) == (0, 0)
    rota.done(0, 0)
    for unit in (1, 2, 3):
        for _ in range(TRIES):
            assert rota.take(0) == (0, unit)
            given_up = rota.lost(0, 0, unit, ready=True)
    assert given_up == [3, 4, 5]
    assert rota.take(0) == (1, 9)


def test_a_method_whose_set_up_kills_its_worker_is_given_up_and_no_other():
    rota = Rota([Group(deque([0, 1])), Group(deque([2]))])
    for _ in range(TRIES):
        number, job = rota.take(0)
        assert number == 0
        given_up = rota.lost(0, number, job, ready=False)
    assert sorted(given_up) == [0, 1]
    assert rota.take(0) == (1, 2)
