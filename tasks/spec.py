"""A TaskSpec says what is asked of a method: which windows of a recording, and what makes one positive.

The shipped specs are the YAML files in `tasks/specs/`; a path to a file of one's own works in the same places.

    window          SPH        SOP
    |---------|............|----------|      positive: an onset lies in (end + SPH, end + SPH + SOP]
    start    end
"""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.errors import BadInput

SPECS = Path(__file__).parent / "specs"

Spec = TypeVar("Spec", bound=BaseModel)
_SHORT = reprlib.Repr()  # a few lines of YAML with aliases can stand for terabytes
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 1, 3, 3, 60
SpecName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]{0,59}$", description="also part of a run folder's name")]


class TaskSpec(BaseModel):
    """Times are in seconds. Terms as in seizure prediction: SPH (gap before the warning counts), SOP (horizon)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: SpecName
    description: str
    kind: Literal["forecast", "detect"]
    window_s: float = Field(ge=3, le=10)
    stride_s: float = Field(ge=0.1, le=10, description="step of the grid on which candidate windows start")
    sph_s: float = Field(ge=0)
    sop_s: float = Field(gt=0)
    min_gap_s: float = Field(ge=0, description="a negative keeps at least this far from any seizure, both sides")
    postictal_s: float = Field(ge=0, description="time after a seizure that no forecasting window may touch")
    onset_type: Literal["clinical", "eeg"]
    species: str

    @model_validator(mode="after")
    def _negatives_must_lie_outside_the_horizon(self) -> Self:
        reach = self.sph_s + self.sop_s + self.window_s
        if self.kind == "forecast" and self.min_gap_s < reach:
            raise ValueError(
                f"min_gap_s is {self.min_gap_s:g} but a positive window reaches back {reach:g} s before its onset "
                f"(window + SPH + SOP): set min_gap_s to at least {reach:g}"
            )
        return self


def load_task(name: str, **changes: Any) -> TaskSpec:
    """Read a shipped task by name, or one's own by a path ending in .yaml, with single fields replaced.

    Raises:
        BadInput: no such task, or a field is wrong.
    """
    path = spec_path(name, SPECS, "task")
    return parse_spec(TaskSpec, {**read_yaml(path), **changes}, f"task {name}")


def spec_path(name: str, folder: Path, noun: str) -> Path:
    """Where a spec lives: `name` is a shipped one's name or a path ending in .yaml."""
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    if name in known:
        return folder / f"{name}.yaml"
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}, or name a .yaml file"
    raise BadInput(f"unknown {noun} {name!r}: {hint}")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds one mapping."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = " ".join(str(error).split())
        raise BadInput(f"{path}: cannot be read as YAML ({what}); write it as the shipped specs are") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BadInput(f"{path}: holds no mapping of field names to values; write it as the shipped specs are")
    return content


def parse_yaml(text: str) -> Any:
    """Plain values only, nothing executed. Raises ValueError for whatever is not YAML of that kind."""
    try:
        return yaml.safe_load(text)
    except Exception as error:  # beside YAMLError: KeyError of `!!bool x`, AttributeError of `!!timestamp x`, ...
        raise ValueError(str(error) if isinstance(error, yaml.YAMLError) else type(error).__name__) from error


def parse_spec(model: type[Spec], content: dict[str, Any], where: str) -> Spec:
    """Validate `content`, turning pydantic's first complaint into one sentence."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"{where}: {first_complaint(error, list(model.model_fields))}") from error


def first_complaint(error: ValidationError, known: list[str]) -> str:
    """The first fault of a ValidationError in words, with the nearest known field for a misspelt one."""
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, known, n=1)
        return f"unknown field {field!r}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}")
    if fault["type"] == "missing":
        return f"field {field!r} is missing; add it"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{field}: {message} (given: {_SHORT.repr(fault['input'])})" if field else message
