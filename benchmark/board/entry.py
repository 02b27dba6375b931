"""What the board knows of one row, however it came by it: `Entry`. Tables and page are made of these alone.

submissions/ -> verified -> (re-scored) -> [Entry, ...] -> tracks -> Markdown, CSV, JSON, LaTeX, page
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmark.score.metrics import Metric
from benchmark.submission.card import Card, Environment, ReportedCard, Status

Against = Literal["above", "below", "alike"]


@dataclass(frozen=True)
class Figure:
    """One figure of a row. `value` None: undefined, not measured, or suppressed."""

    value: float | None
    low: float | None = None
    high: float | None = None
    mark: str = ""  # behind the interval: ~ not validated, † degenerate, * over clips; explained under the table
    suppressed: bool = False  # fewer than 5 patients


@dataclass(frozen=True)
class Bin:
    """A point of a reliability plot: mean score, share of positives with its Wilson interval."""

    clips: int
    score: float
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Plots:
    """What the page draws of a re-scored row, averaged over shots' clip scores; no patient is named.

    `roc`: (false positive rate, true positive rate); `pr`: (recall, precision), both from left to right.
    `patients`: one ROC-AUC a patient (None: clips of one class), lowest first.
    """

    roc: tuple[tuple[float, float], ...]
    pr: tuple[tuple[float, float], ...]
    reliability: tuple[Bin, ...]
    patients: tuple[float | None, ...]


@dataclass(frozen=True)
class Entry:
    """One row: a method on a track. Texts are as the submitter wrote them: escape them wherever they go."""

    submission: str  # the folder's name, [a-z0-9-]
    method: str
    baseline: str
    init: str  # random-init, k400, k400-ssl, none; "not stated" for reported rows
    pool: str
    size: str
    status: Status
    track: str  # digest; rows of one track stand in one table
    per_shot: Mapping[int, Mapping[Metric, Figure]]
    averaged: Mapping[Metric, Figure] | None  # over the board's shots; None where a shot is missing
    worst_patient: float | None  # lowest ROC-AUC within a patient
    pretraining: str  # declared: "none", or what, with marks
    cost_s: float | None  # seconds a unit
    device: str
    rendered: bool
    random_init: bool
    warnings: tuple[str, ...]  # what must be read with the row: short, such as "PRE-TRAINED ON 2 TEST PATIENTS"
    kind: str  # "method", "trivial" (chance, probes, simple cues), "ablation" (reported)
    card: Card | ReportedCard
    environment: Environment | None = None
    plots: Plots | None = None
    date: str | None = None  # it joined the board, as maintainers wrote down; a submission bears none


@dataclass(frozen=True)
class Ranked:
    """An entry in its track: `rank` is 1 + the number of methods told apart above it; None: not ranked.

    `tied`: rows that have this rank, this one among them. `chance`: above, below or alike the rows of chance, as far
    as the test tells; None: this row is chance, or there is none to hold it against.
    """

    entry: Entry
    rank: int | None
    tied: int = 0
    chance: Against | None = None


@dataclass(frozen=True)
class TrackBoard:
    """One table: the rows of one track, best first, chance and trivial cues among them."""

    digest: str
    name: str  # for headings and file names, unique on the board, [a-z0-9-]
    title: str
    task: str
    protocol: str
    data: str
    onset_type: str
    rendered: bool
    reported_only: bool  # a publication's own table: never ranked
    patients: int | None
    positives: int | None
    negatives: int | None
    shots: tuple[int, ...]  # shown one by one
    rows: tuple[Ranked, ...]
    joined: tuple[tuple[str, ...], ...] = field(default=())  # groups of submissions not told apart (ROC-AUC)
    notes: tuple[str, ...] = field(default=())
    quoted: str = ""  # a publication's free note: theirs, so it is shown as a quotation


@dataclass(frozen=True)
class Board:
    """Everything that is shown, in its order. Made of `submissions/` alone: the same bytes for the same folders."""

    tracks: tuple[TrackBoard, ...]
