"""Which labels the clips could have had if a cue told nothing: rearrangements for a permutation test.

Clips of one recording, and recordings of one patient, are alike. Shuffling single clips would therefore call many
a chance difference between two recordings a discovery. Labels move the way they are clustered:

    patients     exchange the shares of positives that their recordings hold    {1, 0} of a goes to c
    recordings   of a patient exchange these shares                             {1, 0} becomes {0, 1}
    clips        of a recording exchange labels                                 + - - becomes - + -

Where every patient has the same shares, this is a permutation within patients; where every patient has one class, it
exchanges whole patients; and controls from another hospital are exchanged with patients who have both. A share that
comes to a recording with another number of clips is rounded up or down at random, with its own chance; a patient with
fewer recordings than the shares that come gets some of them, one with more gets some twice. The observed labels are
always one of the arrangements. With equal counts the law is uniform over a group, and the test exact (Pesarin and
Salmaso 2010, "Permutation Tests for Complex Data", section 1.9); with unequal counts nearly so: see docs/audit.md for
how often it is wrong.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product

import numpy as np
from numpy.typing import NDArray

TIE = 1e-9  # statistics nearer than this are equal
_DIGITS = 9  # of a share times a number of clips: 3 * (1 / 3) is 1
_WORK = 4  # the same labels come about in several ways; listing them may cost so many steps an arrangement
_MOST_RECORDINGS = 6  # of a patient, for the exact law: 720 orders

Shares = tuple[float, ...]  # of positives, by recording
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Arrangements:
    """Labels (A, n) and the chance of each (A,), all of them (`exact`) or drawn at random."""

    labels: Labels
    chances: NDArray[np.float64]
    exact: bool

    def p_value(self, observed: float, null: NDArray[np.float64]) -> float:
        """One-sided p of a statistic, given it for every arrangement (A,).

        Drawn at random, the observed labels count as one more draw (Phipson and Smyth 2010, section 2), so p is
        never 0.
        """
        reached = null >= observed - TIE
        if self.exact:
            return round(float(self.chances[reached].sum()), 12)  # all of them are 1, not 0.9999999999999999
        return (1 + int(reached.sum())) / (1 + len(null))


def arrangements(
    labels: Labels, patients: NDArray[np.str_], recordings: NDArray[np.str_], most: int, seed: int
) -> Arrangements:
    """All arrangements where there are at most `most`, else as many draws.

    Args:
        labels: of the clips (n,).
        patients: patient of each clip (n,).
        recordings: recording of each clip (n,); each belongs to one patient.
        most: how many arrangements.
        seed: of the draws.
    """
    design = _design(labels, patients, recordings)
    listed = _listed(design, most)
    if listed is not None:
        return listed
    random = np.random.default_rng(seed)
    drawn = np.stack([_drawn(design, random) for _ in range(most)])
    return Arrangements(drawn, np.full(most, 1 / most), exact=False)


@dataclass(frozen=True)
class _Design:
    """Shares and sizes by patient and recording; `recording` (n,) is the number of each clip's, counted through."""

    shares: tuple[Shares, ...]
    sizes: tuple[tuple[int, ...], ...]
    recording: NDArray[np.int64]

    @property
    def all_sizes(self) -> NDArray[np.int64]:
        return np.array([size for sizes in self.sizes for size in sizes], dtype=np.int64)


def _design(labels: Labels, patients: NDArray[np.str_], recordings: NDArray[np.str_]) -> _Design:
    shares, sizes = [], []
    number, recording = 0, np.zeros(len(labels), dtype=np.int64)
    for patient in np.unique(patients):
        own = []
        for name in np.unique(recordings[patients == patient]):
            here = recordings == name
            own.append((float(labels[here].mean()), int(here.sum())))
            recording[here] = number
            number += 1
        shares.append(tuple(share for share, _ in own))
        sizes.append(tuple(size for _, size in own))
    return _Design(tuple(shares), tuple(sizes), recording)


def _drawn(design: _Design, random: np.random.Generator) -> Labels:
    """One arrangement, drawn."""
    given = []
    for sizes, source in zip(design.sizes, random.permutation(len(design.sizes)), strict=True):
        copies, rest = divmod(len(sizes), len(design.shares[source]))
        own = np.array(design.shares[source])
        given.append(random.permutation([*np.tile(own, copies), *random.permutation(own)[:rest]]))
    sizes_, shares = design.all_sizes, np.concatenate(given)
    positives = np.floor((shares * sizes_).round(_DIGITS) + random.random(len(shares)))
    order = np.lexsort((random.random(len(design.recording)), design.recording))
    starts = np.repeat(np.cumsum(sizes_) - sizes_, sizes_)
    result = np.zeros(len(order), dtype=np.bool_)
    result[order] = np.arange(len(order)) - starts < np.repeat(positives, sizes_)
    return result


def _listed(design: _Design, most: int) -> Arrangements | None:
    """All arrangements with their chances, or None where there are more than `most`."""
    kinds = Counter(design.shares)
    ways = math.factorial(len(design.shares)) // math.prod(map(math.factorial, kinds.values()))
    if ways > most:
        return None
    laws = {}
    for sizes in set(design.sizes):
        for shares in kinds:
            law = _law(shares, sizes, most)
            if law is None:
                return None
            laws[shares, sizes] = law
    found: dict[tuple[bool, ...], float] = defaultdict(float)
    work = 0
    for given in _orders(kinds):
        own = [laws[pair] for pair in zip(given, design.sizes, strict=True)]
        work += math.prod(map(len, own))
        if work > _WORK * most:
            return None
        for parts in product(*(law.items() for law in own)):
            row = tuple(label for part, _ in parts for label in part)
            found[row] += math.prod(chance for _, chance in parts) / ways
    if len(found) > most:
        return None
    table = np.array(sorted(found), dtype=np.bool_)
    labels = np.empty_like(table)
    labels[:, np.argsort(design.recording, kind="stable")] = table
    return Arrangements(labels, np.array([found[key] for key in sorted(found)]), exact=True)


def _law(shares: Shares, sizes: tuple[int, ...], most: int) -> dict[tuple[bool, ...], float] | None:
    """Chance of each labelling of a patient's clips, in order of recordings, when given `shares`."""
    orders = _shares_given(shares, len(sizes))
    if orders is None:
        return None
    law: dict[tuple[bool, ...], float] = defaultdict(float)
    work = 0
    for given, chance in orders.items():
        counts = [_rounded(share * size) for share, size in zip(given, sizes, strict=True)]
        for picked in product(*counts):
            numbers = [math.comb(size, count) for (count, _), size in zip(picked, sizes, strict=True)]
            work += math.prod(numbers)
            if work > _WORK * most:
                return None
            each = chance * math.prod(part for _, part in picked) / math.prod(numbers)
            rows = [_placed(size, count) for (count, _), size in zip(picked, sizes, strict=True)]
            for row in product(*rows):
                law[tuple(label for part in row for label in part)] += each
    return dict(law)


def _shares_given(shares: Shares, recordings: int) -> dict[Shares, float] | None:
    """Chance of each order of shares that so many recordings are given; None where there are too many to list."""
    copies, rest = divmod(recordings, len(shares))
    if len(set(shares)) == 1:
        return {shares[:1] * recordings: 1.0}
    if max(recordings, len(shares)) > _MOST_RECORDINGS:
        return None
    orders = Counter(order for extra in combinations(shares, rest) for order in permutations(shares * copies + extra))
    return {order: count / orders.total() for order, count in orders.items()}


def _rounded(positives: float) -> list[tuple[int, float]]:
    """Whole numbers around an expected number of positives, with their chances."""
    expected = round(positives, _DIGITS)
    below = math.floor(expected)
    return [(below, 1.0)] if expected == below else [(below, below + 1 - expected), (below + 1, expected - below)]


def _placed(size: int, positives: int) -> list[tuple[bool, ...]]:
    """Every way to label so many of `size` clips positive."""
    return [tuple(place in chosen for place in range(size)) for chosen in combinations(range(size), positives)]


def _orders(kinds: Counter[Shares]) -> Iterator[tuple[Shares, ...]]:
    """Every distinct order of a multiset."""
    if not kinds.total():
        yield ()
    for kind in kinds:
        if kinds[kind]:
            for rest in _orders(kinds - Counter([kind])):
                yield (kind, *rest)
