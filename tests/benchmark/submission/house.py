"""A finished run of a house: `write_house_run(path)`. Ids are such that they cannot be in a file by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.data.dataset import pool_digest
from benchmark.run.records import RunFolder
from benchmark.run.units import DataCard, Predictions, Record, RunCard, WorkUnit
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.spec import load_task

STAMP = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "python": "3.11.7",
    "machine": "Linux x86_64",
    "versions": {"numpy": "2.0.0", "torch": "absent"},
    "device": "cpu",
    "device_name": "x86_64",
    "threads": 1,
    "seed": 0,
    "decoder": "pyav",
}


def house_clips(patients: int, with_positives: int) -> pd.DataFrame:
    """Four clips a patient: two of each class, or four negatives for those beyond `with_positives`."""
    rows = [
        (f"ward7-anna{p}_night@{c}5.000-{c}8.000", f"anna{p}-born-1990", int(c % 2 and p < with_positives))
        for p in range(patients)
        for c in range(4)
    ]
    return pd.DataFrame(rows, columns=["clip_id", "subject_id", "label"])


def write_house_run(
    path: Path,
    methods: tuple[str, ...] = ("good", "poor"),
    *,
    patients: int = 8,
    with_positives: int | None = None,
    shots: tuple[int, ...] = (2,),
    replicates: int = 1,
    rendered: bool = False,
    lost: tuple[tuple[str, int, int], ...] = (),
    failed: tuple[tuple[str, int, int], ...] = (),
    unit: dict[str, Any] | None = None,
    odd_unit: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A run folder. `lost`, `failed`: (method, shots, episode). `unit`: fields of every unit, `odd_unit` of the first
    episode's; `card`: of what every record says of its method; `changes`: of the run's card."""
    clips = house_clips(patients, patients if with_positives is None else with_positives)
    data = DataCard(
        name="ward 7",
        rendered=rendered,
        manifest="ab" * 32,
        pool=pool_digest(clips),
        patients=patients,
        positives=int(clips["label"].sum()),
        negatives=int((clips["label"] == 0).sum()),
        left_out={},
    )
    protocol = load_protocol("patient_disjoint", episodes=4)
    run = RunCard(task=load_task("forecast_5s"), protocol=protocol, seed=0, data=data, **changes)
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.claim(run, clips)
    episodes = [episode for number in shots for episode in draw_episodes(clips, protocol, number, 0)]
    folder.save_episodes(episodes)
    label = dict(zip(clips["clip_id"], clips["label"], strict=True))
    for method in methods:
        for episode in episodes:
            place = (method, episode.shots, episode.index)
            if place in lost:
                continue
            fields = {"baseline": method, "changed": {}, "settings": {"k": 3}, "code": "c0" * 32, "size": "-"}
            fields |= {"init": "-", **(unit or {}), **((odd_unit or {}) if episode.index == 0 else {})}
            asked = WorkUnit(
                **fields,
                run=run.digest,
                shots=episode.shots,
                episode=episode.index,
                episode_digest=episode.digest,
            )
            random = np.random.default_rng([episode.index, episode.shots, ord(method[0])])
            strength = 1.0 if method == "good" else 0.2
            raw = random.normal(size=(replicates, len(episode.query)))
            raw += strength * (np.array([label[clip] for clip in episode.query]) - 0.5)
            made = Predictions(clip_ids=episode.query, scores=tuple(map(tuple, (1 / (1 + np.exp(-raw))).tolist())))
            rest = {"checks": {}, "card": card or {}, "seconds": {"fit": 0.5, "predict": 0.25}, "provenance": STAMP}
            if place in failed:
                rest |= {"status": "failed", "error": "it broke", "predictions": None}
            folder.write(Record(**{"unit": asked, "status": "done", "predictions": made, **rest}))
    return path
