"""Run work units on many processes, GPUs or machines: Ray actors compute, this process alone writes.

    driver    decodes what is missing, holds the run folder, writes records, shows one bar
    rota      which job next (`benchmark.run.rota`); an idle worker pulls
    worker    an actor (`benchmark.run.worker`): sets a method up once, runs one unit at a time
    thread    one a worker, here: asks the rota, gives the actor the job, waits, passes the Record on

A worker that is lost (killed, out of memory, its machine gone) costs the unit in its hands: it is tried again
elsewhere, three times at most, while another worker is started in its place. The records are those of `execute`: every
`fit` starts from the same state, so neither order nor worker can change a number at the same threads.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import numpy as np

from benchmark.baseline import Baseline, Embeds, Pretrains
from benchmark.data.dataset import PretrainClips, TaskData
from benchmark.data.frames import Sampling
from benchmark.files import write_atomically
from benchmark.progress import Progress
from benchmark.run.execute import Fault, Machine, Outcome, failure, keep, usable_cores
from benchmark.run.plan import Method
from benchmark.run.raystart import ray_for
from benchmark.run.records import RunFolder
from benchmark.run.rota import TRIES, Batch, Group, Rota
from benchmark.run.stage1 import CARD
from benchmark.run.units import Record, WorkUnit
from benchmark.run.worker import Answer, Greeting, NeedsClips, NeedsStage1, Refused, Worker, files_to_send
from protocols.episodes import Episode
from tasks.errors import BadInput

START_WITHIN_S = 120.0  # without any worker for so long, a run gives up
TELL_AFTER_S = 20.0  # of waiting for room
LOOK_EVERY_S = 0.5
BATCH_BYTES = 64 * 2**20  # of files on their way to a worker
LARGEST_BATCH = 16  # clips encoded in one job
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours
Pair = tuple[Method, WorkUnit]


@dataclass
class Shift:
    """What the threads of a run share. Events are Records, or the exception that ends the run."""

    pairs: list[Pair]
    episodes: dict[tuple[int, int], Episode]
    data: TaskData
    methods: tuple[Method, ...]
    spans: tuple[range, ...]  # each method's places in `pairs`
    machine: Machine
    progress: Progress
    rota: Rota
    outcome: Outcome
    data_ref: Any = None  # the data in Ray's store
    here: Greeting | None = None  # this process
    events: SimpleQueue[Record | Exception] = field(default_factory=SimpleQueue)
    workers: dict[int, Any] = field(default_factory=dict)  # actors by the number of their thread
    alive: set[int] = field(default_factory=set)
    complaint: str = ""  # why the last worker was lost
    waiting: float | None = None  # for room: since when; infinite: the user was told
    sending: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))  # by node
    training: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))  # by checkpoint
    decoding: Lock = field(default_factory=Lock)
    features: dict[int, dict[str, Path]] = field(default_factory=lambda: defaultdict(dict))  # by group and place
    mixes: dict[tuple[Sampling, str], PretrainClips] = field(default_factory=dict)

    def unit(self, job: int) -> tuple[WorkUnit, Episode]:
        """A unit of the plan and its episode."""
        unit = self.pairs[job][1]
        return unit, self.episodes[unit.shots, unit.episode]

    def clips_of(self, sampling: Sampling, mix: str) -> PretrainClips:
        """The clips of a mix, decoded here."""
        with self.decoding:
            if (sampling, mix) not in self.mixes:
                clips, decoded = self.data.pretraining(sampling, mix, decoders(self.machine), self.progress)
                self.mixes[sampling, mix] = clips
                self.outcome.decoded += decoded
            return self.mixes[sampling, mix]


def execute(
    pairs: Sequence[Pair],
    episodes: dict[tuple[int, int], Episode],
    data: TaskData,
    folder: RunFolder,
    machine: Machine,
    progress: Progress,
) -> Outcome:
    """As `benchmark.run.execute.execute`, by `machine.workers` workers.

    Raises:
        BadInput: the user's input is at fault, or the cluster; finished records stay.
    """
    outcome, begun = Outcome(), time.monotonic()
    with progress.track("work units", len(pairs)) as advance:
        ready, faults = _decoded(pairs, data, machine, progress, outcome)
        for unit, fault in faults:
            keep(failure(unit, fault, {}, {}), folder, outcome, progress)
        if ready:
            shift = _shift(ready, episodes, data, machine, progress, outcome)
            with ray_for(machine):
                _run(shift, lambda record: _count(record, folder, outcome, progress, advance))
    outcome.seconds = time.monotonic() - begun
    return outcome


def decoders(machine: Machine) -> int:
    """How many videos are decoded at once, before the workers begin: on all the cores that they will have."""
    return max(machine.threads, min(usable_cores(), machine.workers * machine.threads))


def _count(
    record: Record, folder: RunFolder, outcome: Outcome, progress: Progress, advance: Callable[[int], None]
) -> None:
    keep(record, folder, outcome, progress)
    advance(outcome.done + len(outcome.failed))


def _decoded(
    pairs: Sequence[Pair], data: TaskData, machine: Machine, progress: Progress, outcome: Outcome
) -> tuple[dict[str, tuple[Baseline, list[Pair]]], list[tuple[WorkUnit, Fault]]]:
    """Adapters and pairs by method, frames being in the store; units of methods whose frames cannot be had."""
    by_method: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_method.setdefault(pair[0].name, []).append(pair)
    ready, faults = {}, []
    for name, todo in by_method.items():
        try:
            baseline = todo[0][0].make()
            if baseline.input is not None:
                outcome.decoded += data.decode_pool(baseline.input.sampling, decoders(machine), progress)
        except BadInput:
            raise
        except Exception as error:
            faults += [(unit, Fault.of(error, "setup")) for _, unit in todo]
        else:
            ready[name] = (baseline, todo)
    return ready, faults


def _shift(
    ready: Mapping[str, tuple[Baseline, list[Pair]]],
    episodes: dict[tuple[int, int], Episode],
    data: TaskData,
    machine: Machine,
    progress: Progress,
    outcome: Outcome,
) -> Shift:
    """The groups of the rota: a method's units, and clips to encode if it has frozen features."""
    data.query(next(iter(episodes.values())), None)  # derives facts of the files: workers may not see the videos
    pairs: list[Pair] = []
    groups, spans = [], []
    for baseline, todo in ready.values():
        spans.append(range(len(pairs), len(pairs) + len(todo)))
        pairs += todo
        group = Group(deque(spans[-1]))
        group.first_alone = isinstance(baseline, Pretrains) and not todo[0][0].stage1
        if isinstance(baseline, Embeds) and baseline.input is not None:
            asked = [episodes[unit.shots, unit.episode] for _, unit in todo]
            group.batches.extend(_batches(_clips_in(asked), machine.workers))
        groups.append(group)
    methods = tuple(todo[0][0] for _, todo in ready.values())
    device = "cuda" if machine.gpus else machine.device or "cpu"
    machine = replace(machine, device=device)
    return Shift(pairs, episodes, data, methods, tuple(spans), machine, progress, Rota(groups), outcome)


def _clips_in(episodes: Iterable[Episode]) -> list[str]:
    return sorted({clip for episode in episodes for clip in (*episode.support, *episode.query)})


def _batches(clips: Sequence[str], workers: int) -> Iterator[Batch]:
    """Small enough that the last worker is not waited for long."""
    size = min(LARGEST_BATCH, max(1, len(clips) // (4 * workers)))
    return (tuple(clips[first : first + size]) for first in range(0, len(clips), size))


def _run(shift: Shift, count: Callable[[Record], None]) -> None:
    """Start the workers' threads, and take what they bring until each unit has its record."""
    import ray

    shift.data_ref = ray.put(shift.data)
    shift.here = Worker().hello()
    threads = [Thread(target=_serve, args=(number, shift), daemon=True) for number in range(shift.machine.workers)]
    for thread in threads:
        thread.start()
    left = {unit.key: unit for _, unit in shift.pairs}
    seen_alive = time.monotonic()
    try:
        while left:
            try:
                event = shift.events.get(timeout=LOOK_EVERY_S)
            except Empty:
                hopeless = not any(thread.is_alive() for thread in threads)
                if shift.alive or _waits_for_room(shift):
                    seen_alive = time.monotonic()
                elif hopeless or time.monotonic() - seen_alive > START_WITHIN_S:
                    _give_up(shift, list(left.values()), count)
                    return
                continue
            if isinstance(event, Exception):
                raise event
            count(event)
            del left[event.unit.key]
    finally:
        shift.rota.close()
        for worker in list(shift.workers.values()):
            ray.kill(worker)
        for thread in threads:
            thread.join(timeout=5)


def _waits_for_room(shift: Shift) -> bool:
    """Whether others hold what a worker of ours needs on a cluster; the user is told once."""
    import ray

    machine = shift.machine
    if machine.ray_address is None:
        return False
    needed = {"CPU": machine.threads} | ({"GPU": 1 / machine.to_a_gpu} if machine.gpus else {})
    total, free = ray.cluster_resources(), ray.available_resources()
    busy = [name for name, amount in needed.items() if free.get(name, 0) < amount <= total.get(name, 0)]
    if busy and shift.waiting is None:
        shift.waiting = time.monotonic()  # our own workers hold room, too, before they have begun
    if busy and shift.waiting is not None and time.monotonic() - shift.waiting > TELL_AFTER_S:
        shift.waiting = float("inf")
        held = ", ".join(f"{total[name] - free.get(name, 0):g} of {total[name]:g} {name}s" for name in busy)
        shift.progress.say(f"no worker has begun yet: {held} of the cluster are taken; waiting")
    return bool(busy)


def _give_up(shift: Shift, units: Sequence[WorkUnit], count: Callable[[Record], None]) -> None:
    """No worker is left and none can be started."""
    reason = shift.complaint or f"none could be started within {START_WITHIN_S:g} s; is the cluster busy?"
    for unit in units:
        count(failure(unit, Fault(f"worker: no worker is left: {reason}", ""), {}, {}))


def _serve(number: int, shift: Shift) -> None:
    """A worker's thread: keep one going until the run is over, or it could not be started some times in a row."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    tries = 0
    while tries < TRIES and not shift.rota.closed:
        worker = shift.workers[number] = _new_worker(shift.machine)
        tries += 1
        try:
            node = _greeted(worker, shift)
            if node is not None:
                tries = 0
                shift.alive.add(number)
                _work_through(number, worker, node, shift)
        except RayTaskError as error:  # our own code failed there
            shift.events.put(error)
            return
        except RayError as error:
            if not shift.rota.closed:
                shift.complaint = in_short(error)
                shift.progress.say(f"worker {number + 1} is lost; what it had not finished is done again")
        except Exception as error:
            shift.events.put(error)
            return
        finally:
            shift.alive.discard(number)
            with suppress(Exception):  # Ray may be gone
                ray.kill(worker)


def in_short(error: Exception) -> str:
    """The line of Ray's many that tells most: its first, or the last if a worker could not even begin."""
    lines = [line.strip() for line in ESCAPES.sub("", str(error)).splitlines() if line.strip()]
    line = lines[-1 if "creation task" in lines[0] else 0] if lines else ""
    return f"{type(error).__name__}: {line}"


def _new_worker(machine: Machine) -> Any:
    import ray

    gpu = 1 / machine.to_a_gpu if machine.gpus else 0
    return ray.remote(Worker).options(num_cpus=machine.threads, num_gpus=gpu, scheduling_strategy="SPREAD").remote()


def _greeted(worker: Any, shift: Shift) -> str | None:
    """Wait until the worker is there, and give it the work; its node, or None when the run is over before.

    Raises:
        BadInput: it runs other code than this process, or has no cache.
    """
    import ray

    waiting = worker.hello.remote()
    while not ray.wait([waiting], timeout=LOOK_EVERY_S)[0]:
        if shift.rota.closed:
            return None
    there, here = ray.get(waiting), shift.here
    assert here is not None
    where = f"--ray-address {shift.machine.ray_address}: node {there.host}" if shift.machine.ray_address else "a worker"
    if there.code != here.code:
        raise BadInput(
            f"{where} runs other code of the suite ({there.root}) than this process ({here.root}); install the same "
            "version on all nodes"
        )
    for name, version in here.versions.items():
        if there.versions.get(name) != version:
            raise BadInput(f"{where} has {name} {there.versions.get(name)}, this process {version}; install the same")
    at_home = there.node == here.node
    cache = shift.machine.cache if at_home else None
    complaint = ray.get(worker.begin.remote(shift.data_ref, shift.machine, cache, at_home))
    if complaint:
        raise BadInput(f"{where}: {complaint}")
    return str(there.node)


def _work_through(number: int, worker: Any, node: str, shift: Shift) -> None:
    """Give the worker job after job."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    at: int | None = None
    fed: int | None = None  # the group whose features are in this worker's cache
    while (taken := shift.rota.take(number)) is not None:
        group, job = taken
        try:
            if group != at:
                at = None
                answer = _prepared(group, worker, node, shift)
                if isinstance(answer, Refused):
                    raise BadInput(answer.sentence)
                if isinstance(answer, Fault):
                    _fail([*shift.rota.drop(group), job], answer, shift)
                    shift.rota.done(group, job)
                    continue
                at = group
                shift.rota.opened(group)
            if isinstance(job, int):
                if fed != group:
                    _send(worker, node, shift.features[group], shift)
                    fed = group
                unit, episode = shift.unit(job)
                shift.events.put(ray.get(worker.run.remote(unit, episode)))
            else:
                with suppress(RayTaskError):  # each unit that asks for those clips will say so
                    places = ray.get(worker.encode.remote(job, next(iter(shift.episodes.values()))))
                    shift.features[group].update(_fetched(worker, places, shift))
        except RayTaskError:
            raise
        except RayError as error:
            why = f"the process ended or was killed, or memory or its machine gave out ({in_short(error)})"
            ready = at == group
            given_up = shift.rota.lost(number, group, job, ready)
            alone = given_up if given_up == [job] and ready else []
            _fail(alone, Fault(f"worker: lost {TRIES} times with it in hand: {why}", ""), shift)
            rest = [unit for unit in given_up if unit not in alone]
            _fail(rest, Fault(f"worker: its method costs one worker after the other: {why}", ""), shift)
            raise
        shift.rota.done(group, job)


def _fail(jobs: Iterable[Any], fault: Fault, shift: Shift) -> None:
    for job in jobs:
        if isinstance(job, int):
            shift.events.put(failure(shift.unit(job)[0], fault, {}, {}))


def _prepared(group: int, worker: Any, node: str, shift: Shift) -> Fault | Refused | None:
    """Have a method set up, sending what the worker lacks for it; the fault where that cannot be done."""
    import ray
    from ray.exceptions import RayTaskError

    method, code = shift.methods[group], shift.pairs[shift.spans[group].start][1].code
    at_home = shift.here is not None and node == shift.here.node
    _send(worker, node, _frames_of(method, group, shift) | ({} if at_home else files_to_send(method)), shift)
    try:
        answer: Answer = ray.get(worker.prepare.remote(method, code))
    except RayTaskError as error:
        raise BadInput(f"--model {method.name}: a worker cannot load it ({error.cause}); install it there") from error
    while isinstance(answer, NeedsClips | NeedsStage1):
        if isinstance(answer, NeedsClips):
            clips = shift.clips_of(answer.sampling, answer.mix)
            if answer.frames:
                _send(worker, node, _files_of(clips, shift), shift)
            ray.get(worker.know.remote(answer, clips))
            answer = ray.get(worker.prepare.remote(method, code))
        else:
            answer = _with_stage1(answer, partial(worker.prepare.remote, method, code), worker, node, shift)
    return answer


def _with_stage1(need: NeedsStage1, prepare: Callable[..., Any], worker: Any, node: str, shift: Shift) -> Answer:
    """Send the checkpoint, or have it trained: one worker does, and whoever wants the same waits here."""
    import ray

    folder = shift.machine.cache / "stage1" / need.folder
    with shift.training[need.folder]:
        if (folder / CARD).is_file():
            files = sorted((p for p in folder.iterdir() if p.is_file()), key=lambda p: (p.name == CARD, p.name))
            _send(worker, node, {str(path.relative_to(shift.machine.cache)): path for path in files}, shift)
            return ray.get(prepare())
        _send(worker, node, _files_of(shift.clips_of(need.sampling, need.mix), shift), shift)
        shift.progress.say(
            f"stage 1 {need.folder[:8]} is trained by a worker, which shows no progress (docs/running.md)"
        )
        answer: Answer = ray.get(prepare(need.folder))
        if not isinstance(answer, Fault | Refused) and not (folder / CARD).is_file():
            _fetched(worker, ray.get(worker.stage1_places.remote(need.folder)), shift)
        return answer


def _fetched(worker: Any, places: Sequence[str], shift: Shift) -> dict[str, Path]:
    """Files of a worker's cache, by their places below it: brought into this one where it is another."""
    import ray

    files = {place: shift.machine.cache / place for place in places}
    missing = [place for place, path in files.items() if not path.is_file()]
    for place, content in zip(missing, ray.get(worker.read.remote(missing)) if missing else (), strict=True):
        write_atomically(files[place], content)
    return files


def _frames_of(method: Method, group: int, shift: Shift) -> dict[str, Path]:
    """The frames that a method's units look at, by their places below the cache."""
    wanted = method.make().input
    if wanted is None:
        return {}
    asked = [shift.unit(job)[1] for job in shift.spans[group]]
    clips = replace(asked[0], query=tuple(_clips_in(asked)))
    return _files_of(shift.data.query(clips, wanted.sampling), shift)


def _files_of(clips: Any, shift: Shift) -> dict[str, Path]:
    paths = [shift.data.stores.frames.path(key) for key in clips.frame_keys]
    return {str(path.relative_to(shift.machine.cache)): path for path in paths}


def _send(worker: Any, node: str, files: Mapping[str, Path], shift: Shift) -> None:
    """Put into a worker's cache what it lacks, some at a time; one worker a node, as the cache is the node's."""
    import ray

    sizes = {place: path.stat().st_size for place, path in files.items()}
    with shift.sending[node]:
        missing = ray.get(worker.lacks.remote(sizes))
        while missing:
            batch = [missing.pop(0)]
            while missing and sum(sizes[place] for place in [*batch, missing[0]]) <= BATCH_BYTES:
                batch.append(missing.pop(0))
            contents = [ray.put(np.fromfile(files[place], dtype=np.uint8)) for place in batch]
            ray.get(worker.keep.remote(batch, contents))
