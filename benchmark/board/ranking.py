"""Who is told apart from whom among all rows of a track, and which rank that leaves each: `rank(contest) -> Ranking`.

Every pair is tested on ROC-AUC over patients (`benchmark.score.comparison`), Holm adjusts over all pairs. A row's rank
is 1 + the number of rows told apart above it, so equal ranks are ties; rows that share a group were not told apart.

A thousand rows are half a million pairs, so `pair_tests` takes them by matrices, and asks for p and sign alone:

- A contribution of `paired_test` needs the share of both methods' negatives (positives) below a mid-rank. That share is
  the mean of each method's own, and a method's own is a table over its mid-ranks 1, 1.5, ..., n: looked up for a whole
  column of methods at once, averaged over replicates.
- A sign vector is at least as extreme as the observed one iff |sum s c| is not below |sum c|: with signs of +1 and -1
  all vectors of all pairs are one product. With up to 16 contributing patients half of the 2^k vectors say it all, the
  other half being their negatives; with more the same 20,000 random ones serve every pair.

The p-values are those of `paired_test`; that is tested. Rankings are cached by content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from scipy.stats import rankdata

from benchmark.files import write_atomically
from benchmark.progress import Progress
from benchmark.score.comparison import ALPHA, MOST_ENUMERATED, SIGN_VECTORS, TIE, all_flips
from benchmark.score.groups import groups_of
from benchmark.score.metrics import FloatArray
from benchmark.score.multiple import holm
from benchmark.score.result import Result

MOST_GROUPED = 60  # rows: the groups of more cannot be read, and may be too many to list
MOST_GROUPS = 200
AT_ONCE = 1_000_000  # numbers in the product of contributions and signs: 8 MB stay near the processor

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A row's scores: (shots, replicates, N), averaged over episodes; NaN for a clip that no episode asks about."""

    name: str
    scores: FloatArray


@dataclass(frozen=True, eq=False)
class Contest:
    """Rows to be ranked; all score the same clips, at the same shots. labels: (N,) of 0.0 and 1.0; patients: (N,)."""

    contestants: tuple[Contestant, ...]
    labels: FloatArray
    patients: tuple[str, ...]
    floor: frozenset[str] = frozenset()  # names of chance and trivial cues
    chance: frozenset[str] = frozenset()  # those of chance alone


class Ranking(Result):
    """What came out. Empty without rows."""

    ranks: dict[str, int]
    joined: tuple[tuple[str, ...], ...] = Field(description="groups of rows not told apart; none beyond 60 rows")
    above_floor: tuple[str, ...] = Field(description="rows told apart above chance and every trivial cue")
    above_chance: tuple[str, ...] = Field(default=(), description="rows told apart above every row of chance")
    below_chance: tuple[str, ...] = Field(default=(), description="rows told apart below every row of chance")
    pairs: int
    told_apart: int
    patients: int
    smallest_p: float = Field(description="that a pair of so many patients can reach")


@dataclass(frozen=True, eq=False)
class PairTests:
    """All pairs in the order of `itertools.combinations`: p, and whether the first is the better one."""

    p: FloatArray
    first_better: Flags


def cached_rank(key: str, cache: Path, contest: Callable[[], Contest], progress: Progress) -> Ranking:
    """The ranking of the content that `key` tells, from `cache`/ranks, or made and kept there."""
    path = cache / "ranks" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    try:
        return Ranking.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # absent, or cut short
        found = rank(contest(), progress)
        write_atomically(path, found.model_dump_json() + "\n")
        return found


def rank(contest: Contest, progress: Progress) -> Ranking:
    """Test all pairs and rank.

    Raises:
        ValueError: a contestant does not score the clips of the first, or these are of one class.
    """
    contestants = _best_first(contest)
    names = [one.name for one in contestants]
    tests = pair_tests(replace(contest, contestants=contestants), progress)
    adjusted = holm(tests.p.tolist())
    apart = np.array([p is not None and p <= ALPHA for p in adjusted], dtype=bool)
    first, second = np.triu_indices(len(names), 1)
    winner, loser = (np.where(tests.first_better == way, first, second)[apart] for way in (True, False))
    above = np.bincount(loser, minlength=len(names))
    on_floor = np.array([name in contest.floor for name in names], dtype=bool)
    is_chance = np.array([name in contest.chance for name in names], dtype=bool)
    beaten = np.bincount(winner, weights=on_floor[loser], minlength=len(names))
    over = np.bincount(winner, weights=is_chance[loser], minlength=len(names)) == max(1, is_chance.sum())
    under = np.bincount(loser, weights=is_chance[winner], minlength=len(names)) == max(1, is_chance.sum())
    grouped = len(names) <= MOST_GROUPED
    alike = zip(first[~apart], second[~apart], strict=True) if grouped else ()
    patients = _patients(contest)
    return Ranking(
        ranks={name: 1 + int(count) for name, count in zip(names, above, strict=True)},
        joined=tuple(groups_of(names, ((names[a], names[b]) for a, b in alike), MOST_GROUPS)) if grouped else (),
        above_floor=tuple(
            name
            for place, name in enumerate(names)
            if on_floor.any() and not on_floor[place] and beaten[place] == on_floor.sum()
        ),
        above_chance=tuple(name for name, so in zip(names, over, strict=True) if so),
        below_chance=tuple(name for name, so in zip(names, under, strict=True) if so),
        pairs=len(apart),
        told_apart=int(apart.sum()),
        patients=patients,
        smallest_p=min(1.0, 2.0 ** (1 - min(patients, MOST_ENUMERATED))),
    )


def pair_tests(contest: Contest, progress: Progress) -> PairTests:
    """p and sign of every pair, as `paired_test(contributions("roc_auc", ...))` gives them."""
    count = len(contest.contestants)
    tables = [_Shot.of(contest, shot) for shot in range(_shots(contest))]
    ps, better = [np.zeros(0)], [np.zeros(0, dtype=bool)]
    with progress.track("comparing pairs", count * (count - 1) // 2) as advance:
        done = 0
        for place in range(count - 1):
            values = np.mean([table.contributions(place) for table in tables], axis=0)
            ps.append(p_values(values))
            better.append(values.sum(axis=1) > 0)
            done += len(values)
            advance(done)
    return PairTests(np.concatenate(ps), np.concatenate(better))


def p_values(values: FloatArray) -> FloatArray:
    """Two-sided p of each pair; values: (pairs, patients), a pair's contributions by `contributions`."""
    scale = np.abs(values).sum(axis=1, keepdims=True)
    contributing = np.abs(values) > TIE * scale
    counts, found = contributing.sum(axis=1), np.ones(len(values))
    for count in np.unique(counts[counts > 0]):
        rows = counts == count
        if count > MOST_ENUMERATED:
            inside = _inside(values[rows], _random_signs(values.shape[1]))
            found[rows] = (SIGN_VECTORS - inside + 1) / (SIGN_VECTORS + 1)
        else:
            compact = values[rows][contributing[rows]].reshape(-1, count)
            found[rows] = 1 - _inside(compact, _half_of_all_signs(int(count))) / 2 ** (count - 1)
    return found


def _inside(values: FloatArray, signs: FloatArray) -> NDArray[np.int64]:
    """How many sign vectors are less extreme than the observed one, for each pair; signs: (patients, vectors)."""
    limit = np.abs(values.sum(axis=1)) - 2 * TIE * np.abs(values).sum(axis=1)
    found = np.zeros(len(values), dtype=np.int64)
    width = min(signs.shape[1], AT_ONCE // 16)
    height = max(1, AT_ONCE // width)
    for first in range(0, len(values), height):
        rows = slice(first, first + height)
        for left in range(0, signs.shape[1], width):
            sums = values[rows] @ signs[:, left : left + width]
            np.abs(sums, out=sums)
            found[rows] += np.count_nonzero(sums < limit[rows, None], axis=1)
    return found


def _half_of_all_signs(patients: int) -> FloatArray:
    """(patients, 2^(patients - 1)) of 1 and -1, the last patient's being 1."""
    flips = all_flips(patients)[: 2 ** (patients - 1)]
    return np.where(flips.T, -1.0, 1.0)


def _random_signs(patients: int) -> FloatArray:
    """(patients, 20,000) of 1 and -1: those that `paired_test` draws."""
    flips = np.random.default_rng(0).random((SIGN_VECTORS, patients)) < 0.5
    return np.where(flips.T, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class _Shot:
    """All rows at one number of shots, as tables; n clips are scored, by n mid-ranks that are doubled to be whole.

    `places`: (replicates of all rows, n), where in a table a clip's mid-rank stands; positive clips look in the front
    half, for the share of negatives below, the others in the back half, for the share of positives below.
    """

    places: NDArray[np.int64]
    starts: NDArray[np.int64]  # (rows + 1,): where a row's replicates begin among all
    tables: FloatArray  # (rows, 2 (2n + 1)), averaged over replicates
    own: FloatArray  # (rows, n): each clip's share in the table of its own replicate, averaged over replicates
    part: FloatArray  # (n, patients): what a share adds to its patient's contribution

    @classmethod
    def of(cls, contest: Contest, shot: int) -> _Shot:
        """Raises ValueError where rows score different clips, or clips of one class."""
        scores = [one.scores[shot] for one in contest.contestants]
        known = np.isfinite(scores[0]).all(axis=0)
        if any(not np.array_equal(np.isfinite(row), np.broadcast_to(known, row.shape)) for row in scores):
            raise ValueError("the rows of a track do not score the same clips")
        positive = contest.labels[known] == 1
        if positive.all() or not positive.any():
            raise ValueError("the scored clips of a track are all of one class")
        starts = np.cumsum([0, *(len(row) for row in scores)])
        doubled = (2 * rankdata(np.concatenate(scores)[:, known], axis=1)).astype(np.int64)
        size = 2 * len(positive) + 1
        below = np.concatenate([_shares(doubled[:, ~positive], size), _shares(doubled[:, positive], size)], axis=1)
        places = doubled + np.where(positive, 0, size)
        names, owner = np.unique(np.asarray(contest.patients, dtype=str)[_scored(contest)], return_inverse=True)
        part = np.zeros((len(positive), len(names)))
        of_clip = owner[known[_scored(contest)]]
        part[np.arange(len(positive)), of_clip] = np.where(positive, 1 / positive.sum(), -1 / (~positive).sum())
        own = _means(np.take_along_axis(below, places, axis=1), starts)
        return cls(places, starts, _means(below, starts), own, part)

    def contributions(self, row: int) -> FloatArray:
        """Of the patients to the difference of this row and each row after it: (rows after, patients)."""
        mine = slice(self.starts[row], self.starts[row + 1])
        theirs = self.starts[row + 1 :]
        here = _means(self.tables[row][self.places[theirs[0] :]], theirs - theirs[0])
        there = self.tables[row + 1 :][:, self.places[mine]].mean(axis=1)
        return (self.own[row] - self.own[row + 1 :] + there - here) / 2 @ self.part


def _shares(doubled: NDArray[np.int64], size: int) -> FloatArray:
    """Share of each row's ranks below 0, 1, ..., size - 1, ties counting half; doubled: (rows, some clips)."""
    rows, clips = doubled.shape
    counts = np.bincount((doubled + size * np.arange(rows)[:, None]).ravel(), minlength=rows * size).reshape(rows, size)
    return (np.cumsum(counts, axis=1) - counts / 2) / clips


def _means(values: FloatArray, starts: NDArray[np.int64]) -> FloatArray:
    """Mean over each row's replicates; values: (replicates of all rows, ...), starts: (rows + 1,)."""
    means: FloatArray = np.add.reduceat(values, starts[:-1], axis=0) / np.diff(starts)[:, None]
    return means


def _shots(contest: Contest) -> int:
    return len(contest.contestants[0].scores) if contest.contestants else 0


def _scored(contest: Contest) -> Flags:
    """(N,): clips with a score at any number of shots."""
    return np.asarray(np.isfinite(contest.contestants[0].scores).any(axis=(0, 1)))


def _best_first(contest: Contest) -> tuple[Contestant, ...]:
    """By ROC-AUC averaged over shots, then by name: the order in which groups are told."""
    tables = [_Shot.of(contest, shot) for shot in range(_shots(contest))]
    positive_part = [np.maximum(table.part.sum(axis=1), 0) for table in tables]
    figures = [
        float(np.mean([table.own[place] @ part for table, part in zip(tables, positive_part, strict=True)]))
        for place in range(len(contest.contestants))
    ]
    order = sorted(zip(figures, contest.contestants, strict=True), key=lambda one: (-round(one[0], 12), one[1].name))
    return tuple(contestant for _, contestant in order)


def _patients(contest: Contest) -> int:
    return len(set(np.asarray(contest.patients, dtype=str)[_scored(contest)])) if contest.contestants else 0
