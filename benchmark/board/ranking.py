"""Who is told apart from whom among all rows of a track, and which rank that leaves each: `rank(field) -> Ranking`.

Every pair is tested on ROC-AUC over patients (`benchmark.score.comparison`), Holm adjusts over all pairs. A row's rank
is 1 + the number of rows told apart above it, so equal ranks are ties; rows that share a group were not told apart.

A thousand rows are half a million pairs, so `pair_tests` takes them by matrices, and only p and the sign, no intervals:

- A contribution of `paired_test` needs the share of both methods' negatives (positives) below a mid-rank. That share is
  the mean of each method's own, and a method's own is a table over its mid-ranks 1, 1.5, ..., n: looked up for a whole
  column of methods at once, averaged over replicates.
- A sign vector is at least as extreme as the observed one iff |sum s c| is not below |sum c|. So with signs of +1 and -1
  all vectors of all pairs are one product. With up to 16 contributing patients half of the 2^k vectors say it all, the
  other half being their negatives; with more the same 20,000 random ones serve every pair.

The p-values are those of `paired_test`; that is tested. Rankings are cached by content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
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

Signs = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A row's scores: (shots, replicates, N), averaged over episodes; NaN for a clip that no episode asks about."""

    name: str
    scores: FloatArray


@dataclass(frozen=True, eq=False)
class Field:
    """Rows to be ranked; all score the same clips, at the same shots. labels: (N,) of 0.0 and 1.0; patients: (N,)."""

    contestants: tuple[Contestant, ...]
    labels: FloatArray
    patients: tuple[str, ...]


class Ranking(Result):
    """What came out. Empty without rows."""

    ranks: dict[str, int]
    joined: tuple[tuple[str, ...], ...]
    pairs: int
    told_apart: int
    smallest_p: float | None  # that any pair of so many patients can reach; None without pairs


@dataclass(frozen=True, eq=False)
class PairTests:
    """All pairs in the order of `itertools.combinations`: p, and the sign of the difference (1: the first is better)."""

    p: FloatArray
    sign: Signs


def cached_rank(key: Sequence[str], cache: Path, field: Field | None) -> Ranking | None:
    """The ranking of that content, from `cache`/ranks or made of `field` and kept; None where neither is there."""
    path = cache / "ranks" / f"{hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()}.json"
    if path.is_file():
        try:
            return Ranking.model_validate_json(path.read_bytes())
        except ValidationError:
            pass  # cut short or of another version: made anew
    if field is None:
        return None
    found = rank(field)
    write_atomically(path, found.model_dump_json())
    return found


def rank(field: Field, progress: Progress | None = None) -> Ranking:
    """Test all pairs and rank.

    Raises:
        ValueError: a contestant does not score the clips of the first, or these are of one class.
    """
    contestants = _best_first(field)
    names = [one.name for one in contestants]
    tests = pair_tests(Field(contestants, field.labels, field.patients), progress or Progress(quiet=True))
    adjusted = holm(tests.p.tolist())
    apart = np.array([p is not None and p <= ALPHA for p in adjusted], dtype=bool)
    first, second = np.triu_indices(len(names), 1)
    below = np.where(tests.sign > 0, second, first)[apart]
    above = np.bincount(below, minlength=len(names))
    alike = [(names[a], names[b]) for a, b in zip(first[~apart], second[~apart], strict=True)]
    grouped = len(names) <= MOST_GROUPED
    return Ranking(
        ranks={name: 1 + int(count) for name, count in zip(names, above, strict=True)},
        joined=tuple(groups_of(names, alike, most=MOST_GROUPS)) if grouped else (),
        pairs=len(apart),
        told_apart=int(apart.sum()),
        smallest_p=_smallest_p(field) if len(apart) else None,
    )


def pair_tests(field: Field, progress: Progress) -> PairTests:
    """p and sign of every pair, as `paired_test(contributions("roc_auc", ...))` gives them."""
    count = len(field.contestants)
    tables = [_Shot.of(field, shot) for shot in range(field.contestants[0].scores.shape[0])] if count else []
    ps, signs = [np.zeros(0)], [np.zeros(0, dtype=np.int8)]
    with progress.track("comparing pairs", count * (count - 1) // 2) as advance:
        done = 0
        for place in range(count - 1):
            values = np.mean([table.contributions(place) for table in tables], axis=0)
            ps.append(p_values(values))
            signs.append(np.sign(np.where(np.abs(total := values.sum(axis=1)) < TIE, 0, total)).astype(np.int8))
            advance(done := done + len(values))
    return PairTests(np.concatenate(ps), np.concatenate(signs))


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
    return 1.0 - 2.0 * flips.T


def _random_signs(patients: int) -> FloatArray:
    """(patients, 20,000) of 1 and -1: those that `paired_test` draws."""
    flips = np.random.default_rng(0).random((SIGN_VECTORS, patients)) < 0.5
    return 1.0 - 2.0 * flips.T
