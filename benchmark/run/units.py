"""Frozen values: what a run is asked to do, and what came out of each piece of it.

RunCard    one a run folder: task, protocol, seed, data. Two runs with equal cards may share a folder.
WorkUnit   one method on one episode, trained once
Record     a unit, its predictions or its error, and everything that could have changed a number
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocols.spec import ProtocolSpec, Split
from tasks.spec import TaskSpec

SCHEMA = 1


class Frozen(BaseModel):
    """Immutable, strict about names, and free of NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataCard(Frozen):
    """Which clips a run is about. `left_out` counts windows by the rule that left them out."""

    name: str
    rendered: bool = Field(description="True for synthetic video: no number says anything about patients")
    manifest: str = Field(description="sha256 of the manifest's content")
    pool: str = Field(description="sha256 of the clips, their patients and labels")
    patients: int
    positives: int
    negatives: int
    left_out: dict[str, int]


class RunCard(Frozen):
    """What all units of a run folder share."""

    schema_version: int = SCHEMA
    task: TaskSpec
    protocol: ProtocolSpec
    seed: int
    data: DataCard
    split: Split = "evaluate"
    permuted_labels: bool = Field(default=False, description="True for a control: dealt anew in every episode")

    @property
    def digest(self) -> str:
        """Hex sha256 of the whole card. What is as it always was is no part of it: old runs stay readable."""
        absent = set() if self.permuted_labels else {"permuted_labels"}
        return digest_of(self.model_dump(mode="json", exclude=absent))


class WorkUnit(Frozen):
    """One method, trained once on one episode. `size` and `init` are `-` for a method without weights."""

    baseline: str
    changed: dict[str, Any] = Field(description="the settings that differ from the adapter's defaults")
    settings: dict[str, Any] = Field(description="all settings in force")
    code: str = Field(description="sha256 of the adapter's own source (benchmark.run.code)")
    size: str
    init: str
    weights: str = Field(default="-", description="sha256 of the published file it starts from, `-` for none")
    stage1: str = Field(default="-", description="sha256 of the weights of the stage 1 given by name, `-` for none")
    run: str = Field(description="digest of the run's card")
    shots: int
    episode: int
    episode_digest: str
    train_seed: int = Field(default=0, ge=0, description="which of the trainings on this episode, from 0")

    @cached_property
    def method(self) -> str:
        """The name of the row: the baseline, the settings that were changed, and a given checkpoint of stage 1."""
        parts = [f"{key}={value}" for key, value in sorted(self.changed.items())]
        inner = ", ".join([*parts, *([f"stage1={self.stage1[:8]}"] if self.stage1 != "-" else [])])
        return f"{self.baseline}({inner})" if inner else self.baseline

    @cached_property
    def key(self) -> str:
        """File name of the unit's record: one for each place in the table.

        Code, defaults and the bytes of published weights are no part of it: what they change replaces the old record
        instead of standing beside it.
        """
        absent = ({"stage1"} if self.stage1 == "-" else set()) | (set() if self.train_seed else {"train_seed"})
        place = self.model_dump(mode="json", exclude={"code", "settings", "weights"} | absent)
        seed = f"-s{self.train_seed:02d}" if self.train_seed else ""
        return f"{self.baseline}-{self.shots}shot-e{self.episode:03d}{seed}-{digest_of(place)[:16]}"


class SavedEpisode(Frozen):
    """An Episode with its digest, as it stands in a run folder."""

    protocol: str
    shots: int
    index: int
    support: tuple[str, ...]
    query: tuple[str, ...]
    dealt_positives: tuple[str, ...] | None = None
    digest: str


class Predictions(Frozen):
    """`scores[r][i]` is P(onset within the horizon) of `clip_ids[i]` under replicate r."""

    clip_ids: tuple[str, ...]
    scores: Annotated[tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_score_a_clip(self) -> Self:
        if len(set(self.clip_ids)) < len(self.clip_ids):
            raise ValueError("a clip is predicted twice")
        if any(len(scores) != len(self.clip_ids) for scores in self.scores):
            raise ValueError("the number of scores is not the number of clips")
        return self


class Record(Frozen):
    """What became of one work unit."""

    schema_version: int = SCHEMA
    unit: WorkUnit
    status: Literal["done", "failed"]
    error: str | None = None
    trace: str | None = Field(default=None, description="where in the code the error arose")
    predictions: Predictions | None = None
    checks: dict[str, int] = Field(
        description="counted at run time: clips and patients that support and query share, test patients in stage 1"
    )
    card: dict[str, str] = Field(description="what the method says of itself: pooling, sha256 of its weights")
    seconds: dict[str, float] = Field(description="wall time of fit and predict")
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _done_means_predicted(self) -> Self:
        if (self.status == "done") != (self.predictions is not None):
            raise ValueError("status and predictions contradict each other")
        return self


def digest_of(content: Any) -> str:
    """Hex sha256 of anything JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
