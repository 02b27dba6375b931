"""What a run's records say of a method, as parts of its card; whatever the records do not say is null.

Settings that name a file keep the file's name alone: nobody outside needs to know where things lie in a house.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from math import fsum
from pathlib import PureWindowsPath
from typing import Any

from pydantic import ValidationError

from benchmark.run.units import Record, RunCard, WorkUnit
from benchmark.submission.card import Compute, Data, Environment, Method, Pretraining, Track
from tasks.errors import BadInput

PLACE = re.compile(r".*[/\\].*\.\w{1,12}|~?[/\\].*|[A-Za-z]:[/\\].*", re.DOTALL)
LONGEST = 200
LONGEST_WINDOW_S = 10.0  # no network's parameters depend on it


def track_of(card: RunCard, data_name: str | None) -> Track:
    """Task, protocol, seed and data of a run. `data_name`: what the data set is called outside the house."""
    data = card.data
    return Track(
        task=card.task,
        protocol=card.protocol,
        seed=card.seed,
        split=card.split,
        data=Data(
            name=data_name or data.name,
            rendered=data.rendered,
            manifest=data.manifest,
            pool=data.pool,
            patients=data.patients,
            positives=data.positives,
            negatives=data.negatives,
        ),
    )


def method_of(records: Sequence[Record]) -> Method:
    """What was run; records: those of one row, which share settings and published weights."""
    unit, said = records[-1].unit, records[-1].card
    return Method(
        name=_named(unit),
        baseline=unit.baseline,
        settings={key: _outside(value) for key, value in unit.settings.items()},
        size=unit.size,
        init=unit.init,
        pool=said.get("pool", "-"),
        parameters=parameters_of(unit),
        weights=None if unit.weights == "-" else unit.weights,
    )


def parameters_of(unit: WorkUnit) -> int | None:
    """Parameters of the network as it is built, a decoder of a first stage included; None for a method without one.

    Counted on a network without memory, so that the published size costs nothing.
    """
    if unit.size == "-":
        return None
    import torch

    from benchmark import registry
    from benchmark.baseline import Chooses, Loads, Scale

    try:
        adapter = registry.load(unit.baseline)
        adapter = adapter.chosen(unit.settings) if isinstance(adapter, Chooses) else adapter
        baseline = adapter(
            adapter.Settings(**unit.settings),
            Scale("tiny" if unit.size == "tiny" else "base", "random", LONGEST_WINDOW_S),
        )
        if not isinstance(baseline, Loads):
            return None
        with torch.device("meta"):
            return sum(one.numel() for one in baseline.build(None, 0).parameters())
    except (BadInput, ImportError, ValidationError):  # the adapter is not here any more, or its settings have changed
        return None


def trained_on(card: RunCard, shots: Sequence[int]) -> str:
    """What a method was given to learn from, in words."""
    numbers = " or ".join(", ".join(map(str, shots)).rsplit(", ", 1))
    protocol = card.protocol
    clips = f"in every episode its support alone: {numbers} clips a class"
    if protocol.disjoint == "clip":
        return f"{clips}, of patients who may also be in its query"
    donors = min(protocol.donors or 1, max(shots))
    return f"{clips}, of {donors} patient{'s' * (donors > 1)} at most, none of them in its query"


def pretraining_of(records: Sequence[Record], card: RunCard) -> tuple[Pretraining, ...]:
    """Published weights and a stage 1, in this order."""
    unit, said = records[-1].unit, records[-1].card
    stages = []
    if unit.weights != "-":
        stages.append(Pretraining(what=f"published weights ({unit.init})", weights=unit.weights, test_patients=0))
    if _had_stage1(records):
        given = unit.stage1 != "-"
        mix, epochs = _outside(unit.settings.get("mix")), unit.settings.get("stage1_epochs")
        words = ["stage 1", *([f"on the mix {mix}"] if mix else []), *([f"{epochs} epochs"] if epochs else [])]
        stages.append(
            Pretraining(
                what=", ".join(words),
                weights=unit.stage1 if given else _sha256(said.get("start_sha256")),
                rendered=said.get("stage1_video") == "rendered" if given else card.data.rendered,
                # Before records counted them, a stage 1 that shared a patient with the task was always refused.
                test_patients=max(record.checks.get("pretrained_patients", 0) for record in records),
            )
        )
    return tuple(stages)


def compute_of(records: Sequence[Record]) -> Compute:
    """What all units of a row cost."""
    return Compute(
        device=_joined(_device(record) for record in records),
        units=len(records),
        fit_s=round(fsum(record.seconds.get("fit", 0.0) for record in records), 3),
        predict_s=round(fsum(record.seconds.get("predict", 0.0) for record in records), 3),
    )


def environment_of(records: Sequence[Record]) -> Environment:
    """What ran the units; where they differ, all of it, joined by "+"."""
    stamps = [record.provenance for record in records]

    def said(key: str) -> str:
        return _joined(str(stamp.get(key) or "unknown") for stamp in stamps)

    packages = sorted({name for stamp in stamps for name in stamp.get("versions", {})})
    dirty = [stamp.get("dirty") for stamp in stamps]
    return Environment(
        commit=said("commit"),
        dirty=True if True in dirty else None if None in dirty else False,
        python=said("python"),
        machine=said("machine"),
        device=_joined(_device(record) for record in records),
        threads=max(int(stamp.get("threads", 0)) for stamp in stamps),
        decoder=said("decoder"),
        versions={
            name: _joined(str(stamp.get("versions", {}).get(name, "absent")) for stamp in stamps) for name in packages
        },
    )


def _sha256(text: str | None) -> str | None:
    return text if text and re.fullmatch("[0-9a-f]{64}", text) else None


def _had_stage1(records: Sequence[Record]) -> bool:
    unit = records[-1].unit
    counted = any("pretrained_patients" in record.checks for record in records)
    early = "stage1_epochs" in unit.settings and unit.settings.get("mix") != "base"  # records that did not count yet
    return counted or unit.stage1 != "-" or early


def _device(record: Record) -> str:
    device, name = (str(record.provenance.get(key) or "unknown") for key in ("device", "device_name"))
    return device if device == name else f"{device} ({name})"


def _named(unit: WorkUnit) -> str:
    changed = {key: _outside(value) for key, value in unit.changed.items()}
    name = WorkUnit.model_validate({**unit.model_dump(), "changed": changed}).method
    short = name[: LONGEST - 20]
    return name if len(name) <= LONGEST else f"{short}… {hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _outside(value: Any) -> Any:
    """A setting as it may leave the house, in a form that a card can hold."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return (PureWindowsPath(value).name or "-") if PLACE.fullmatch(value) else value or "-"
    if isinstance(value, dict):
        return json.dumps({key: _outside(one) for key, one in value.items()}, sort_keys=True)
    return tuple(_outside(one) for one in value)


def _joined(values: Iterable[str]) -> str:
    found = sorted(set(values))
    text = " + ".join(found)
    return text if len(text) <= LONGEST else f"{len(found)} different, the first: {found[0]}"[:LONGEST]
