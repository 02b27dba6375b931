"""How alike two species are to an encoder, from features, subjects and labels alone (docs/consistency.md).

    alike(rodent, human)      do the features of one condition vary along the same directions (CKA), and can a
                              classifier tell the species apart (proxy A-distance)?
    transfer(source, target)  does a rule learnt on one species rank the other's clips?

The unit is the subject. Every p is (1 + b) / (1 + m) over m relabellings that keep what is exchangeable together:
species are permuted over whole subjects, condition labels within them. Where all relabellings are fewer than the m
asked for, each is taken once, and p is exact. What too few subjects or clips cannot tell is said in words; no figure
is ever NaN. Nothing depends on the order of the clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from itertools import combinations, islice, product
from math import comb, prod
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from benchmark.score.metrics import FloatArray
from benchmark.score.uncertainty import patient_interval

PERMUTATIONS = 999
FOLDS = 5
HALVES = 200  # random splits of each species' subjects into two
MIN_SUBJECTS_FOR_HALVES = 4
TIE = 1e-12  # sums in another order may miss by an ulp
NO_VARIATION = 1e-6  # of the largest feature: below what float32 features can tell

Rule = Literal["prototype", "linear"]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

_STRICT = ConfigDict(allow_inf_nan=False, extra="forbid")


@plain_dataclass(frozen=True, eq=False)
class Group:
    """Clips of one species: ids and subjects (N,), features (N, D), labels (N,) of 0 and 1 where there are any."""

    name: str
    clips: Sequence[str]
    subjects: Sequence[str]
    features: FloatArray
    labels: NDArray[np.int64] | None = None

    @property
    def in_order(self) -> Self:
        """The same clips by id."""
        return self.take(np.argsort(np.asarray(self.clips, dtype=str), kind="stable"))

    @property
    def count(self) -> int:
        """How many subjects."""
        return len(set(self.subjects))

    def take(self, rows: Indices) -> Self:
        """Some of the clips."""
        return type(self)(
            self.name,
            [self.clips[row] for row in rows],
            [self.subjects[row] for row in rows],
            np.asarray(self.features, dtype=np.float64)[rows],
            None if self.labels is None else self.labels[rows],
        )


@dataclass(frozen=True, config=_STRICT)
class Figure:
    """One quantity. `value` is None where it cannot be said, and `unsaid` tells what is missing and why."""

    value: float | None = None
    low: Annotated[float | None, Field(description="95% interval over the target's subjects")] = None
    high: float | None = None
    resampled: Annotated[str | None, Field(description="what the interval resamples")] = None
    null_low: Annotated[float | None, Field(description="2.5% and 97.5% of the relabellings")] = None
    null_high: float | None = None
    p: float | None = None
    smallest_p: Annotated[float | None, Field(description="what p can reach with so many subjects")] = None
    relabellings: Annotated[int, Field(description="m, without the labels as they are")] = 0
    unsaid: str | None = None


@dataclass(frozen=True, config=_STRICT)
class Sides:
    """What a comparison stands on: clips at hand, subjects."""

    rodent: str
    human: str
    rodent_clips: int
    rodent_subjects: int
    human_clips: int
    human_subjects: int


@dataclass(frozen=True, config=_STRICT)
class Likeness:
    """A CKA between the species, and what to judge it by."""

    cka: Figure
    ceiling_rodent: Annotated[Figure, Field(description="CKA of random halves of the rodents")]
    ceiling_human: Annotated[Figure, Field(description="CKA of random halves of the humans")]
    corrected: Annotated[Figure, Field(description="CKA between halves over the geometric mean of the ceilings")]
    floor: Annotated[Figure, Field(description="CKA of the same two spectra in random orientation")]

    @classmethod
    def cannot_be_said(cls, why: str) -> Self:
        """Nothing at all, for one reason."""
        return cls(*(Figure(unsaid=why) for _ in range(5)))


@dataclass(frozen=True, config=_STRICT)
class Alike:
    """The species side by side in one condition."""

    used: Annotated[int, Field(description="at most so many clips of a subject, drawn by the seed")]
    whole: Annotated[Likeness, Field(description="of all variation: between subjects and within them")]
    within: Annotated[Likeness, Field(description="of the clips' deviations from their subject's mean")]
    a_distance: Figure


def sides_of(rodent: Group, human: Group) -> Sides:
    """Names and counts of two groups."""
    return Sides(rodent.name, human.name, len(rodent.clips), rodent.count, len(human.clips), human.count)


def linear_cka(x: FloatArray, y: FloatArray) -> float | None:
    """Cosine between the covariances of unpaired sets x (n, D) and y (m, D); None where one does not vary.

    Linear CKA (Kornblith et al. 2019) with the D features as its examples: <X'X, Y'Y> = ||X Y'||^2 (Frobenius) for
    sets centred over their clips, hence only n x m products. In [0, 1].
    """
    if not (_varies(x) and _varies(y)):
        return None
    return _cka(_centred(x) @ _centred(y).T, _centred(x) @ _centred(x).T, _centred(y) @ _centred(y).T)


def alike(
    rodent: Group,
    human: Group,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Alike:
    """Both CKAs with what to judge them by, and the proxy A-distance, of two groups of clips.

    No subject gives more clips than the median subject of the sparser species: subjects with many clips beside
    subjects with few are not exchangeable. `progress` counts the relabellings done (of at most `permutations`).
    """
    groups = rodent.in_order, human.in_order
    why = _too_little(*groups)
    most = 0 if why else min(int(np.median(_clips_each(group))) for group in groups)
    x, y = (_capped(group, most, [seed, side]) for side, group in enumerate(groups)) if most else groups
    why = why or _flat(x, y)
    if why:
        nothing = Likeness.cannot_be_said(why)
        return Alike(most, nothing, nothing, Figure(unsaid=why))
    features = np.concatenate([x.features, y.features])
    names, owner = np.unique([*(f"0{s}" for s in x.subjects), *(f"1{s}" for s in y.subjects)], return_inverse=True)
    species = np.array([name.startswith("0") for name in names])
    swaps = list(_species_relabellings(species, permutations, np.random.default_rng([seed, 2])))
    deviations = features - np.stack([features[owner == subject].mean(axis=0) for subject in owner])
    whole = _likeness(_centred(features), owner, species, seed)
    return Alike(
        most,
        whole,
        _within(deviations, float(np.ptp(features)), owner, species, swaps, seed),
        _a_distance(features, owner, species, swaps, seed, progress),
    )


def transfer(source: Group, target: Group, rule: Rule, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Figure:
    """ROC-AUC on the target's clips of a rule learnt from the source's alone.

    `prototype`: nearest class mean, score |x - m0|^2 - |x - m1|^2. `linear`: features standardised by the source,
    logistic regression with C = 1, its logit (a probability would saturate into ties). Both scores are linear in x,
    so a shift of the whole target changes no rank: no statistic of the target is needed, and none is used.

    The interval resamples the target's subjects, the rule being held fixed; p is two-sided, against labels permuted
    within each target subject.
    """
    source, target = source.in_order, target.in_order
    why = _cannot_transfer(source, target)
    if why:
        return Figure(unsaid=why)
    assert target.labels is not None
    scores = _SCORES[rule](source, target.features)
    if np.ptp(scores) <= NO_VARIATION * np.abs(scores).max():
        return Figure(unsaid=f"the rule learnt from {source.name} scores every clip of {target.name} alike")
    labels, subjects = target.labels, np.asarray(target.subjects, dtype=str)
    value = _aucs(scores, labels[None])[0]
    interval = patient_interval("roc_auc", scores, labels.astype(np.float64), target.subjects, seed=seed)
    assert interval is not None
    figure = Figure(value=value, low=interval.low, high=interval.high, resampled=interval.source)
    shuffles = _label_relabellings(labels, subjects, permutations, np.random.default_rng([seed, 4]))
    if not len(shuffles):
        reason = f"no subject of {target.name} has clips of both classes, so there is nothing to permute within one"
        return replace(figure, unsaid=f"p: {reason}")
    null = _aucs(scores, shuffles)
    centre = np.append(null, value).mean()  # the same whichever of them is the observed one
    beyond = int((np.abs(null - centre) >= abs(value - centre) - TIE).sum())
    counts = [(labels[subjects == name] == 1).mean() for name in np.unique(subjects)]
    mirrored = all(share in (0, 0.5, 1) for share in counts)
    ways = _ways(labels, subjects)
    return replace(figure, **_against(null, beyond, (2 if mirrored else 1) / ways))


def _too_little(x: Group, y: Group) -> str | None:
    for group in (x, y):
        if not len(group.clips):
            return f"there is no clip of {group.name}"
        if group.count < 2:
            return f"{group.name} has 1 subject, 2 are needed to tell subjects from species"
    return None


def _flat(x: Group, y: Group) -> str | None:
    return next(
        (f"the features of {g.name} are the same for every clip" for g in (x, y) if not _varies(g.features)), None
    )


def _clips_each(group: Group) -> NDArray[np.intp]:
    return np.unique(np.asarray(group.subjects, dtype=str), return_counts=True)[1]


def _capped(group: Group, most: int, seed: Sequence[int]) -> Group:
    """At most `most` clips of each subject, drawn at random."""
    random, subjects = np.random.default_rng(seed), np.asarray(group.subjects, dtype=str)
    rows = [random.permutation(np.flatnonzero(subjects == name))[:most] for name in np.unique(subjects)]
    return group.take(np.sort(np.concatenate(rows)))


def _varies(features: FloatArray) -> bool:
    return len(features) > 1 and bool(np.ptp(features, axis=0).max() > NO_VARIATION * np.abs(features).max())


def _centred(features: FloatArray) -> FloatArray:
    return features - features.mean(axis=0)


def _cka(xy: FloatArray, xx: FloatArray, yy: FloatArray) -> float | None:
    scale = np.linalg.norm(xx) * np.linalg.norm(yy)
    return min(1.0, float(np.linalg.norm(xy) ** 2 / scale)) if scale > 0 else None


def _cka_of(gram: FloatArray, x: Indices, y: Indices) -> float:
    """CKA of two sets of rows, from the products of all rows; 0 where a set does not vary."""

    def block(rows: Indices, columns: Indices) -> FloatArray:
        part = gram[np.ix_(rows, columns)]
        return part - part.mean(axis=0) - part.mean(axis=1, keepdims=True) + part.mean()

    return _cka(block(x, y), block(x, x), block(y, y)) or 0.0


def _within(
    deviations: FloatArray, scale: float, owner: Indices, species: Flags, swaps: Sequence[Flags], seed: int
) -> Likeness:
    """CKA of deviations from subject means, with its null.

    Means of species and subjects are gone before anything is permuted, so subjects are exchangeable wherever their
    bodies, rooms and cameras lie. To centre by species first and permute then would not do: residuals of one
    species depend on each other (docs/consistency.md tells how often such a test errs).
    """
    side = species[owner]
    for who, of in (("rodent", side), ("human", ~side)):
        if np.abs(deviations[of]).max() <= NO_VARIATION * scale:
            return Likeness.cannot_be_said(f"no {who} subject has two clips that differ")
    gram = deviations @ deviations.T
    null = np.array([_species_cka(gram, owner, swap) for swap in swaps])
    found = _likeness(deviations, owner, species, seed)
    assert found.cka.value is not None
    below = int((null <= found.cka.value + TIE).sum())
    return replace(found, cka=replace(found.cka, **_against(null, below, _smallest_of_swaps(species))))


def _likeness(features: FloatArray, owner: Indices, species: Flags, seed: int) -> Likeness:
    gram = features @ features.T
    halves = _halves(gram, owner, species, np.random.default_rng([seed, 3]))
    side = species[owner]
    return Likeness(Figure(value=_species_cka(gram, owner, species)), *halves, _floor(features[side], features[~side]))


def _species_cka(gram: FloatArray, owner: Indices, species: Flags) -> float:
    side = species[owner]
    return _cka_of(gram, np.flatnonzero(side), np.flatnonzero(~side))


def _halves(
    gram: FloatArray, owner: Indices, species: Flags, random: np.random.Generator
) -> tuple[Figure, Figure, Figure]:
    """Mean CKA of equal random halves within each species, and between the species' halves, corrected by these two.

    A half has fewer subjects than its whole, so `between` is taken from the same halves: all three are then biased by
    the same factors, which cancel in the ratio.
    """
    sides = np.flatnonzero(species), np.flatnonzero(~species)
    ceilings: list[Figure] = []
    within, between = np.zeros((2, HALVES)), np.zeros(HALVES)
    for split in range(HALVES):
        pairs = [_half_rows(owner, subjects, random) for subjects in sides]
        within[:, split] = [_cka_of(gram, *pair) for pair in pairs]
        between[split] = np.mean([_cka_of(gram, a, b) for a, b in product(*pairs)])
    for who, subjects, values in zip(("rodents", "humans"), sides, within, strict=True):
        few = f"two halves need {MIN_SUBJECTS_FOR_HALVES} {who}, there are {len(subjects)}"
        enough = len(subjects) >= MIN_SUBJECTS_FOR_HALVES
        ceilings.append(Figure(value=float(values.mean())) if enough else Figure(unsaid=few))
    missing = [figure.unsaid for figure in ceilings if figure.unsaid]
    scale = float(np.sqrt(within.mean(axis=1).prod()))
    if not missing and scale <= TIE:
        missing = ["the halves of one species share no direction"]
    corrected = Figure(unsaid="; ".join(missing)) if missing else Figure(value=float(between.mean()) / scale)
    return ceilings[0], ceilings[1], corrected


def _half_rows(owner: Indices, subjects: Indices, random: np.random.Generator) -> tuple[Indices, Indices]:
    """Clips of two halves of the subjects, of equally many subjects each."""
    drawn, half = random.permutation(subjects), len(subjects) // 2
    return np.flatnonzero(np.isin(owner, drawn[:half])), np.flatnonzero(np.isin(owner, drawn[half : 2 * half]))


def _floor(x: FloatArray, y: FloatArray) -> Figure:
    """E CKA(Cx, Q Cy Q') over random rotations Q: tr Cx tr Cy / (D |Cx| |Cy|)."""
    shares = []
    for features in (x, y):
        gram = _centred(features) @ _centred(features).T
        shares.append(np.trace(gram) / np.linalg.norm(gram))
    return Figure(value=float(shares[0] * shares[1] / x.shape[1]))


def _a_distance(
    features: FloatArray,
    owner: Indices,
    species: Flags,
    swaps: Sequence[Flags],
    seed: int,
    progress: Callable[[int], None],
) -> Figure:
    """2 (1 - 2 error), clipped to [0, 2] (Ben-David et al. 2007); p and ties are those of the error itself."""
    turn = np.random.default_rng([seed, 5]).permutation(len(species))
    observed, null = _domain_error(features, owner, species, turn), np.zeros(len(swaps))
    for done, swap in enumerate(swaps):
        null[done] = _domain_error(features, owner, swap, turn)
        progress(done + 1)
    below = int((null <= observed + TIE).sum())
    return Figure(value=float(_distance(observed)), **_against(_distance(null), below, _smallest_of_swaps(species)))


def _distance(error: FloatArray | float) -> FloatArray:
    return np.clip(2 * (1 - 2 * np.asarray(error)), 0, 2)


def _domain_error(features: FloatArray, owner: Indices, species: Flags, turn: Indices) -> float:
    """Balanced error of telling the species apart on subjects that the classifier has not seen.

    Subjects are dealt to folds species by species in the order of `turn`, which was drawn without regard to species.
    """
    folds = min(FOLDS, int(species.sum()), int((~species).sum()))
    fold = np.zeros(len(species), dtype=np.intp)
    for kind in (True, False):
        of_kind = turn[species[turn] == kind]
        fold[of_kind] = np.arange(len(of_kind)) % folds
    truth, wrong = species[owner], np.zeros(len(owner))
    for held_out in range(folds):
        test = fold[owner] == held_out
        logits = _logits(features[~test], truth[~test], features[test], "balanced")
        wrong[test] = np.where(logits == 0, 0.5, (logits > 0) != truth[test])
    return float((wrong[truth].mean() + wrong[~truth].mean()) / 2)


def _logits(features: FloatArray, labels: Flags, asked: FloatArray, class_weight: str | None = None) -> FloatArray:
    """Logits of `asked` (M, D) from a logistic regression with C = 1 on `features`, all standardised by `features`.

    Without the pipeline of scikit-learn, whose checks took longer than the fit and are done 5,000 times.
    """
    mean, sd = features.mean(axis=0), features.std(axis=0)
    sd = np.where(sd > 10 * np.finfo(np.float64).eps * np.abs(mean), sd, 1.0)
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight=class_weight)
    return np.asarray(model.fit((features - mean) / sd, labels).decision_function((asked - mean) / sd))


def _species_relabellings(species: Flags, most: int, random: np.random.Generator) -> Iterator[Flags]:
    """Other assignments of the species to the subjects: all of them if they are at most `most`, else so many draws."""
    size, count = len(species), int(species.sum())
    if comb(size, count) - 1 > most:
        yield from (random.permutation(species) for _ in range(most))
        return
    for chosen in combinations(range(size), count):
        flags = np.zeros(size, dtype=np.bool_)
        flags[list(chosen)] = True
        if not np.array_equal(flags, species):
            yield flags


def _smallest_of_swaps(species: Flags) -> float:
    """Of equally many subjects a side, each split comes twice: once as it is and once with the sides exchanged."""
    size, count = len(species), int(species.sum())
    return (2 if 2 * count == size else 1) / comb(size, count)


def _cannot_transfer(source: Group, target: Group) -> str | None:
    for group in (source, target):
        labels = [] if group.labels is None else group.labels.tolist()
        for label, what in ((1, "positive"), (0, "negative")):
            if label not in labels:
                return f"there is no {what} clip in {group.name}"
        if group.count < 2:
            return f"{group.name} has 1 subject, 2 are needed"
    return _flat(source, target)


def _prototype_scores(source: Group, features: FloatArray) -> FloatArray:
    """|x - m0|^2 - |x - m1|^2, written so that nothing large cancels."""
    negative, positive = (source.features[source.labels == label].mean(axis=0) for label in (0, 1))
    return np.asarray(2 * (features - (negative + positive) / 2) @ (positive - negative))


def _linear_scores(source: Group, features: FloatArray) -> FloatArray:
    return _logits(source.features, np.asarray(source.labels) == 1, features)


_SCORES: dict[Rule, Callable[[Group, FloatArray], FloatArray]] = {
    "prototype": _prototype_scores,
    "linear": _linear_scores,
}


def _aucs(scores: FloatArray, labels: NDArray[np.int64]) -> FloatArray:
    """ROC-AUC (Mann-Whitney, ties half) of the clips' scores under many labellings (B, N)."""
    positives = labels.sum(axis=1)
    wins = labels @ rankdata(scores) - positives * (positives + 1) / 2
    return np.asarray(wins / (positives * (labels.shape[1] - positives)))


def _ways(labels: NDArray[np.int64], subjects: NDArray[np.str_]) -> int:
    """Distinct labellings with as many positives in each subject."""
    return prod(comb(int((subjects == s).sum()), int(labels[subjects == s].sum())) for s in np.unique(subjects))


def _label_relabellings(
    labels: NDArray[np.int64], subjects: NDArray[np.str_], most: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Other labellings, permuted within each subject, (m, N): all if they are at most `most`, else so many draws."""
    rows_of = [np.flatnonzero(subjects == name) for name in np.unique(subjects)]
    if _ways(labels, subjects) - 1 > most:
        drawn = np.tile(labels, (most, 1))
        for rows in rows_of:
            drawn[:, rows] = random.permuted(drawn[:, rows], axis=1)
        return drawn
    found = []
    for choice in islice(product(*(combinations(rows, int(labels[rows].sum())) for rows in rows_of)), most + 1):
        other = np.zeros_like(labels)
        other[[row for chosen in choice for row in chosen]] = 1
        if not np.array_equal(other, labels):
            found.append(other)
    return np.array(found, dtype=np.int64).reshape(-1, len(labels))


def _against(null: FloatArray, beyond: int, smallest: float) -> dict[str, Any]:
    """p = (1 + b) / (1 + m), the null's central 95%, and the smallest p that could have come out."""
    low, high = np.quantile(null, (0.025, 0.975))
    return {
        "null_low": float(low),
        "null_high": float(high),
        "p": (1 + beyond) / (1 + len(null)),
        "smallest_p": max(1 / (1 + len(null)), smallest),
        "relabellings": len(null),
    }
