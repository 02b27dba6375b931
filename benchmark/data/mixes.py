"""A mix says which clips stage 1 trains on. The paper's six are in `mixes.yaml`; a YAML file of one's own works too.

    load_mix("+R(Y/N)")         its parts: 2,952 rodent seizure and 3,000 rodent normal clips (arXiv 2603.12887)
    draw(mix, windows, seed)    that many of the windows at hand, or as available, evenly over subjects

A file of one's own holds one mix: `name`, `description` and `parts`, each part as in `mixes.yaml`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.errors import BadInput
from tasks.spec import parse_spec, read_yaml

MIX_NAME = r"^[A-Za-z0-9+][\w.+()/-]{0,59}$"
MIXES = Path(__file__).with_name("mixes.yaml")

Window = dict[Any, Any]  # a row: clip_id, subject_id, species, seizure, ...


class Part(BaseModel):
    """Up to `count` clips of one kind. `rodent` is every species that is not human."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    species: Literal["human", "rodent"]
    seizure: bool
    count: int = Field(ge=1, le=10_000_000)

    def holds(self, window: Window) -> bool:
        """Whether a window is of this kind."""
        return (window["species"] == "human") == (self.species == "human") and window["seizure"] == self.seizure


class Mix(BaseModel):
    """Parts of different kinds, put together as they are; without any there is no stage 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=MIX_NAME)
    description: str
    parts: tuple[Part, ...]

    @model_validator(mode="after")
    def _each_kind_has_one_part(self) -> Self:
        kinds = Counter((part.species, part.seizure) for part in self.parts)
        for (species, seizure), times in kinds.items():
            if times > 1:
                raise ValueError(f"{times} parts are {_kind(species, seizure)} clips; make them one part")
        return self


@dataclass(frozen=True)
class PartCount:
    """How many clips of a part were asked for, drawn, and then found unreadable."""

    species: str
    seizure: bool
    asked: int
    drawn: int
    unreadable: int = 0

    @property
    def used(self) -> int:
        """Drawn and readable."""
        return self.drawn - self.unreadable

    def in_words(self) -> str:
        """For a card: "60 of 2,952 rodent seizure clips"."""
        lost = f" ({self.unreadable:,} unreadable)" if self.unreadable else ""
        return f"{self.used:,} of {self.asked:,} {_kind(self.species, self.seizure)} clips{lost}"


@dataclass(frozen=True)
class Draw:
    """What a mix took of the windows at hand: rows in order of clip_id, and the counts of its parts."""

    mix: str
    windows: tuple[Window, ...]
    counts: tuple[PartCount, ...]


@cache
def _shipped() -> dict[str, Any]:
    return read_yaml(MIXES)


def mix_names() -> tuple[str, ...]:
    """The shipped mixes, in the paper's order."""
    return tuple(_shipped())


def load_mix(name: str) -> Mix:
    """Read a shipped mix by name, or one's own by a path ending in .yaml.

    Raises:
        BadInput: no such mix, or a field is wrong.
    """
    if name in mix_names():
        return parse_spec(Mix, {"name": name, **_shipped()[name]}, f"mix {name}")
    if not (name.endswith((".yaml", ".yml")) and Path(name).is_file()):
        near = difflib.get_close_matches(name, mix_names(), n=1)
        choice = f"choose one of {', '.join(mix_names())}, or name a .yaml file"
        raise BadInput(f"unknown mix {name!r}: {f'did you mean {near[0]}?' if near else choice}")
    mix = parse_spec(Mix, read_yaml(Path(name)), f"mix {name}")
    if mix.name in mix_names():
        raise BadInput(f"mix {name}: name {mix.name!r} is a shipped mix's; give yours another")
    return mix


def draw(mix: Mix, windows: Sequence[Window], seed: int) -> Draw:
    """Up to `count` windows of each part, in equal shares as far as each subject's supply goes.

    Depends on names and seed alone, not on the order of the rows. A smaller count draws a subset of a larger one, and
    a part draws the same windows in every mix, so that mixes differ by nothing but their parts.
    """
    chosen: list[Window] = []
    counts = []
    for part in mix.parts:
        taken = _in_turn([window for window in windows if part.holds(window)], seed)[: part.count]
        counts.append(PartCount(part.species, part.seizure, part.count, len(taken)))
        chosen += taken
    return Draw(mix.name, tuple(sorted(chosen, key=lambda window: str(window["clip_id"]))), tuple(counts))


def _in_turn(windows: Sequence[Window], seed: int) -> list[Window]:
    """One window of each subject, then a second one of each that has it, and so on; within a turn by lot."""
    by_lot = sorted(windows, key=lambda window: _lot(seed, window["clip_id"]))
    taken: Counter[str] = Counter()
    turns = []
    for place, window in enumerate(by_lot):
        turns.append((taken[window["subject_id"]], place))
        taken[window["subject_id"]] += 1
    return [by_lot[place] for _, place in sorted(turns)]


def _lot(*key: object) -> bytes:
    return hashlib.sha256(json.dumps(["stage 1", *key]).encode()).digest()


def _kind(species: str, seizure: bool) -> str:
    return f"{species} {'seizure' if seizure else 'normal'}"
