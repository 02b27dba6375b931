"""The same moving picture in two recordings, whatever was done to the file: another size, rate, codec, cut or mirror.

    small pictures (4 a second) -> windows of 5 s, each less its own mean: what moved, without the room
      -> 512 bits a window (on which side of random planes it lies) -> windows that share 16 bits in a row are looked at
      -> correlation of the windows themselves -> stretches

A window less its own mean is the same in a film and in any excerpt of it, and two patients filmed in one room have
only the room in common, which the mean takes away. Where nothing moves there is nothing to tell: such windows are
passed over. The bits only choose what is compared (locality-sensitive hashing: Charikar, STOC 2002, section 3: two
vectors at angle a agree in each bit with probability 1 - a / pi); what is reported is the correlation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmark.audit.findings import Finding, finding
from benchmark.audit.pictures import RATE, SIDE, Pictures

WINDOW_S = 5.0
MATCH = 0.88  # correlation; of 160 million pairs of windows of different demo subjects the most alike reach 0.83
MATCH_OWN = 0.96  # of one subject and split, who repeats a gesture in the same bed (demo: up to 0.94)
NOTHING_STANDS_OUT = 2.0  # a correlation that no pair reaches
FALSE_SHARE = 0.05  # of the pairs reported; see `least_correlation`
STILL = 0.6  # grey levels (of 255), root mean square; below it a window shows the camera's noise, not movement
QUERY_EVERY = RATE  # windows: one a second asks, every one may answer

_LENGTH = round(WINDOW_S * RATE)  # pictures of a window
_THIN = 2  # every second picture of a window is enough
_COARSE = 8  # the bits are of windows of COARSE x COARSE cells
_BITS = 512  # in bands of 16; at a correlation of MATCH two windows share a band with a probability of 0.88
_AGREE = 0.79  # of the bits; at a correlation of MATCH, 0.84 are expected, give or take 0.02
_CROWD = 4096  # answers looked at for one band of one query, evenly chosen where a movement repeats without end
_BLOCK = 1 << 17  # pairs whose bits are compared at a time; windows take 16 times less

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Film:
    """One video: who it is of and how to get its small pictures, (T, SIDE, SIDE)."""

    recording_id: str
    subject_id: str
    split: str
    open: Callable[[], Pictures]


@dataclass(frozen=True)
class Twin:
    """A stretch (seconds) of film `a` that is also in film `b`, from `b_start_s` on."""

    a: Film
    b: Film
    a_start_s: float
    b_start_s: float
    length_s: float
    correlation: float
    mirrored: bool

    @cached_property
    def in_words(self) -> str:
        """One line of evidence."""
        places = [
            f"{film.recording_id} ({film.subject_id}, {film.split}) {start:.1f}-{start + self.length_s:.1f} s"
            for film, start in ((self.a, self.a_start_s), (self.b, self.b_start_s))
        ]
        mirror = ", mirrored" if self.mirrored else ""
        return f"{places[0]} = {places[1]} (correlation {self.correlation:.2f}{mirror})"


def apart(a: Film, b: Film) -> bool:
    """Whether two films are of two subjects, or of two splits."""
    return a.subject_id.casefold() != b.subject_id.casefold() or a.split != b.split


def twin_findings(twins: Sequence[Twin]) -> list[Finding]:
    """Films of different subjects or splits that share a stretch, and films of one subject and split that do."""
    return [
        *finding(
            "near-identical-frames",
            "hard",
            "two recordings of different subjects or splits show the same moving picture; find out whose it is and "
            "drop the other from the tables",
            [twin.in_words for twin in twins if apart(twin.a, twin.b)],
        ),
        *finding(
            "overlapping-clips",
            "hard",
            "two recordings of one subject show the same stretch, so its clips count twice; keep one, or cut the "
            "stretch from the annotated intervals of the other",
            [twin.in_words for twin in twins if not apart(twin.a, twin.b)],
        ),
    ]


def find_twins(films: Sequence[Film]) -> tuple[list[Twin], float]:
    """The longest shared stretch of each pair of films that has one, the longest first; and the least correlation.

    That is MATCH, or more where films move so much alike that they match backwards, too (`least_correlation`).
    """

    @lru_cache(maxsize=16)
    def moved(film: int) -> Floats:
        return _moved(films[film].open())

    index = _index(films, moved)
    best: dict[tuple[int, int], _Match] = {}
    for view in VIEWS:
        for pair, match in _matches(index, view, moved).items():
            if pair not in best or match.correlation > best[pair].correlation:
                best[pair] = match
    strangers = [match for (a, b), match in best.items() if apart(films[a], films[b])]
    least = least_correlation(
        [match.correlation for match in strangers if not match.view.backwards],
        [match.correlation for match in strangers if match.view.backwards],
    )
    twins = [
        _stretch((films[a], films[b]), moved(a), moved(b), match)
        for (a, b), match in best.items()
        if not match.view.backwards
        and match.correlation >= (least if apart(films[a], films[b]) else max(least, MATCH_OWN))
    ]
    return sorted(twins, key=lambda twin: (-twin.length_s, twin.a.recording_id, twin.b.recording_id)), least


def least_correlation(forwards: Sequence[float], backwards: Sequence[float]) -> float:
    """The lowest correlation from MATCH up at which at most FALSE_SHARE of the pairs found are chance; above 1 if none.

    A film played backwards has no twin, yet moves as films do: as many pairs as it finds, chance finds among the true
    ones (target-decoy competition: Elias and Gygi, Nature Methods 4, 2007).

    Args:
        forwards: the best correlation of each pair of films that match best as they are (or mirrored).
        backwards: that of each pair that match best with one of them played backwards.
    """
    if not len(backwards):
        return MATCH
    found, chance = np.sort(forwards), np.sort(backwards)
    above = len(found) - np.arange(len(found))
    by_chance = len(chance) - np.searchsorted(chance, found, side="left")
    good = np.flatnonzero(by_chance <= FALSE_SHARE * above)
    return float(found[good[0]]) if len(good) else NOTHING_STANDS_OUT


@dataclass(frozen=True)
class _View:
    """How a window that asks is shown."""

    mirrored: bool
    backwards: bool

    def of(self, windows: Floats) -> Floats:
        """Windows (N, pictures, SIDE, SIDE), seen this way."""
        shown = windows[:, ::-1] if self.backwards else windows
        return shown[..., ::-1] if self.mirrored else shown


VIEWS = tuple(_View(mirrored, backwards) for mirrored in (False, True) for backwards in (False, True))


@dataclass(frozen=True)
class _Match:
    """The highest correlation of windows of two films, by how many pictures the second is ahead there, and how seen."""

    correlation: float
    shift: int
    view: _View


@dataclass(frozen=True)
class _Index:
    """Windows in which something moves: film, first picture and bits; of those that ask, the bits of each view."""

    film: Ints
    at: Ints
    bits: NDArray[np.uint64]
    asked: dict[_View, NDArray[np.uint64]]

    @property
    def asking(self) -> Ints:
        """Those that ask."""
        return np.flatnonzero(self.at % QUERY_EVERY == 0)


def _index(films: Sequence[Film], moved: Callable[[int], Floats]) -> _Index:
    planes = np.random.default_rng(0).standard_normal((_LENGTH // _THIN * _COARSE**2, _BITS), dtype=np.float32)
    film, at = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    none = np.empty((0, _BITS // 64), np.uint64)
    bits, asked = [none], {view: [none] for view in VIEWS}
    for number in range(len(films)):
        for first, windows in _blocks(moved(number)):
            moving = np.flatnonzero(_energy(windows) >= STILL)
            film.append(np.full(len(moving), number))
            at.append(first + moving)
            coarse = windows[moving].reshape(
                len(moving), _LENGTH // _THIN, _COARSE, SIDE // _COARSE, _COARSE, SIDE // _COARSE
            )
            coarse = coarse.mean(axis=(3, 5))
            bits.append(_sides(coarse, planes))
            asking = coarse[at[-1] % QUERY_EVERY == 0]
            for view in VIEWS:
                asked[view].append(_sides(view.of(asking), planes))
    sides = {view: np.concatenate(parts) for view, parts in asked.items()}
    return _Index(np.concatenate(film), np.concatenate(at), np.concatenate(bits), sides)


def _sides(windows: Floats, planes: Floats) -> NDArray[np.uint64]:
    """On which side of each plane a window lies, (N, _BITS / 64)."""
    return np.packbits(windows.reshape(len(windows), len(planes)) @ planes > 0, axis=1).view(np.uint64)


def _matches(index: _Index, view: _View, moved: Callable[[int], Floats]) -> dict[tuple[int, int], _Match]:
    """By pair of films (in their order) the best match from MATCH up. Backwards, `shift` means nothing."""
    asking, answering = _alike(index, view)
    films = int(index.film.max(initial=0)) + 1
    pair = index.film[asking] * films + index.film[answering]
    order = np.argsort(pair, kind="stable")
    matches: dict[tuple[int, int], _Match] = {}
    for group in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(order) else []:
        a, b = divmod(int(pair[group[0]]), films)
        best = _best(moved(a), moved(b), index.at[asking[group]], index.at[answering[group]], view)
        if a > b:  # whichever of them is mirrored, the other is its twin
            a, b, best = b, a, replace(best, shift=-best.shift)
        if best.correlation >= MATCH and ((a, b) not in matches or best.correlation > matches[a, b].correlation):
            matches[a, b] = best
    return matches


def _alike(index: _Index, view: _View) -> tuple[Ints, Ints]:
    """Pairs of windows (asking, answering) of different films that share a band and most bits, each pair once."""
    asking = index.asking
    asked = index.asked[view]
    found = [np.empty(0, np.int64)]
    for band in range(_BITS // 16):
        answers = index.bits.view(np.uint16)[:, band]
        order = np.argsort(answers, kind="stable")
        codes = asked.view(np.uint16)[:, band]
        first = np.searchsorted(answers, codes, side="left", sorter=order)
        counts = np.searchsorted(answers, codes, side="right", sorter=order) - first
        taken = np.minimum(counts, _CROWD)
        ends = np.cumsum(taken)
        for begin, end in _chunks(ends):
            of = np.repeat(np.arange(begin, end), taken[begin:end])
            place = np.arange(len(of)) - np.repeat(
                ends[begin:end] - taken[begin:end] - (ends[begin] - taken[begin]), taken[begin:end]
            )
            other = order[first[of] + place * counts[of] // taken[of]]
            apart = index.film[asking[of]] != index.film[other]
            of, other = of[apart], other[apart]
            differing = np.bitwise_count(asked[of] ^ index.bits[other]).sum(axis=1)
            near = differing <= (1 - _AGREE) * _BITS
            found.append(np.unique(asking[of[near]] * len(index.at) + other[near]))
    pairs = np.unique(np.concatenate(found))
    return pairs // max(len(index.at), 1), pairs % max(len(index.at), 1)


def _chunks(ends: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of queries with about _BLOCK pairs each; `ends` is the running count of pairs."""
    begin = 0
    while begin < len(ends):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        yield begin, end
        begin = end


def _best(a: Floats, b: Floats, at_a: Ints, at_b: Ints, view: _View) -> _Match:
    """The best match among the given windows."""
    best = _Match(-1.0, 0, view)
    for first in range(0, len(at_a), _BLOCK // 16):
        here = slice(first, first + _BLOCK // 16)
        alike = _correlation(view.of(_windows(a, at_a[here])), _windows(b, at_b[here]))
        top = int(alike.argmax())
        if alike[top] > best.correlation:
            best = _Match(float(alike[top]), int(at_b[here][top] - at_a[here][top]), view)
    return best


def _stretch(films: tuple[Film, Film], a: Floats, b: Floats, match: _Match) -> Twin:
    """The longest run of matching windows at this shift; a pause in which nothing moves does not end it."""
    shift, view = match.shift, match.view
    first = max(0, -shift)
    count = min(len(a), len(b) - shift) - _LENGTH + 1 - first
    alike, still = np.empty(count, np.float32), np.empty(count, bool)
    for begin in range(0, count, _BLOCK // 16):
        at = first + np.arange(begin, min(begin + _BLOCK // 16, count))
        one, other = view.of(_windows(a, at)), _windows(b, at + shift)
        alike[at - first] = _correlation(one, other)
        still[at - first] = np.minimum(_energy(one), _energy(other)) < STILL
    same = (alike >= MATCH) & ~still
    runs = np.split(np.arange(count), np.flatnonzero(np.diff(same | still)) + 1)
    spans = [run[same[run]][[0, -1]] for run in runs if same[run].any()]
    begin, end = max(spans, key=lambda span: int(span[1] - span[0]))
    inside = alike[begin : end + 1][same[begin : end + 1]]
    return Twin(
        *films,
        a_start_s=float(first + begin) / RATE,
        b_start_s=float(first + begin + shift) / RATE,
        length_s=float(end - begin) / RATE + WINDOW_S,
        correlation=float(np.median(inside)),
        mirrored=view.mirrored,
    )


def _moved(pictures: Pictures) -> Floats:
    """Pictures (T, SIDE, SIDE) as T - 1 means of neighbours, each less its overall brightness."""
    shown = pictures.astype(np.float32)
    smooth = (shown[:-1] + shown[1:]) / 2
    return smooth - smooth.mean(axis=(1, 2), keepdims=True)


def _windows(moved: Floats, at: Ints) -> Floats:
    """The windows that begin at pictures `at`, (N, pictures, SIDE, SIDE), each less its mean over time."""
    cubes = moved[at[:, None] + np.arange(0, _LENGTH, _THIN)]
    return cubes - cubes.mean(axis=1, keepdims=True)


def _blocks(moved: Floats) -> Iterator[tuple[int, Floats]]:
    """All windows of a film, some at a time, with the number of the first."""
    count = len(moved) - _LENGTH + 1
    for first in range(0, count, _BLOCK // 16):
        yield first, _windows(moved, np.arange(first, min(first + _BLOCK // 16, count)))


def _energy(windows: Floats) -> Floats:
    """Root mean square of each window, in grey levels."""
    rms: Floats = np.sqrt(np.square(windows).mean(axis=(1, 2, 3)))
    return rms


def _correlation(a: Floats, b: Floats) -> Floats:
    """Of each window of `a` with that of `b`."""
    dots = np.einsum("nthw,nthw->n", a, b)
    r: Floats = dots / np.maximum(np.sqrt(np.square(a).sum(axis=(1, 2, 3)) * np.square(b).sum(axis=(1, 2, 3))), 1e-6)
    return r
