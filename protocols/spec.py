"""A ProtocolSpec says how clips become episodes. The shipped ones are the YAML files in `protocols/specs/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.spec import SpecName, parse_spec, read_yaml, spec_path

SPECS = Path(__file__).parent / "specs"

Split = Literal["evaluate", "develop"]  # develop: patients to choose settings on, never part of a result


class ProtocolSpec(BaseModel):
    """What support and query share, and how many episodes a shot has.

    `patient`: the support comes from `donors` patients, none of whom is in the query. `clip`: support and query
    share no clip, and may share patients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: SpecName
    description: str
    disjoint: Literal["patient", "clip"]
    episodes: int = Field(ge=1, le=10_000, description="episodes a shot")
    donors: int | None = Field(default=None, ge=1, description="patients whose clips make the support")
    negatives_per_positive: float | None = Field(
        default=1, gt=0, description="thin the negatives to this ratio before drawing; null keeps all"
    )

    @model_validator(mode="after")
    def _donors_belong_to_patient_disjointness(self) -> Self:
        if (self.disjoint == "patient") != (self.donors is not None):
            raise ValueError("donors must be given with `disjoint: patient`, and only there")
        return self


def load_protocol(name: str, **changes: Any) -> ProtocolSpec:
    """Read a shipped protocol by name, or one's own by a path ending in .yaml, with single fields replaced.

    Raises:
        BadInput: no such protocol, or a field is wrong.
    """
    content = {**read_yaml(spec_path(name, SPECS, "protocol")), **changes}
    return parse_spec(ProtocolSpec, content, f"protocol {name}")
