"""Checkpoints of a first stage: in the cache, or given by name; each says on whom it was trained.

    find_or_train   for `run`: a folder in the cache, named by all that its weights follow from
    train_into      one training into one folder, its card written last: a folder with a card is finished
    read_given      for `run --stage1 DIR`: a finished folder whose weights are those that its card was written for

A card's declaration is what keeps pre-training patients out of the test (`TaskData.pretrained_patients`).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import Field, ValidationError

from benchmark.baseline import Context, Init, Pretrains, Scale, Site, Size
from benchmark.data.dataset import PretrainClips
from benchmark.data.manifest import Manifest
from benchmark.data.mixes import MIX_NAME, PartCount
from benchmark.data.stage1 import Declaration, Unreadable
from benchmark.files import sha256_of, write_atomically
from benchmark.run.units import SCHEMA, Frozen, digest_of
from tasks.errors import BadInput
from tasks.spec import first_complaint

CARD, WEIGHTS = "stage1.json", "model.safetensors"
# Names of licences, not words: a hospital's "mit Einwilligung" (with consent) is none.
OPEN_LICENCE = re.compile(
    r"(cc0\b|cc[- ]by\b|public domain\b|apache-\d|mit( licen[cs]e)?$|bsd-\d|l?gpl-\d)", re.IGNORECASE
)
REQUEST = {"key": "code or libraries", "frames": "clips", "initial_weights": "initial weights"}  # for a sentence
AGAIN = "name a folder that `seizure-bench pretrain` finished"


class Stage1Card(Frozen):
    """What a checkpoint is, and on whom it was trained."""

    schema_version: int = SCHEMA
    settings: dict[str, Any] = Field(description="the method's settings that stage 1 follows from")
    size: Size
    init: Init
    initial_weights: str = Field(description="sha256 of the published file it started from, `-` for random weights")
    seed: int
    rendered: bool = Field(description="True if any of its video is synthetic")
    counts: tuple[PartCount, ...] = Field(description="of each part of the mix: clips asked for, drawn, unreadable")
    clips: tuple[str, ...]
    unreadable: tuple[Unreadable, ...] = Field(description="clips left out, and why")
    declaration: Declaration
    training: dict[str, Any]
    provenance: dict[str, Any]
    weights: str = Field(description="sha256 of model.safetensors")


@dataclass(frozen=True)
class Given:
    """A finished checkpoint that the user named."""

    folder: Path
    card: Stage1Card


@dataclass(frozen=True)
class Origin:
    """What a training starts from: the method's scale, and the sha256 of the published file (`-` for none)."""

    scale: Scale
    initial_weights: str


def find_or_train(
    baseline: Pretrains,
    origin: Origin,
    clips: PretrainClips,
    manifest: Manifest,
    context: Context,
    stamp: dict[str, Any],
) -> Path:
    """The checkpoint in the cache, trained now if it is not there. A second process that wants the same one waits."""
    folder = folder_in_cache(baseline, origin, clips, context)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / CARD).is_file():
            site = Site(folder, shown=showable(manifest, clips))
            train_into(site, baseline, origin, clips, manifest, context, stamp)
    return folder


def folder_in_cache(baseline: Pretrains, origin: Origin, clips: PretrainClips, context: Context) -> Path:
    """Where the cache keeps the checkpoint: the same name below every cache."""
    facts = {
        **asked(baseline, origin, clips, context.seed),
        "device": context.device.split(":")[0],
        "threads": context.threads,
    }
    return context.cache / "stage1" / digest_of(facts)[:24]


def asked(baseline: Pretrains, origin: Origin, clips: PretrainClips, seed: int) -> dict[str, Any]:
    """What was asked for, whatever computes it."""
    return {
        "key": baseline.stage1_key,
        "settings": dict(baseline.stage1_settings),
        "size": origin.scale.size,
        "init": origin.scale.init,
        "initial_weights": origin.initial_weights,
        "frames": hashlib.sha256("".join(clips.frame_keys).encode()).hexdigest(),
        "seed": seed,
    }


def train_into(
    site: Site,
    baseline: Pretrains,
    origin: Origin,
    clips: PretrainClips,
    manifest: Manifest,
    context: Context,
    stamp: dict[str, Any],
    writes: bool = True,
) -> None:
    """Train, and write the card at the end, if this process is the one that `writes`."""
    training = baseline.pretrain(clips, context, site)
    if not writes:
        return
    card = Stage1Card(
        settings=dict(baseline.stage1_settings),
        size=origin.scale.size,
        init=origin.scale.init,
        initial_weights=origin.initial_weights,
        seed=context.seed,
        rendered=bool((manifest.recordings["deid_method"] == "rendered").any()),
        counts=clips.counts,
        clips=clips.ids,
        unreadable=clips.unreadable,
        declaration=clips.declaration,
        training=training,
        provenance=stamp,
        weights=sha256_of(site.folder / WEIGHTS),
    )
    write_atomically(site.folder / CARD, card.model_dump_json(indent=1) + "\n")
    if site.keep == 0:
        shutil.rmtree(site.folder / "checkpoints", ignore_errors=True)


def read_card(folder: Path) -> Stage1Card:
    """A checkpoint's card.

    Raises:
        BadInput: there is none, or it is no card of this version.
    """
    path = folder / CARD
    try:
        return Stage1Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"--stage1 {folder}: holds no finished stage 1 ({CARD} cannot be read); {AGAIN}") from error
    except ValidationError as error:
        raise BadInput(f"{path}: not a card of this version ({error.errors()[0]['msg']}); {AGAIN}") from error


def read_given(folder: Path) -> Given:
    """A checkpoint to run with.

    Raises:
        BadInput: it is not finished, or its weights are not those that its card was written for.
    """
    card = read_card(folder)
    try:
        found = sha256_of(folder / WEIGHTS)
    except OSError as error:
        raise BadInput(f"{folder / WEIGHTS}: cannot be read ({error.strerror}); {AGAIN}") from error
    if found != card.weights:
        raise BadInput(
            f"{folder / WEIGHTS}: not the weights that {CARD} beside it speaks of (sha256 {found[:12]}, there "
            f"{card.weights[:12]}), so nobody knows on whom they were trained; {AGAIN}"
        )
    return Given(folder, card)


def adopt(baseline: Pretrains, chosen: Mapping[str, Any], given: Given) -> Any:
    """A method's settings with those of the checkpoint in their place, so that rows say what it was made by.

    Args:
        baseline: the method. Of a card's settings only its own `stage1_settings` are taken.
        chosen: those that the user set; they may not contradict the checkpoint.
        given: the checkpoint.

    Raises:
        BadInput: one of them does, or a value in the card is none that the method can have.
    """
    settings = baseline.settings
    made = {key: value for key, value in given.card.settings.items() if key in baseline.stage1_settings}
    try:  # a mix may be one's own, named by its file
        type(settings).model_validate({**settings.model_dump(), **made, "mix": baseline.mix})
    except ValidationError as error:
        complaint = first_complaint(error, list(type(settings).model_fields))
        raise BadInput(f"{given.folder / CARD}: settings: {complaint}; {AGAIN}") from error
    if not re.fullmatch(MIX_NAME, str(made.get("mix"))):
        raise BadInput(f"{given.folder / CARD}: settings: mix is no name of a mix; {AGAIN}")
    for key, value in made.items():
        if key in chosen and getattr(settings, key) != value:
            raise BadInput(
                f"--set {key}={getattr(settings, key)}: the checkpoint {given.folder} was trained with {value}; leave "
                "one of them out"
            )
    return settings.model_copy(update=made)


def showable(manifest: Manifest, clips: PretrainClips) -> tuple[int, ...]:
    """Places of the clips that may become pictures: rendered, or of video under an open licence."""
    table = manifest.recordings.set_index("recording_id")
    shown = []
    for place, clip in enumerate(clips.ids):
        row = table.loc[clip.rpartition("@")[0]]
        if row["deid_method"] == "rendered" or OPEN_LICENCE.match(str(row["licence"])):
            shown.append(place)
    return tuple(shown)


def same_request(folder: Path, request: Mapping[str, Any]) -> None:
    """Claim a folder for a training, or check that it is this one's.

    Raises:
        BadInput: the folder holds something else.
    """
    path, text = folder / "request.json", json.dumps(request, indent=1, sort_keys=True) + "\n"
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadInput(f"{path}: cannot be read as JSON; choose another --out") from error
        if there != json.loads(text):
            different = [REQUEST.get(key, key) for key in sorted(request) if there.get(key) != json.loads(text)[key]]
            raise BadInput(
                f"--out {folder}: holds another training (other {' and '.join(different) or 'request'}); choose "
                "another --out"
            )
        return
    write_atomically(path, text)


def refuse_foreign(folder: Path) -> None:
    """Raise BadInput for a folder that holds anything but a stage 1."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out {folder}: is a file; choose another --out")
    if folder.is_dir() and not (folder / "request.json").is_file():
        strangers = sorted(p.name for p in folder.iterdir() if p.name != ".lock" and not p.name.endswith(".tmp"))
        if strangers:
            raise BadInput(
                f"--out {folder}: is neither empty nor a stage 1 ({strangers[0]} is there); choose another --out"
            )
