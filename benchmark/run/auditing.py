"""One call of `seizure-bench audit`: what would make a result on this data, or this run, wrong.

    tables   who stands on two sides of a split, clips against seizures     benchmark/audit/{splits,timing}.py
    videos   the same moving picture in two recordings                      benchmark/audit/twins.py
    cues     labels that can be told from a cue beside the seizure          benchmark/audit/shortcuts.py
    a run    its support and query, its stage 1, its clips, its probes      here

`cheap_findings`, from tables alone, are what `run` looks at by itself.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from benchmark.audit.findings import Finding, as_lines, finding, ordered
from benchmark.audit.pictures import PictureStore, by_digest
from benchmark.audit.splits import episode_findings, split_findings
from benchmark.audit.timing import clips_of_ids, timing_findings
from benchmark.audit.twins import Film, find_twins, twin_findings
from benchmark.data.dataset import Split, TaskData, open_stores
from benchmark.data.demo_cache import ensure_demo
from benchmark.data.manifest import Manifest, check_videos, read_leaky_manifest
from benchmark.progress import Progress
from benchmark.run.records import RunFolder
from benchmark.run.units import Record, RunCard
from benchmark.score.summary import score_run
from benchmark.words import counted
from protocols.episodes import Episode
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task

PROBES = ("probe_first_frame", "probe_shuffled_time", "probe_background")
CHANCE = 0.5
NOTHING = "Nothing found."


@dataclass(frozen=True)
class AuditRequest:
    """What a user asked for. With a `run`, its own task, protocol, seed and split count."""

    data: Path | None = None
    run: Path | None = None
    task: str = "forecast_5s"
    protocol: str = "patient_disjoint"
    window_s: float | None = None
    onset_type: Literal["clinical", "eeg"] | None = None
    seed: int = 0
    split: Split = "evaluate"
    permutations: int = 999


@dataclass(frozen=True)
class Audit:
    """What was found, hard first; what was looked at, what was not and why; the commands to give next.

    `untested`: what was looked at and cannot be told, for lack of patients or since the run is of other data.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    untested: tuple[str, ...]
    next_steps: tuple[str, ...]

    @property
    def to_json(self) -> str:
        """For machines: every line of evidence."""
        return json.dumps(asdict(self), indent=1)

    @property
    def _nothing(self) -> str:
        return (
            f"Nothing found, but {len(self.untested)} points could not be tested, below." if self.untested else NOTHING
        )

    @property
    def text(self) -> str:
        """For people: a few lines of evidence each, hard findings first."""
        lines = [line for found in self.findings for line in as_lines(found)] or [self._nothing]
        lines += [f"Checked: {'; '.join(self.checked)}."]
        lines += ["Could not be tested:", *(f"    {reason}" for reason in self.untested)] if self.untested else []
        lines += ["Not checked:", *(f"    {reason}" for reason in self.unchecked)] if self.unchecked else []
        return "\n".join([*lines, *(f"Next: {step}" for step in self.next_steps)])


def audit(request: AuditRequest, cache: Path, progress: Progress) -> Audit:
    """Look for leakage and shortcuts in a data set and, if one is given, in a run on it.

    Raises:
        BadInput: the tables cannot be read, a video is missing or not the one of its row, or the run is of other data.
    """
    folder = RunFolder(request.run) if request.run else None
    data = _task_data(request, folder.card() if folder else None, cache, progress)
    checked, unchecked = ["tables"], []
    untested: list[str] = []
    findings = split_findings(data.manifest.recordings, data.split)
    if folder is None:
        findings += _timing(data, data.pool)
        unchecked.append("support and query, stage 1 and probes of a run: no --run was given")
    else:
        findings += run_findings(folder, data, unchecked)
        if folder.card().data.manifest != data.manifest.digest:
            untested.append(
                f"whether run {folder.path.name} stands on these data: its manifest was another one (recordings, "
                "events or videos have changed since, or it is of another data set)"
            )
        checked.append(f"run {folder.path.name}")
    films, unread = _films(data.manifest, cache, progress)
    twins, least = find_twins(films)
    findings += twin_findings(twins)
    checked.append(f"{len(films)} videos for stretches they share (correlation {least:.2f} and above)")
    unchecked += [f"video of {name}: {reason}" for name, reason in unread.items()]
    if data.pool["label"].nunique() == 2 and not unread.keys() & set(data.pool["recording_id"]):
        from benchmark.audit.shortcuts import shortcut_report

        report = shortcut_report(data, cache, progress, request.permutations, data.seed)
        findings += report.findings
        checked.append(f"{report.clips} clips of {counted(report.patients, 'patient')} for cues that tell the label")
        untested += report.unsaid
    else:
        unchecked.append("cues that tell the label: the clips of the task are of one class, or cannot all be read")
    return Audit(
        tuple(ordered(findings)), tuple(checked), tuple(unchecked), tuple(untested), _next_steps(request, data)
    )


def cheap_findings(data: TaskData) -> list[Finding]:
    """Those from tables alone: on the hard ones `run` refuses, the soft ones it tells."""
    return ordered([*split_findings(data.manifest.recordings, data.split), *_timing(data, data.pool)])


def run_findings(folder: RunFolder, data: TaskData, unchecked: list[str]) -> list[Finding]:
    """What a run's own files tell; what could not be looked at is added to `unchecked`.

    Raises:
        BadInput: a file of the run cannot be read, or the run is of other data.
    """
    card, clips, records = folder.card(), clips_of_ids(folder.clips_as_they_stand()), folder.records()
    strangers = clips[~clips["recording_id"].isin(data.manifest.recordings["recording_id"])]
    if len(strangers):
        raise BadInput(
            f"--run {folder.path}: its clip {strangers['clip_id'].iloc[0]} is of a recording that {data.manifest.root} "
            "does not hold; name the data that the run was made on"
        )
    episodes = [Episode(e.protocol, e.shots, e.index, e.support, e.query) for e in folder.saved_episodes()]
    found = episode_findings(episodes, dict(zip(clips["clip_id"], clips["subject_id"], strict=True)), card.protocol)
    found += [*_timing(data, clips), *_pretrained_patients(records)]
    probes = [record for record in records if record.unit.baseline in PROBES and record.predictions]
    missing = sorted(set(PROBES) - {record.unit.baseline for record in probes})
    if missing:
        unchecked.append(f"{', '.join(missing)}: no finished unit in the run")
    return found + (
        _winning_probes(probes, folder.clips_as_they_stand(), unchecked) if probes and not card.permuted_labels else []
    )


def _task_data(request: AuditRequest, card: RunCard | None, cache: Path, progress: Progress) -> TaskData:
    given = {"window_s": request.window_s, "onset_type": request.onset_type}
    changes = {name: value for name, value in given.items() if value is not None}
    return TaskData(
        manifest=read_leaky_manifest(request.data if request.data else ensure_demo(cache, progress)),
        task=card.task if card else load_task(request.task, **changes),
        protocol=card.protocol if card else load_protocol(request.protocol),
        seed=card.seed if card else request.seed,
        stores=open_stores(cache),
        cache=cache,
        split=card.split if card else request.split,
    )


def _timing(data: TaskData, clips: pd.DataFrame) -> list[Finding]:
    return timing_findings(clips, data.manifest.recordings, data.manifest.events, data.task, data.protocol)


def _films(manifest: Manifest, cache: Path, progress: Progress) -> tuple[list[Film], dict[str, str]]:
    """A film of each video, and the reason by recording for those that cannot be read to their end."""
    unread: dict[str, str] = {}
    rows = manifest.recordings.sort_values("recording_id").drop_duplicates("sha256").to_dict("records")
    check_videos(
        manifest, manifest.recordings["recording_id"], cache / "sha256.json", progress, leave_out=unread.__setitem__
    )
    store, rows = PictureStore(cache / "audit"), [row for row in rows if row["recording_id"] not in unread]
    videos = by_digest((row["sha256"] for row in rows), (manifest.path_of(row["recording_id"]) for row in rows))
    failed = store.ensure(videos, min(8, os.cpu_count() or 1), progress)
    unread |= {row["recording_id"]: failed[row["sha256"]] for row in rows if row["sha256"] in failed}
    films = [
        Film(row["recording_id"], row["subject_id"], row["split"], partial(store.open, row["sha256"]))
        for row in rows
        if row["recording_id"] not in unread
    ]
    return films, unread


def _pretrained_patients(records: Sequence[Record]) -> list[Finding]:
    most: dict[str, int] = {}
    for record in records:
        seen = record.checks.get("pretrained_patients", 0)
        if seen:
            most[record.unit.method] = max(seen, most.get(record.unit.method, 0))
    return finding(
        "pretraining-patient-in-test",
        "hard",
        "stage 1 of a method of this run saw patients of the test; leave its rows out, or run it on a stage 1 without "
        "them",
        [f"{method}: {count} test patients in stage 1" for method, count in sorted(most.items())],
    )


def _winning_probes(records: Sequence[Record], clips: pd.DataFrame, unchecked: list[str]) -> list[Finding]:
    """Probes whose ROC-AUC lies above chance with its whole interval over patients."""
    evidence = []
    for scores in score_run(_predictions(records), clips).methods:
        auc = scores.averaged.metrics["roc_auc"].per_clip
        if auc.interval is None or auc.value is None:
            unchecked.append(f"{scores.method}: no interval of its ROC-AUC on these clips")
        elif auc.interval.low > CHANCE:
            evidence.append(
                f"{scores.method}: ROC-AUC {auc.value:.2f} [{auc.interval.low:.2f}, {auc.interval.high:.2f}], "
                f"{auc.interval.source}, {counted(auc.interval.patients, 'patient')}, {auc.interval.clips} clips"
            )
    return finding(
        "probe-beats-chance",
        "soft",
        "a method that cannot see a seizure coming tells the label all the same, so others may do so by the same cue; "
        "find the cue (the label-from findings, or looking at clips of both classes) before believing any row",
        evidence,
    )


def _predictions(records: Sequence[Record]) -> pd.DataFrame:
    """The table that `score_run` reads; each training and each of its rules is a replicate."""
    parts = []
    for record in records:
        unit, made = record.unit, record.predictions
        if made is None:
            continue
        name = unit.method if unit.size == "-" else f"{unit.method} [{unit.size}, {unit.init}]"
        for number, scores in enumerate(made.scores):
            table = pd.DataFrame({"clip_id": list(made.clip_ids), "score": np.array(scores)})
            replicate = unit.train_seed * len(made.scores) + number
            parts.append(table.assign(method=name, shots=unit.shots, episode=unit.episode, replicate=replicate))
    return pd.concat(parts, ignore_index=True)


def _next_steps(request: AuditRequest, data: TaskData) -> tuple[str, ...]:
    """The probes, unless a run was given."""
    if request.run:
        return ()
    words = [
        "seizure-bench",
        "run",
        "--model",
        ",".join(PROBES),
        "--task",
        request.task,
        "--protocol",
        request.protocol,
    ]
    words += ["--data", str(request.data)] if request.data else []
    words += ["--window", f"{request.window_s:g}"] if request.window_s else []
    words += ["--onset-type", request.onset_type] if request.onset_type else []
    words += ["--seed", str(data.seed)] if data.seed else []
    words += ["--split", data.split] if data.split != "evaluate" else []
    return (f"{shlex.join(words)}   then give that run folder to `audit` as --run",)
