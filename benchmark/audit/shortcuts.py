"""Can the label be told from a cue that has nothing to do with the patient's seizure?

    nine cues a clip -> a small linear model, patients left out in turn -> ROC-AUC -> permutation p -> Holm -> Finding

`shortcut_report(data, cache, progress, permutations, seed)` gives the whole table (`cues`), what must be looked at
(`findings`, all soft) and what cannot be said with so few patients (`unsaid`); `shortcut_findings` the findings alone.
A cue is a finding when its Holm-adjusted p is below 0.05 and its ROC-AUC at least MATTERS.

**Model.** Ridge regression on the standardised numbers and one-hot categories of one cue. Its weights are linear in the
labels, so one solved system a fold serves every permutation: 999 permutations of nine cues take seconds, where
logistic regressions would have to be fitted 100,000 times; perfect separation, collinear or constant columns and a
fold with one class need no special case. It sees a cue that grows or falls with the label, or categories, not one
that is extreme on both sides.

**ROC-AUC, patients left out.** A left-out positive patient lowers the share of positives that is left, and so every
prediction for that patient: pooled over folds this alone pushes the ROC-AUC below 0.5 (Airola et al. 2011,
*Computational Statistics and Data Analysis* 55, section 3). So the score of a clip is how far its cue moves the
prediction *from* the share of positives in its fold: the intercept is left off. A cue value that no other patient has
moves nothing, and its clips tie. What bias remains (a ROC-AUC a little below 0.5 where there is nothing) meets every
permutation alike: p compares with the cue's own null, never with 0.5.

**Permutations.** `benchmark.audit.arrangements`: patients, recordings and clips exchange labels as they are clustered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmark.audit.arrangements import Arrangements, Labels, arrangements
from benchmark.audit.cues import CueTable, cue_tables
from benchmark.audit.findings import FaultName, Finding
from benchmark.data.dataset import TaskData
from benchmark.progress import Progress
from benchmark.score.multiple import holm
from benchmark.words import counted
from tasks.errors import BadInput

LEVEL = 0.05
MATTERS = 0.6  # ROC-AUC; a weaker cue explains no method that is worth reporting
_RIDGE = 0.1  # of the number of training clips
_MOST_FOLDS = 20
_BLOCK = 4_000_000  # clips x arrangements held at once
_DIGITS = 9  # scores nearer than this tie: sums in another order differ in the last bit

REMEDIES: dict[FaultName, tuple[str, str]] = {
    "label-from-duration": (
        "the length of recording or window",
        "cut both classes to one length, or from one recording",
    ),
    "label-from-rate": ("the frame rate", "export both classes at one rate, or take them from the same recordings"),
    "label-from-size": ("the size of the picture", "export both classes at one size, or from the same recordings"),
    "label-from-codec": ("how the file is encoded", "export both classes with one program and setting"),
    "label-from-brightness": ("brightness or contrast", "take both classes from the same recordings and light"),
    "label-from-camera": ("site or camera", "take both classes from each camera, or leave out cameras with one class"),
    "label-from-room": ("the still background", "take both classes from each room, or leave out rooms with one class"),
    "label-from-time-of-day": ("daylight or infrared", "take both classes by day and by night alike"),
    "label-from-position": ("the position in the recording", "take negatives from as early and late as positives"),
}


@dataclass(frozen=True)
class CueResult:
    """What one cue tells: cross-validated ROC-AUC, one-sided permutation p, p adjusted over all cues, and how."""

    name: FaultName
    roc_auc: float
    p: float
    holm_p: float
    direction: str


@dataclass(frozen=True)
class ShortcutReport:
    """Every cue, the findings among them, and in words what this data cannot show. No cues where none can be tested."""

    clips: int
    patients: int
    cues: tuple[CueResult, ...]
    findings: tuple[Finding, ...]
    unsaid: tuple[str, ...]


def shortcut_findings(data: TaskData, cache: Path, progress: Progress, permutations: int, seed: int) -> list[Finding]:
    """The findings of `shortcut_report`."""
    return list(shortcut_report(data, cache, progress, permutations, seed).findings)


def shortcut_report(data: TaskData, cache: Path, progress: Progress, permutations: int, seed: int) -> ShortcutReport:
    """Whether the labels of `data.pool` can be told from any of the nine cues.

    Args:
        data: the task's clips.
        cache: folder for what was seen of the videos.
        progress: for the person who waits.
        permutations: how many; 999 gives a smallest p of 0.001, which Holm over nine cues makes 0.009.
        seed: of permutations.

    Raises:
        BadInput: a video is missing, has changed or cannot be read, or the permutations are too few to show anything.
    """
    least = int(np.ceil(len(REMEDIES) / LEVEL))
    if permutations < least:
        raise BadInput(
            f"--permutations {permutations}: the smallest p of {len(REMEDIES)} cues would not fall below {LEVEL:g} "
            f"after Holm's correction; ask for at least {least}"
        )
    tables = cue_tables(data, cache, progress)
    pool = data.pool.set_index("clip_id").loc[tables[0].numbers.index]
    labels, patients, recordings = (pool[name].to_numpy() for name in ("label", "subject_id", "recording_id"))
    with progress.track("testing cues", len(tables)) as advance:
        return judge(tables, labels == 1, patients.astype(str), recordings.astype(str), permutations, seed, advance)


def judge(
    tables: Sequence[CueTable],
    labels: Labels,
    patients: NDArray[np.str_],
    recordings: NDArray[np.str_],
    permutations: int,
    seed: int,
    advance: Callable[[int], None] = lambda done: None,
) -> ShortcutReport:
    """As `shortcut_report`, of tables. Their rows, `labels`, `patients` and `recordings` (n,) are the same clips.

    The order of rows is the caller's: sort them by clip for a result that does not depend on it. `advance` is told how
    many cues are done.
    """
    count = len(np.unique(patients))
    reason = _untestable(labels, count)
    if reason:
        return ShortcutReport(len(labels), count, (), (), (reason,))
    ways = arrangements(labels, patients, recordings, permutations, seed)
    fold = _folds(patients, seed)
    figures = []
    for done, table in enumerate(tables, 1):
        figures.append(predictability(design_matrix(table, patients), labels, fold, ways))
        advance(done)
    adjusted = holm([p for _, p in figures])
    cues = tuple(
        CueResult(table.name, auc, p, holm_p or 0.0, direction(table, labels))
        for table, (auc, p), holm_p in zip(tables, figures, adjusted, strict=True)
    )
    found = tuple(_finding(cue, len(labels), count) for cue in cues if cue.holm_p < LEVEL and cue.roc_auc >= MATTERS)
    _, best = predictability(labels[:, None].astype(np.float64), labels, fold, ways)
    return ShortcutReport(len(labels), count, cues, found, _unsaid(cues, best, len(labels), count))


def predictability(
    values: NDArray[np.float64], labels: Labels, fold: NDArray[np.int64], ways: Arrangements
) -> tuple[float, float]:
    """Cross-validated ROC-AUC of labels (n,) from values (n, columns), and its one-sided permutation p.

    `fold` (n,) are numbers of folds; clips of a patient share one.
    """
    observed = _aucs(_scores(values, labels[:, None], fold), labels[:, None])
    rows = max(1, _BLOCK // len(labels))
    null = [
        _surprise(_aucs(_scores(values, some.T, fold), some.T), some.T)
        for some in np.split(ways.labels, range(rows, len(ways.labels), rows))
    ]
    return float(observed[0]), ways.p_value(float(_surprise(observed, labels[:, None])[0]), np.concatenate(null))


def _surprise(aucs: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """ROC-AUCs (A,) above 0.5 in standard errors of Mann and Whitney's.

    Where patients of unequal counts exchange labels the number of positives varies, and a ROC-AUC of two positives is
    often large. With equal counts the order of arrangements, hence p, is that of the ROC-AUC itself.
    """
    positive = labels.sum(axis=0)
    return np.asarray((aucs - 0.5) * np.sqrt(12 * positive * (len(labels) - positive) / (len(labels) + 1)))


def design_matrix(table: CueTable, patients: NDArray[np.str_]) -> NDArray[np.float64]:
    """Standardised columns (n, columns): the numbers, and one for each category that at least two patients have.

    What a single patient has cannot help with another one. Constant columns are left out. The scale is that of all
    clips: it knows no labels.
    """
    columns = [table.numbers[name].to_numpy(dtype=np.float64) for name in table.numbers]
    for name in table.categories:
        values = table.categories[name].to_numpy(dtype=str)
        columns += [
            (values == level).astype(np.float64)
            for level in np.unique(values)
            if len(np.unique(patients[values == level])) > 1
        ]
    kept = [column for column in columns if np.ptp(column) > 1e-9 * max(1.0, float(np.abs(column).max()))]
    if not kept:
        return np.zeros((len(patients), 0))
    stacked = np.stack(kept, axis=1)
    return np.asarray((stacked - stacked.mean(axis=0)) / stacked.std(axis=0))


def direction(table: CueTable, labels: Labels) -> str:
    """In words, how the cue differs between the classes: its most telling category and its most telling number."""
    shares: list[tuple[float, float, str]] = []
    for name in table.categories:
        values = table.categories[name].to_numpy(dtype=str)
        for level in np.unique(values):
            here = values == level
            gap = float(here[labels].mean() - here[~labels].mean())
            counts = f"{labels[here].sum()} of {here.sum()} clips are positive"
            others = f"{labels[~here].sum()} of {(~here).sum()}"
            shares.append((abs(gap), gap, f"{name} {level}: {counts}, of the others {others}"))
    widest, _, words = max(shares, default=(0.0, 0.0, ""))
    said = [words] if widest > 0 else []
    if len(table.numbers.columns):
        ranks = rankdata(table.numbers.to_numpy(), axis=0)
        telling = np.abs(_aucs(ranks, np.repeat(labels[:, None], ranks.shape[1], axis=1)) - 0.5)
        if telling.max() > 0:
            name = table.numbers.columns[int(telling.argmax())]
            positive, negative = (_spread(table.numbers[name][mask]) for mask in (labels, ~labels))
            said.append(f"{name}: {positive} in positive clips, {negative} in negative ones")
    return "; ".join(said) or "no difference between the classes"


def _spread(values: pd.Series[float]) -> str:
    low, middle, high = (f"{value:.4g}" for value in (values.min(), values.median(), values.max()))
    return middle if low == high else f"{middle} ({low} to {high})"


def _folds(patients: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """A number for each clip: one fold a patient, or _MOST_FOLDS groups of patients."""
    names, which = np.unique(patients, return_inverse=True)
    fold = np.random.default_rng([seed, 1]).permutation(len(names)) % _MOST_FOLDS
    return np.asarray(fold[which], dtype=np.int64)


def _scores(values: NDArray[np.float64], labels: Labels, fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores (n, A) of clips for each labelling (n, A): how far the cue moves the prediction (see the module)."""
    scores = np.zeros(labels.shape)
    for left_out in np.unique(fold):
        test = fold == left_out
        train = values[~test]
        centre = train.mean(axis=0)
        centred = train - centre
        penalty = _RIDGE * len(train) * np.eye(values.shape[1])
        weights = np.linalg.solve(centred.T @ centred + penalty, centred.T @ labels[~test].astype(np.float64))
        scores[test] = (values[test] - centre) @ weights
    return scores.round(_DIGITS)


def _aucs(scores: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """ROC-AUC of each column (n, A), ties half (Mann and Whitney 1947); 0.5 where a column has one class."""
    positive = labels.sum(axis=0)
    pairs = positive * (len(labels) - positive)
    wins = (rankdata(scores, axis=0) * labels).sum(axis=0) - positive * (positive + 1) / 2
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)


def _untestable(labels: Labels, patients: int) -> str | None:
    if labels.all() or not labels.any():
        return "shortcuts are not tested: the clips are all of one class"
    if patients < 2:
        return "shortcuts are not tested: there is one patient, and none can be left out"
    return None


def _finding(cue: CueResult, clips: int, patients: int) -> Finding:
    what, remedy = REMEDIES[cue.name]
    figures = (
        f"ROC-AUC {cue.roc_auc:.2f} with patients left out in turn, permutation p {cue.p:.2g} "
        f"({cue.holm_p:.2g} after Holm over all cues); {clips} clips of {counted(patients, 'patient')}"
    )
    return Finding(cue.name, "soft", f"{what} tells the label; {remedy}", (figures, *cue.direction.split("; ")))


def _unsaid(cues: Sequence[CueResult], best_p: float, clips: int, patients: int) -> tuple[str, ...]:
    """What must be told where even a cue that equals the label could not be shown."""
    if best_p * len(cues) < LEVEL:
        return ()
    first = (
        f"{clips} clips of {counted(patients, 'patient')} are too few to show a shortcut: even a cue equal to the "
        f"label would get p {best_p:.2g}, {min(1.0, best_p * len(cues)):.2g} after Holm over {len(cues)} cues; "
        "look yourself"
    )
    strong = sorted((cue for cue in cues if cue.roc_auc >= MATTERS), key=lambda cue: -cue.roc_auc)
    return (first, *(f"{c.name}, untested: ROC-AUC {c.roc_auc:.2f}; {c.direction}" for c in strong))
