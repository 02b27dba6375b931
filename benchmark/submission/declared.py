"""Does a card hold together, with what is shipped here and with the data that are known here?

A Reference knows its data: whatever card names their manifest, their pool or their clips tells the same of them, on any
track, so that nobody passes rendered video off as a hospital's. A shipped spec's name stands for that spec.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from benchmark.submission.card import Card, Data, Results, Track
from benchmark.submission.documents import shown
from benchmark.submission.reference import Reference
from benchmark.submission.text import skeleton
from protocols.spec import SPECS as PROTOCOLS
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import SPECS as TASKS
from tasks.spec import load_task

CHANGEABLE = {"task": ("window_s", "onset_type"), "protocol": ("episodes",)}  # by options of `run`
OF_A_POOL = ("rendered", "patients", "positives", "negatives")


def check_card(path: Path, card: Card) -> None:
    """Refuse weights of nowhere, and specs of ours that were changed.

    path: of submission.yaml, for sentences.

    Raises:
        BadInput: the sentence names the field.
    """
    _check_weights(path, card)
    _check_spec(f"{path}: track.task", card.track.task, _shipped("task"), CHANGEABLE["task"])
    _check_spec(f"{path}: track.protocol", card.track.protocol, _shipped("protocol"), CHANGEABLE["protocol"])


def check_counts(path: Path, results: Results, data: Data) -> None:
    """Refuse figures of more patients or clips than the card's data have. path: of results.json, for sentences."""
    for scores in (*results.per_shot, results.averaged):
        for name, told, most in (
            ("patients", scores.patients, data.patients),
            ("positive_clips", scores.positive_clips, data.positives),
            ("negative_clips", scores.negative_clips, data.negatives),
        ):
            if told is not None and told > most:
                where = f"{path}: shots {', '.join(map(str, scores.shots))}"
                raise BadInput(f"{where}: {name} is {told}, track.data has {most}; submit the run again")


def check_clips(path: Path, clips: Collection[str], data: Data, known: Iterable[Reference]) -> None:
    """Refuse more clips than the card's data have, and clips of data that the card does not name.

    path: of the predictions, for sentences; clips: distinct tokens; known: References, none of the card's own track.
    """
    most = data.positives + data.negatives
    if len(clips) > most:
        raise BadInput(f"{path}: has predictions of {len(clips)} clips, track.data has {most}; submit the run again")
    owners = [one.track.data for one in known if 2 * sum(clip in one.label_of for clip in clips) >= len(clips)]
    if owners and (data.rendered, data.manifest) not in {(one.rendered, one.manifest) for one in owners}:
        raise BadInput(
            f"{path}: its clips are those of the data set {shown(owners[0].name)!r} (rendered {owners[0].rendered}, "
            f"manifest {owners[0].manifest}), yet track.data says rendered {data.rendered}, manifest {data.manifest}; "
            "submit a run on the data that the card names"
        )


def check_known_data(path: Path, track: Track, known: Iterable[Track]) -> None:
    """Refuse a card that describes data otherwise than a Reference does, whatever its track.

    path: of submission.yaml, for sentences; known: tracks of References of open data.

    Raises:
        BadInput: the sentence names the field and both values.
    """
    data, tracks = track.data, list(known)
    namesakes = [other.data for other in tracks if skeleton(other.data.name) == skeleton(data.name)]
    if namesakes and data.manifest not in {other.manifest for other in namesakes}:
        raise BadInput(
            f"{path}: track.data.manifest is {data.manifest}, yet the data set {shown(data.name)!r} has "
            f"{namesakes[0].manifest}; submit a run on these data, or name the data set otherwise"
        )
    for other in tracks:
        if data.manifest == other.data.manifest:
            alike = on(track, other.data).digest == other.digest
            fields = ("rendered", "pool", *OF_A_POOL[1:], "name") if alike else ("rendered", "name")
            _check_fields(path, data, other, fields)
        if data.pool == other.data.pool:
            _check_fields(path, data, other, OF_A_POOL)


def on(track: Track, data: Data) -> Track:
    """The same question asked of other data; made anew, since a copy would keep the digest."""
    return Track(task=track.task, protocol=track.protocol, seed=track.seed, split=track.split, data=data)


def _check_fields(path: Path, data: Data, other: Track, fields: Iterable[str]) -> None:
    for field in fields:
        ours, theirs = getattr(data, field), getattr(other.data, field)
        if ours != theirs:
            if field == "name":
                ours, theirs = shown(ours), shown(theirs)
            raise BadInput(
                f"{path}: track.data.{field} is {ours}, that of the reference {other.name} is {theirs}; "
                "submit a run on these data, described as they are"
            )


def _check_weights(path: Path, card: Card) -> None:
    method = card.method
    if method.init in ("random", "-"):
        if method.size == "tiny" and method.init != "random":
            raise BadInput(f"{path}: method.size is tiny, whose method.init can only be random; write random")
        return
    if method.size == "tiny":
        raise BadInput(
            f"{path}: method.init is {shown(method.init)!r}, yet method.size is tiny, for which nothing is published; "
            "write random"
        )
    # A run on a given stage 1 loads that and no published file; its row is named by the stage's hash.
    given = any(stage.weights and f"stage1={stage.weights[:8]}" in method.name for stage in card.pretraining)
    if method.weights is None and not given:
        raise BadInput(
            f"{path}: method.init is {shown(method.init)!r}, yet method.weights is null: published weights need their "
            "sha256; write it there"
        )


def _check_spec(where: str, spec: BaseModel, shipped: Mapping[str, BaseModel], changeable: Collection[str]) -> None:
    said = spec.model_dump()
    ours = shipped.get(skeleton(said["name"]))
    if ours is None:
        return
    for field, value in ours.model_dump().items():
        if field not in (*changeable, "description") and said[field] != value:
            raise BadInput(
                f"{where}.{field} is {shown(str(said[field]))}, that of the shipped {ours.model_dump()['name']} is "
                f"{value}; give it a name of its own"
            )


@lru_cache(maxsize=2)
def _shipped(noun: str) -> dict[str, BaseModel]:
    specs: list[BaseModel]
    if noun == "task":
        specs = [load_task(path.stem) for path in sorted(TASKS.glob("*.yaml"))]
    else:
        specs = [load_protocol(path.stem) for path in sorted(PROTOCOLS.glob("*.yaml"))]
    return {skeleton(spec.model_dump()["name"]): spec for spec in specs}
