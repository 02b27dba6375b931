"""What published weights there are, where they come from, and where they lie on this machine.

catalogue()          the file `catalogue.yaml`, by name
weights_folder()     --weights, else SEIZURE_BENCH_WEIGHTS, else a folder in the cache
locate(weights)      the file of its tensors, or a sentence with the address and the expected place
digest(weights)      the sha256 of its files, held against what is published

A checkpoint is looked for as a whole: in FOLDER as the catalogue's paths say, and, where it is on the Hugging Face
hub, in FOLDER/<organisation>/<name> and in the hub's own cache (where transformers keeps what it fetched).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from benchmark.files import sha256_of
from benchmark.weights.sound import flaw
from tasks.errors import BadInput
from tasks.spec import read_yaml

WEIGHTS_VARIABLE = "SEIZURE_BENCH_WEIGHTS"
CATALOGUE = Path(__file__).with_name("catalogue.yaml")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeightsFile(_Entry):
    """One file of a checkpoint: its path below the weights folder, and where it is published."""

    path: str
    address: str
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{8,64}$", description="all of it, or its first digits")
    size_bytes: int | None = Field(default=None, gt=0)

    @field_validator("path")
    @classmethod
    def _inside_the_folder(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise ValueError("must be a path below the weights folder")
        return path


class PublishedWeights(_Entry):
    """A published checkpoint, whole: the first file holds the tensors."""

    name: str
    init: str = Field(description="what a row calls weights that were initialised so")
    methods: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default={}, description="the methods' settings that ask for this checkpoint")
    trained_on: str
    licence: str
    source: str
    hub_id: str | None = Field(default=None, pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$")
    files: tuple[WeightsFile, ...] = Field(min_length=1)


@cache
def catalogue() -> Mapping[str, PublishedWeights]:
    """The published weights by name."""
    found = [PublishedWeights(**entry) for entry in read_yaml(CATALOGUE)["weights"]]
    return {weights.name: weights for weights in found}


def named(names: Sequence[str]) -> list[PublishedWeights]:
    """Entries of the catalogue, each once.

    Raises:
        BadInput: no such entry.
    """
    for name in names:
        if name not in catalogue():
            near = difflib.get_close_matches(name, catalogue(), n=1)
            hint = f"did you mean {near[0]}?" if near else "`seizure-bench weights list` shows them all"
            raise BadInput(f"{name}: no such published weights; {hint}")
    return [catalogue()[name] for name in dict.fromkeys(names)]


def weights_folder(asked: Path | None, cache_folder: Path) -> Path:
    """The folder of published weights: the one asked for, else SEIZURE_BENCH_WEIGHTS, else one in the cache.

    Raises:
        BadInput: a folder was named that is not there.
    """
    variable = os.environ.get(WEIGHTS_VARIABLE)
    named = asked or (Path(variable) if variable else None)
    if named is None:
        return cache_folder / "weights"
    if not named.is_dir():
        flag = "--weights" if asked else WEIGHTS_VARIABLE
        raise BadInput(f"{flag} {named}: no such folder; name the one that holds the published checkpoints")
    return named


def any_at_hand(folder: Path) -> bool:
    """Whether some published checkpoint is on this machine, whole."""
    return any(find(weights, folder) for weights in catalogue().values())


def find(weights: PublishedWeights, folder: Path) -> tuple[Path, ...] | None:
    """The checkpoint's files, in the catalogue's order, from the first place that has them all."""
    return next((files for files in _places(weights, folder) if all(file.is_file() for file in files)), None)


def locate(weights: PublishedWeights, folder: Path) -> Path:
    """The file of the tensors, all files of the checkpoint being there.

    Raises:
        BadInput: a file is missing; the sentence gives its address and the expected place.
    """
    return _found(weights, folder)[0]


def digest(weights: PublishedWeights, folder: Path) -> str:
    """Hex sha256 of the file that `locate` finds, each file of the checkpoint being held against what is published.

    Raises:
        BadInput: a file is missing, cut, or not the published one.
    """
    digests = []
    for file, path in zip(weights.files, _found(weights, folder), strict=True):
        sha256 = sha256_of(path)
        wrong = flaw(path, PurePosixPath(file.path).suffix, sha256, file.sha256, file.size_bytes)
        if wrong:
            raise BadInput(
                f"{path}: {wrong}; fetch it again (`seizure-bench weights fetch {weights.name} --weights {folder}`)"
            )
        digests.append(sha256)
    return digests[0]


def _found(weights: PublishedWeights, folder: Path) -> tuple[Path, ...]:
    found = find(weights, folder)
    if found is None:
        file = next(file for file in weights.files if not (folder / file.path).is_file())
        raise BadInput(
            f"{folder / file.path}: missing ({weights.name}: {weights.trained_on}; {weights.licence}); get it by "
            f"`seizure-bench weights fetch {weights.name} --weights {folder}`, or put {file.address} there; or ask "
            "for --init random"
        )
    return found


def _places(weights: PublishedWeights, folder: Path) -> Iterator[tuple[Path, ...]]:
    yield tuple(folder / file.path for file in weights.files)
    if weights.hub_id:
        names = [PurePosixPath(file.path).name for file in weights.files]
        yield tuple(folder / weights.hub_id / name for name in names)
        from huggingface_hub import try_to_load_from_cache

        cached = [try_to_load_from_cache(weights.hub_id, name) for name in names]
        yield tuple(Path(path) if isinstance(path, str) else folder / "not in the hub's cache" for path in cached)
