"""Run work units in this process, one after the other: a record each, whatever happens to the others.

for each method:  decode what it wants (once, ever) -> setup -> for each unit: fit, predict, write the record

`benchmark.run.cluster` does the same over many processes; what both share is here: `set_up`, `run_unit`, `keep`.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmark.baseline import Baseline, Context, Described, Pretrains, Scores
from benchmark.data.dataset import Clips, PretrainClips, TaskData
from benchmark.data.frames import Sampling
from benchmark.data.manifest import Manifest
from benchmark.data.stage1 import Declaration
from benchmark.progress import Progress
from benchmark.run.plan import Method
from benchmark.run.provenance import provenance
from benchmark.run.records import RunFolder
from benchmark.run.stage1 import Origin, find_or_train
from benchmark.run.units import Predictions, Record, WorkUnit
from protocols.episodes import Episode, assert_disjoint
from tasks.errors import BadInput


@dataclass(frozen=True)
class Machine:
    """Where and how the work is done: none of it changes a prediction beyond the stated tolerance.

    `threads` are those of one work unit. `workers` is how many processes share the work, and the GPUs if there are
    `gpus`: one each, or `workers // gpus` to a GPU. `ray_address` is the cluster they run on (None: this machine).
    """

    device: str | None
    threads: int
    cache: Path
    workers: int = 1
    gpus: int = 0
    ray_address: str | None = None

    @property
    def alone(self) -> bool:
        """Whether this process does all the work."""
        return self.workers == 1 and self.ray_address is None

    @property
    def to_a_gpu(self) -> int:
        """How many workers share a GPU; 0: they have none."""
        return self.workers // self.gpus if self.gpus else 0


@dataclass
class Outcome:
    """What a call of `execute` did: `failed` holds errors by unit, `decoded` counts clips, `seconds` is wall time.

    `skipped` units were there before; `absent` ones are not there and were not to be computed.
    """

    done: int = 0
    skipped: int = 0
    absent: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    decoded: int = 0
    seconds: float = 0.0

    def in_words(self, folder: Path) -> str:
        """For the end of a run."""
        absent = f", {self.absent} not there" if self.absent else ""
        text = (
            f"{self.done} units computed, {self.skipped} left as they were{absent}, {len(self.failed)} failed; "
            f"{self.decoded} clips decoded; {in_time(self.seconds)}. Run folder: {folder}"
        )
        errors = Counter(self.failed.values())
        first = {error: key for key, error in reversed(self.failed.items())}
        lines = [f"{first[e]}{f' and {n - 1} like it' if n > 1 else ''}: {e}" for e, n in errors.items()]
        return text + "".join(f"\n  failed: {line}" for line in lines)


def usual_threads() -> int:
    """More than 4 threads seldom help one small training, and all must agree on the number."""
    return min(4, os.cpu_count() or 1)


def usable_cores() -> int:
    """Those that this process may use, fewer than the machine's where a scheduler such as SLURM says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_time(seconds: float) -> str:
    """Seconds for people."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def execute(
    pairs: Sequence[tuple[Method, WorkUnit]],
    episodes: dict[tuple[int, int], Episode],
    data: TaskData,
    folder: RunFolder,
    machine: Machine,
    progress: Progress,
) -> Outcome:
    """Compute the units and write their records.

    Args:
        pairs: units with their methods, those of one method together.
        episodes: by (shots, index).
        data: the clips.
        folder: a run folder held by this process.
        machine: device, threads, caches.
        progress: for the person who waits.

    Raises:
        BadInput: the user's input is at fault (a video, missing weights); finished records stay.
    """
    outcome, begun = Outcome(), time.monotonic()
    with progress.track("work units", len(pairs)) as advance:
        for _, group in groupby(pairs, key=lambda pair: pair[0].name):
            todo = list(group)
            method = todo[0][0]
            try:
                ready = prepare(method, data, machine, progress, outcome)
            except BadInput:
                raise
            except Exception as error:
                for _, unit in todo:
                    keep(failure(unit, Fault.of(error, "setup"), {}, {}), folder, outcome, progress)
                continue
            for _, unit in todo:
                record = run_unit(ready, unit, episodes[unit.shots, unit.episode], data)
                keep(record, folder, outcome, progress)
                advance(outcome.done + len(outcome.failed))
    outcome.seconds = time.monotonic() - begun
    return outcome


def keep(record: Record, folder: RunFolder, outcome: Outcome, progress: Progress) -> None:
    """Write a record and count it; the first of each kind of failure is shown with its trace."""
    folder.write(record)
    if record.status == "done":
        outcome.done += 1
    else:
        if record.error not in outcome.failed.values():
            progress.say(record.trace or "")
        outcome.failed[record.unit.key] = record.error or ""


@dataclass(frozen=True)
class Fault:
    """What went wrong, and where in the code it arose."""

    error: str
    trace: str

    @staticmethod
    def of(error: Exception, where: str) -> Fault:
        """`where`: setup or episode."""
        return Fault(f"{where}: {type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class Prepared:
    """An adapter that is set up, the stamp of this process, and what its rows must say of its stage 1."""

    baseline: Baseline
    stamp: dict[str, Any]
    checks: dict[str, int]
    card: dict[str, str]


# Clips of a mix as a first stage sees them; False: their names will do, the frames are not looked at.
Pretraining = Callable[[Sampling, str, bool], PretrainClips]
Training = Callable[[Pretrains, Origin, PretrainClips, Manifest, Context, dict[str, Any]], Path]


def prepare(method: Method, data: TaskData, machine: Machine, progress: Progress, outcome: Outcome) -> Prepared:
    """Decode a method's clips and set it up.

    Raises:
        BadInput: the data, the weights or the checkpoint of stage 1 are at fault.
    """
    baseline = method.make()
    if baseline.input is not None:
        outcome.decoded += data.decode_pool(baseline.input.sampling, machine.threads, progress)

    def pretraining(sampling: Sampling, mix: str, _: bool) -> PretrainClips:
        clips, decoded = data.pretraining(sampling, mix, machine.threads, progress)
        outcome.decoded += decoded
        return clips

    return set_up(method, baseline, data, machine, pretraining, find_or_train, progress)


def set_up(
    method: Method,
    baseline: Baseline,
    data: TaskData,
    machine: Machine,
    pretraining: Pretraining,
    train: Training,
    progress: Progress,
) -> Prepared:
    """Set a method up whose clips are decoded; `train` finds its stage 1 or trains it.

    Raises:
        BadInput: the weights or the checkpoint of stage 1 are at fault.
    """
    threadpool_limits(machine.threads)
    device = fixed_device(machine, bool(method.adapter.inits))
    stamp = {**provenance(device, machine.threads, data.seed), "weights": method.published}
    seen: list[Declaration] = [method.stage1.card.declaration] if method.stage1 else []

    def clips_of(sampling: Sampling, mix: str, frames: bool = True) -> PretrainClips:
        clips = pretraining(sampling, mix, frames)
        seen.append(clips.declaration)
        return clips

    def stage1(wanting: Pretrains) -> Path:
        if method.stage1:
            return method.stage1.folder
        clips = clips_of(wanting.stage1_input.sampling, wanting.mix, False)
        origin = Origin(method.scale, method.weights_digest)
        return train(wanting, origin, clips, data.manifest, context, stamp)

    context = Context(
        seed=data.seed,
        device=device,
        threads=machine.threads,
        cache=machine.cache,
        weights=method.weights,
        pretraining=clips_of,
        stage1=stage1,
        progress=progress,
    )
    baseline.setup(context)
    patients = {patient for declaration in seen for patient in data.pretrained_patients(declaration)}
    checks = {"pretrained_patients": len(patients)} if seen else {}
    rendered = method.stage1 is not None and method.stage1.card.rendered
    return Prepared(baseline, stamp, checks, {"stage1_video": "rendered"} if rendered else {})


def fixed_device(machine: Machine, network: bool) -> str:
    """The device asked for, else the first GPU, else the CPU; threads and kernels fixed so that numbers repeat."""
    if not network:
        return "cpu"
    import torch

    torch.set_num_threads(machine.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = machine.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput(f"--device {device}: this machine has no usable GPU; use --device cpu")
    return device


def run_unit(ready: Prepared, unit: WorkUnit, episode: Episode, data: TaskData) -> Record:
    """Fit and predict once; a failure is a Record, too."""
    baseline, stamp, checks = ready.baseline, ready.stamp, ready.checks
    try:
        checks = checks | assert_disjoint(episode, data.subject_of, data.protocol)
        sampling = baseline.input.sampling if baseline.input else None
        query = data.query(episode, sampling)
        begun = time.perf_counter()
        baseline.fit(data.support(episode, sampling, unit.train_seed))
        fitted = time.perf_counter()
        scores = _checked(baseline.predict(query), query)
        seconds = {"fit": round(fitted - begun, 4), "predict": round(time.perf_counter() - fitted, 4)}
    except Exception as error:
        return failure(unit, Fault.of(error, "episode"), checks, stamp)
    return Record(
        unit=unit,
        status="done",
        predictions=Predictions(clip_ids=query.ids, scores=tuple(tuple(row) for row in scores.tolist())),
        checks=checks,
        card=(baseline.card() if isinstance(baseline, Described) else {}) | ready.card,
        seconds=seconds,
        provenance=stamp,
    )


def _checked(scores: Scores, query: Clips) -> Scores:
    """As (R, N) float64, or a ValueError that says what the adapter got wrong."""
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] != len(query):
        raise ValueError(f"predict gave shape {np.shape(scores)} for {len(query)} clips")
    if not np.isfinite(table).all() or table.min() < 0 or table.max() > 1:
        raise ValueError("predict gave scores that are not finite numbers in [0, 1]")
    return table


def failure(unit: WorkUnit, fault: Fault, checks: dict[str, int], stamp: dict[str, Any]) -> Record:
    """The record of a unit that failed."""
    return Record(
        unit=unit,
        status="failed",
        error=fault.error,
        trace=fault.trace,
        checks=checks,
        card={},
        seconds={},
        provenance=stamp,
    )
