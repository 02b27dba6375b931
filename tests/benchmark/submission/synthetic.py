"""Valid submissions by the thousand, and the Reference of each track: `write_submissions(root, count=3)`.

12 patients with 4 clips each; every episode leaves 2 of them out, so that 40 clips are asked about; 20 episodes at each
of 2, 3 and 4 shots: 2,400 predictions. Written from the models alone, not by `seizure-bench submit`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel

from benchmark.score.metrics import METRICS
from benchmark.score.summary import Scores
from benchmark.submission.card import (
    SMALLEST_CELL,
    Card,
    ClaimedFigure,
    ClaimedScores,
    Compute,
    Data,
    Environment,
    Hashes,
    Method,
    Results,
    Track,
)
from benchmark.submission.reference import Reference, write_reference
from benchmark.submission.rescore import scored
from protocols.spec import load_protocol
from tasks.spec import load_task

PATIENTS, CLIPS_A_PATIENT, LEFT_OUT = 12, 4, 2
SHOTS, EPISODES = (2, 3, 4), 20


@dataclass(frozen=True)
class Drawn:
    """A track's episodes and labels."""

    reference: Reference
    asked: dict[tuple[int, int], list[str]]


def hashed(text: str, digits: int = 64) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def draw_track(
    number: int = 0,
    *,
    patients: int = PATIENTS,
    with_positives: int = PATIENTS,
    shots: Sequence[int] = SHOTS,
    episodes: int = EPISODES,
) -> Drawn:
    """Labels and episodes of a made-up data set."""
    rows = [
        (hashed(f"clip {number} {p} {c}", 16), hashed(f"patient {number} {p}", 16), int(c % 2 and p < with_positives))
        for p in range(patients)
        for c in range(CLIPS_A_PATIENT)
    ]
    clips = pd.DataFrame(rows, columns=["clip", "patient", "label"]).sort_values("clip", ignore_index=True)
    data = Data(
        name=f"made-up-{number}",
        rendered=True,
        manifest=hashed(f"manifest {number}"),
        pool=hashed(f"pool {number}"),
        patients=patients,
        positives=int(clips["label"].sum()),
        negatives=int((clips["label"] == 0).sum()),
    )
    protocol = load_protocol("patient_disjoint", episodes=episodes)
    track = Track(task=load_task("forecast_5s"), protocol=protocol, seed=0, data=data)
    names = sorted(set(clips["patient"]))
    asked = {}
    for s in shots:
        for e in range(episodes):
            out = {names[(s + LEFT_OUT * e + k) % patients] for k in range(LEFT_OUT)}
            asked[s, e] = clips.loc[~clips["patient"].isin(out), "clip"].tolist()
    table = pd.DataFrame(
        [(s, e, hashed(f"episode {number} {s} {e}"), len(c), hashed("\n".join(c))) for (s, e), c in asked.items()],
        columns=["shots", "episode", "digest", "clips", "query"],
    )
    queries = pd.DataFrame(
        [(s, e, c) for (s, e), own in asked.items() for c in own], columns=["shots", "episode", "clip"]
    )
    return Drawn(Reference(track, clips, table, queries, hashed(f"reference {number}")), asked)


def predictions_of(drawn: Drawn, seed: int, replicates: int = 1) -> pd.DataFrame:
    """Scores of a made-up method, the better the higher its seed."""
    random = np.random.default_rng(seed)
    label_of = drawn.reference.label_of
    rows = [(s, e, r, c) for (s, e), clips in drawn.asked.items() for r in range(replicates) for c in clips]
    table = pd.DataFrame(rows, columns=["shots", "episode", "replicate", "clip"])
    bent = {clip: random.normal() for clip in sorted(label_of)}
    logits = table["clip"].map(lambda c: bent[c] + (label_of[c] - 0.5) * (seed % 10) / 3) + random.normal(
        size=len(rows)
    )
    return table.assign(score=(1 / (1 + np.exp(-logits))).round(6))


def write_submission(folder: Path, drawn: Drawn, seed: int = 0, *, scored_claims: bool = True, **method: Any) -> Path:
    """One submission. Without `scored_claims` its figures are withheld, which is a thousand times as fast."""
    predictions = predictions_of(drawn, seed)
    results = claims(predictions, drawn.reference) if scored_claims else withheld(drawn)
    write_files(folder, drawn, predictions, results, Method(**{"name": f"made-up {seed}", "baseline": "m", **method}))
    return folder


def write_files(folder: Path, drawn: Drawn, predictions: pd.DataFrame | None, results: Results, method: Method) -> None:
    """The folder of these parts; a results card where predictions is None."""
    folder.mkdir(parents=True)
    parts = {"results.json": as_json(results), "episodes.csv": csv(drawn.reference.episodes)}
    if predictions is not None:
        parts["predictions.csv.gz"] = csv(predictions)
    hashes = {name.split(".")[0]: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    card = Card(
        content="results" if predictions is None else "predictions",
        method=method,
        authors=("A. Author",),
        links=("https://example.org/paper",),
        licence="CC-BY-4.0",
        trained_on="the support of each episode",
        pretraining=(),
        compute=Compute(device="cpu", units=len(drawn.asked), fit_s=12.0, predict_s=3.0),
        track=drawn.reference.track,
        ids="manifest",
        hashes=Hashes(run=hashed("run"), code=(hashed("code"),), **hashes),
    )
    environment = Environment(
        commit="0" * 40, dirty=False, python="3.11", machine="Linux", device="cpu", threads=1, decoder="-", versions={}
    )
    parts |= {"submission.yaml": as_yaml(card), "environment.json": as_json(environment)}
    for name, data in parts.items():
        (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)


def write_submissions(
    root: Path, count: int = 3, *, tracks: int = 1, scored_claims: bool = True, references: bool = True
) -> list[Path]:
    """`count` submissions, dealt over `tracks`, and the References beside them."""
    with_positives = PATIENTS if scored_claims else SMALLEST_CELL - 1  # so few that all must be withheld
    drawn = [draw_track(number, with_positives=with_positives) for number in range(tracks)]
    if references:
        for one in drawn:
            write_reference(one.reference, root / "references" / one.reference.track.name.replace("_", "-"))
    return [
        write_submission(root / f"made-up-{seed:04d}", drawn[seed % tracks], seed, scored_claims=scored_claims)
        for seed in range(count)
    ]


def claims(predictions: pd.DataFrame, reference: Reference) -> Results:
    """What a submitter's scoring says of these predictions."""
    scores = scored(predictions, reference).scores
    return Results(
        replicates=scores.replicates, per_shot=tuple(map(claim, scores.per_shot)), averaged=claim(scores.averaged)
    )


def claim(scores: Scores) -> ClaimedScores:
    counts = scores.counts
    figures = {
        m: ClaimedFigure(value=s.per_clip.value, interval=s.per_clip.interval) for m, s in scores.metrics.items()
    }
    return ClaimedScores(
        shots=scores.shots,
        patients=counts.patients,
        positive_clips=counts.positive_clips,
        negative_clips=counts.negative_clips,
        episodes=counts.episodes,
        missing_predictions=0,
        metrics=figures,
    )


def withheld(drawn: Drawn, replicates: int = 1) -> Results:
    """Results of a run on too few patients: every figure suppressed."""
    shots = sorted({s for s, _ in drawn.asked})

    def none(*over: int) -> ClaimedScores:
        return ClaimedScores(
            shots=over,
            patients=None,
            positive_clips=None,
            negative_clips=None,
            episodes=sum(s in over for s, _ in drawn.asked),
            missing_predictions=0,
            metrics={metric: ClaimedFigure(value=None, interval=None, suppressed=True) for metric in METRICS},
        )

    return Results(replicates=replicates, per_shot=tuple(none(s) for s in shots), averaged=none(*shots))


def csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def as_yaml(model: BaseModel) -> bytes:
    return yaml.safe_dump(model.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode()


def as_json(model: BaseModel) -> bytes:
    return (json.dumps(model.model_dump(mode="json"), indent=1) + "\n").encode()
