"""What a submission holds, as models: they read the files, and `submissions/schema.json` is made of them.

A submission is a folder under `submissions/`; one method on one track.

submission.yaml     Card: who, what, how trained, on which track; hashes of the other files
results.json        Results: the figures that the submitter claims, aggregates only; small cells suppressed
episodes.csv        shots, episode, digest, clips, query: which episodes, as hashes
predictions.csv.gz  shots, episode, replicate, clip, score: clips as keyed hashes; absent from a results card
environment.json    Environment: versions and machine
reported.yaml       Reported: instead of all but submission.yaml, what a paper printed

No labels, frames, paths or dates; no id of a patient, a recording or a clip but as a keyed hash.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.score.metrics import Metric
from benchmark.score.uncertainty import Interval
from benchmark.submission.text import Line, Link, Paragraph, Sha256
from protocols.spec import ProtocolSpec, Split
from tasks.spec import TaskSpec

SCHEMA: Literal[1] = 1
BOARD_SHOTS = (2, 3, 4)  # the paper's; the board averages and ranks over these
SMALLEST_CELL = 5  # patients: a figure of fewer is not released

Status = Literal["reported", "re-scored", "reproduced"]
Content = Literal["predictions", "results", "reported"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Setting = bool | int | float | Line | None


class Frozen(BaseModel):
    """Immutable, strict about names, and free of NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Method(Frozen):
    """What was run. `size`, `init` and `pool` are `-` for a method without weights."""

    name: Line = Field(description="of the row: the baseline and the settings that were changed")
    baseline: Line = Field(description="registered name of the adapter, or the submitter's own")
    settings: dict[Line, Setting | tuple[Setting, ...]] = Field(default={}, max_length=50, description="all in force")
    size: Line = "-"
    init: Line = Field(default="-", description="random, k400, k400-ssl, ...")
    pool: Line = "-"
    parameters: Count | None = Field(default=None, description="of the network as built; null without one")
    weights: Sha256 | None = Field(default=None, description="of the published file it starts from")


class Pretraining(Frozen):
    """A first stage on other videos than the support's."""

    what: Line = Field(description="the mix, or the data set and its size")
    weights: Sha256 | None = Field(default=None, description="of what came out of it")
    rendered: bool = Field(default=False, description="True where the videos were drawn by a program")
    test_patients: Count = Field(description="patients of the track who were in it: must be 0 unless marked")


class Compute(Frozen):
    """What it cost, summed over all units."""

    device: Line
    units: Count
    fit_s: float = Field(ge=0, le=1e12, description="seconds of wall time")
    predict_s: float = Field(ge=0, le=1e12)


class Data(Frozen):
    """The data set of a track, as a card that tells nothing about anyone in it."""

    name: Line
    rendered: bool = Field(description="True for synthetic video: no number says anything about patients")
    manifest: Sha256
    pool: Sha256 = Field(description="of clips, patients and labels")
    patients: Count
    positives: Count
    negatives: Count


class Track(Frozen):
    """What rows must share to stand in one table: task x protocol x data set x onset type (the task's)."""

    task: TaskSpec
    protocol: ProtocolSpec
    seed: int = Field(ge=0, le=2**63 - 1)
    split: Split = "evaluate"
    data: Data

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of all of it but descriptions and the data's name: the same clips may lie in another folder."""
        unsaid = {"task": {"description"}, "protocol": {"description"}, "data": {"name"}}
        content = self.model_dump(mode="json", exclude=unsaid)
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Short and readable, for headings and file names: not unique, the digest is."""
        return f"{self.data.name}-{self.task.name}-{self.task.onset_type}-{self.protocol.name}"


class Hashes(Frozen):
    """sha256 of the submission's files and of what they were made from."""

    run: Sha256 = Field(description="of the run's card")
    episodes: Sha256 = Field(description="of episodes.csv")
    results: Sha256 = Field(description="of results.json")
    predictions: Sha256 | None = Field(default=None, description="of the unpacked predictions.csv; null without them")
    code: tuple[Sha256, ...] = Field(max_length=100, description="of the adapter's own source, each state that ran")


class Card(Frozen):
    """submission.yaml of a run's submission."""

    schema_version: Literal[1] = SCHEMA
    content: Literal["predictions", "results"]
    method: Method
    authors: tuple[Line, ...] = Field(min_length=1, max_length=50)
    links: tuple[Link, ...] = Field(default=(), max_length=10)
    licence: Line = Field(description="of the submission's files, as an SPDX name: CC-BY-4.0, MIT")
    remarks: Paragraph | None = None
    trained_on: Line = Field(description="what its weights or rule were fitted on, episode by episode")
    pretraining: tuple[Pretraining, ...] = Field(
        max_length=20, description="every earlier stage; empty: none, declared"
    )
    compute: Compute
    track: Track
    ids: Literal["manifest", "site"] = Field(description="whose key hashed clip ids: the open manifest or a site")
    hashes: Hashes

    @model_validator(mode="after")
    def _predictions_are_there_as_said(self) -> Self:
        if (self.content == "predictions") != (self.hashes.predictions is not None):
            raise ValueError("content and hashes.predictions contradict each other")
        return self


class Environment(Frozen):
    """environment.json: what ran it."""

    commit: Line
    dirty: bool | None
    python: Line
    machine: Line
    device: Line
    threads: Count
    decoder: Line
    versions: dict[Line, Line] = Field(max_length=200)


class ClaimedFigure(Frozen):
    """One figure; value null where undefined or suppressed."""

    value: Share | None
    interval: Interval | None
    suppressed: bool = Field(default=False, description="fewer than 5 patients stand behind it")


class ClaimedScores(Frozen):
    """Figures at one number of shots, or averaged over several."""

    shots: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(min_length=1, max_length=100)
    patients: Count | None = Field(description="with a scored clip; null where suppressed")
    positive_clips: Count | None
    negative_clips: Count | None
    episodes: Count
    missing_predictions: Count
    metrics: dict[Metric, ClaimedFigure]


class Results(Frozen):
    """results.json: what the submitter's own scoring said."""

    schema_version: Literal[1] = SCHEMA
    replicates: Annotated[int, Field(ge=1, le=100, description="scored one by one when labels are at hand")]
    per_shot: tuple[ClaimedScores, ...] = Field(min_length=1, max_length=100)
    averaged: ClaimedScores


class ReportedFigures(Frozen):
    """Figures as printed."""

    balanced_accuracy: Share
    roc_auc: Share
    pr_auc: Share


class ReportedShot(ReportedFigures):
    """Figures at one number of support clips a class."""

    shots: int = Field(ge=1, le=10_000)


class ReportedRow(ReportedFigures):
    """One row of a printed table, averaged over its shots."""

    name: Line
    kind: Literal["method", "ablation"]
    per_shot: tuple[ReportedShot, ...] = Field(default=(), max_length=100)


class ReportedTrack(Frozen):
    """What a publication says of its task and data, in words: never a track of ours."""

    name: Line
    task: Line
    protocol: Line
    data: Line
    onset_type: Line


class ReportedCard(Frozen):
    """submission.yaml of figures that were only printed."""

    schema_version: Literal[1] = SCHEMA
    content: Literal["reported"]
    source: Line = Field(description="the publication")
    authors: tuple[Line, ...] = Field(min_length=1, max_length=50)
    links: tuple[Link, ...] = Field(default=(), max_length=10)
    licence: Line
    track: ReportedTrack
    note: Paragraph = Field(description="how far the figures may be read")
    shots: tuple[int, ...] = Field(min_length=1, max_length=100, description="averages are over these")
    reported: Sha256 = Field(description="of reported.yaml")


class Reported(Frozen):
    """reported.yaml: the publication's rows, in its order."""

    rows: tuple[ReportedRow, ...] = Field(min_length=1, max_length=1000)
