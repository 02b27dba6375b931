"""One call of `seizure-bench run`: from what was asked to a Session, which can be shown, executed or resumed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmark.audit.findings import as_sentence, hard
from benchmark.baseline import Init, Size
from benchmark.data.dataset import Split, TaskData, open_stores
from benchmark.data.demo_cache import ensure_demo
from benchmark.data.manifest import Manifest, check_videos, read_manifest
from benchmark.progress import Progress
from benchmark.run.auditing import cheap_findings
from benchmark.run.execute import Machine, Outcome, execute, in_time, usable_cores, usual_threads
from benchmark.run.plan import Method, Policy, Wanted, estimate_seconds, plan_methods, plan_units, select
from benchmark.run.records import RunFolder
from benchmark.run.stage1 import read_given
from benchmark.run.units import DataCard, RunCard, WorkUnit
from benchmark.weights.catalogue import WEIGHTS_VARIABLE, any_at_hand, weights_folder
from benchmark.words import counted
from protocols.episodes import Episode, draw_episodes, one_class, permuted
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task
from tasks.windows import Rule

SHOWN = 5  # recordings named in a notice
WORKERS_A_CORE = 4


@dataclass(frozen=True)
class Request:
    """What a user asked for. None means: the default of the task, the protocol or the data."""

    models: Sequence[str]
    shots: Sequence[int]
    task: str
    protocol: str
    data: Path | None = None
    out: Path | None = None
    window_s: float | None = None
    onset_type: Literal["clinical", "eeg"] | None = None
    episodes: int | None = None
    size: Size | None = None
    init: Init | None = None
    weights: Path | None = None
    changes: Sequence[str] = ()
    seed: int = 0
    split: Split = "evaluate"
    stage1: Path | None = None
    allow_pretrained: bool = False
    permute_labels: bool = False
    train_seeds: int = 1


@dataclass(frozen=True)
class Session:
    """Everything decided, nothing computed yet."""

    card: RunCard
    data: TaskData
    methods: list[Method]
    episodes: list[Episode]
    pairs: list[tuple[Method, WorkUnit]]
    folder: RunFolder
    notices: tuple[str, ...]

    @property
    def episode_of(self) -> dict[tuple[int, int], Episode]:
        """Episodes by (shots, index)."""
        return {(e.shots, e.index): e for e in self.episodes}


def open_session(request: Request, cache: Path, progress: Progress) -> Session:
    """Read the data, label and draw; render the demo set first when no data are named.

    Raises:
        BadInput: anything in the request or the data is wrong.
    """
    folder = weights_folder(request.weights, cache)
    task = load_task(request.task, **_given(window_s=request.window_s, onset_type=request.onset_type))
    protocol = load_protocol(request.protocol, **_given(episodes=request.episodes))
    given = read_given(request.stage1) if request.stage1 else None
    size = request.size or (given.card.size if given else None)
    size, notices = default_size(size, request.init, request.weights, request.data, folder)
    methods = plan_methods(request.models, request.changes, Wanted(size, request.init, task.window_s, folder, given))
    manifest = read_manifest(request.data if request.data else ensure_demo(cache, progress))
    stores = open_stores(cache)
    data = TaskData(manifest, task, protocol, request.seed, stores, cache, request.split, request.allow_pretrained)
    _refuse_one_sided(data)
    doubts = _audited(data)
    if given:
        data.refuse_pretrained(given.card.declaration)
    episodes = [e for n in sorted(set(request.shots)) for e in draw_episodes(data.pool, protocol, n, request.seed)]
    if request.permute_labels:
        episodes = [permuted(episode, data.pool, request.seed) for episode in episodes]
    check_videos(manifest, data.pool["recording_id"], cache / "sha256.json", progress)
    name = "demo" if request.data is None else manifest.root.resolve().name
    about = _data_card(name, manifest, data)
    card = RunCard(
        task=task,
        protocol=protocol,
        seed=request.seed,
        data=about,
        split=request.split,
        permuted_labels=request.permute_labels,
    )
    return Session(
        card=card,
        data=data,
        methods=methods,
        episodes=episodes,
        pairs=plan_units(methods, episodes, card, request.train_seeds),
        folder=RunFolder(request.out or _default_out(card)),
        notices=(
            *notices,
            *_unused_weights(request, methods),
            *_unused_recordings(data),
            *doubts,
            *(_kept_labels(data) if request.permute_labels else ()),
        ),
    )


def _default_out(card: RunCard) -> Path:
    of = card.data.name if card.split == "evaluate" else f"{card.data.name}-{card.split}"
    control = "-permuted-labels" if card.permuted_labels else ""
    return Path("runs") / f"{of}{control}-{card.task.name}-{card.protocol.name}-{card.digest[:8]}"


@dataclass(frozen=True)
class Crew:
    """Who is to share the work, as a user asked for it; None: not said."""

    workers: int | None = None
    gpus: int | None = None
    ray_address: str | None = None

    @property
    def size(self) -> int:
        """How many workers that makes."""
        return self.workers or self.gpus or 1


def machine_of(
    session: Session, cache: Path, device: str | None, threads: int | None, crew: Crew = Crew(), look: bool = True
) -> Machine:
    """Where to work, and by how many. With `look` False devices are not looked for: a plan may be made elsewhere.

    Threads of a work unit, if none are given, are those of the records that are there: a run that goes on by another
    number of workers ends with the same bytes.

    Raises:
        BadInput: no such device, this machine does not have it, or the crew contradicts itself.
    """
    refuse_crew(crew, device)
    needed = look and any(method.adapter.inits for method in session.methods)
    if device is not None:
        refuse_device(device, needed)
    if crew.gpus and not crew.ray_address:
        device = "cuda" if crew.size == 1 else None
        if needed:
            refuse_gpus(crew.gpus)
    threads = threads or session.folder.threads() or threads_of(crew)
    return Machine(device, threads, cache, crew.size, crew.gpus or 0, crew.ray_address)


def threads_of(crew: Crew) -> int:
    """Threads of one work unit: workers of one machine share its cores, and never have more than one alone has.

    So a run has the same threads, hence the same bytes, by one worker and by many as long as the cores suffice. On
    a cluster they are this machine's usual ones: which nodes will work is not known yet.
    """
    return usual_threads() if crew.ray_address else min(usual_threads(), max(1, usable_cores() // crew.size))


def run_session(session: Session, machine: Machine, policy: Policy, progress: Progress) -> Outcome:
    """Execute what the policy selects, holding the run folder.

    Raises:
        BadInput: the folder is another run's or another process's, or the data are at fault.
    """
    folder = session.folder
    with folder.locked():
        folder.claim(session.card, session.data.pool)
        folder.save_episodes(session.episodes)
        pairs = select(session.pairs, folder.is_done, policy)
        outcome = _executor(machine)(pairs, session.episode_of, session.data, folder, machine, progress)
        rest = len(session.pairs) - len(pairs)
        outcome.absent = sum(not folder.is_done(unit) for _, unit in session.pairs) if policy == "never" else 0
        outcome.skipped = rest - outcome.absent
        folder.export_predictions()
    return outcome


def _executor(machine: Machine) -> Callable[..., Outcome]:
    """This process, or workers; Ray is imported for workers alone."""
    if machine.alone:
        return execute
    from benchmark.run import cluster

    return cluster.execute


def crew_words(machine: Machine) -> str:
    """Who works, for people: "2 workers on this machine, 1 thread a work unit"."""
    kind = "GPU worker" if machine.gpus else "worker"
    shared = f", {machine.to_a_gpu} to a GPU" if machine.to_a_gpu > 1 else ""
    where = f"the Ray cluster at {machine.ray_address}" if machine.ray_address else "this machine"
    threads = f"{machine.threads} thread{'s' * (machine.threads > 1)} a work unit"
    return f"{machine.workers} {kind}{'s' * (machine.workers > 1)} on {where}{shared}, {threads}"


def plan_text(session: Session, policy: Policy, as_json: bool, machine: Machine | None = None) -> str:
    """The plan of a dry run: what would be computed and roughly how long that takes on this machine's CPU."""
    todo = select(session.pairs, session.folder.is_done, policy)
    asked = [(method, session.episode_of[unit.shots, unit.episode]) for method, unit in todo]
    cost = estimate_seconds(session.methods, asked, session.data.stage1_windows)
    units = {method.name: sum(m.name == method.name for m, _ in todo) for method in session.methods}
    if as_json:
        card = session.card.model_dump(mode="json")
        crew = {} if machine is None else {"workers": machine.workers, "threads": machine.threads}
        plan = {"run": card, "folder": str(session.folder.path), "units": units, "seconds": cost, **crew}
        return json.dumps(plan, indent=1)
    data = session.card.data
    control = ", labels permuted" if session.card.permuted_labels else ""
    lines = [
        f"{session.card.task.name} by {session.card.protocol.name} on {data.name}"
        f"{' (rendered)' if data.rendered else ''}{control}: {data.positives} positive and {data.negatives} negative "
        f"clips of {counted(data.patients, 'patient')}; into {session.folder.path}",
        *(f"  {m.name}{_start(m)}: {units[m.name]} units, about {in_time(cost[m.name])}" for m in session.methods),
        f"{len(todo)} units to compute, {len(session.pairs) - len(todo)} present; about {in_time(sum(cost.values()))} "
        "on this machine's CPU (an order of magnitude)",
        *([] if machine is None else [f"by {crew_words(machine)}"]),
    ]
    return "\n".join(lines)


def _start(method: Method) -> str:
    return f" ({method.scale.size}, {method.scale.init})" if method.adapter.inits else ""


def summary(session: Session, outcome: Outcome) -> str:
    """What a run did, for machines."""
    return json.dumps({"folder": str(session.folder.path), **asdict(outcome)}, indent=1)


def default_size(
    size: Size | None, init: Init | None, weights: Path | None, data: Path | None, folder: Path
) -> tuple[Size, list[str]]:
    """The demo is tiny; other data base, unless no published weights are at hand and none were asked for.

    Args:
        size, init, weights, data: as the user gave them.
        folder: where published weights are looked for.

    Returns:
        The size, and lines to tell the user.
    """
    if size:
        return size, []
    if data is None:
        return "tiny", []
    named = weights or os.environ.get(WEIGHTS_VARIABLE) or (init and init != "random")
    if named or any_at_hand(folder):
        return "base", []
    return "tiny", [
        "No published weights at hand (--weights DIR, SEIZURE_BENCH_WEIGHTS or `seizure-bench weights fetch`): "
        "networks run at --size tiny from random weights, and every row says so."
    ]


def _unused_weights(request: Request, methods: Sequence[Method]) -> list[str]:
    """A line if the user named a folder of published weights and no method starts from any."""
    if request.weights is None or any(method.weights for method in methods):
        return []
    sizes = sorted({method.scale.size for method in methods if method.adapter.inits})
    why = f"at --size {sizes[0]} they start from random weights" if sizes else "they have no network"
    return [f"--weights {request.weights}: not used by these methods: {why}"]


def _refuse_one_sided(data: TaskData) -> None:
    positives, negatives = ((data.pool["label"] == label).sum() for label in (1, 0))
    if not (positives and negatives):
        root = data.manifest.root
        marked = sorted(set(data.manifest.events["onset_type"]))
        other = bool(marked) and data.task.onset_type not in marked
        hint = f" (its events are marked by {marked[0]} onset: --onset-type {marked[0]})" if other else ""
        raise BadInput(
            f"{root}: task {data.task.name} finds {positives} positive and {negatives} negative clips of patients to "
            f"{data.split}, and needs both{hint}; `seizure-bench data describe {root}` tells why windows are left out"
        )


def refuse_device(device: str, needed: bool) -> None:
    """Raise BadInput for a device that is none, or that this machine lacks although it is needed."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise BadInput(f"--device {device}: no such device; use cpu, cuda, or cuda:N for the GPU of number N")
    if device != "cpu" and needed:
        import torch

        there = torch.cuda.device_count()
        if int(device.partition(":")[2] or 0) >= there:
            raise BadInput(
                f"--device {device}: this machine has {there} usable GPUs; use --device cpu, or leave it out"
            )


def refuse_crew(crew: Crew, device: str | None) -> None:
    """Raise BadInput for a crew that contradicts itself or the device."""
    for flag, count in (("--workers", crew.workers), ("--gpus", crew.gpus)):
        if count is not None and count < 1:
            raise BadInput(f"{flag} {count}: there must be at least 1; leave it out to work in this process alone")
    if crew.workers and crew.gpus and crew.workers % crew.gpus:
        raise BadInput(
            f"--workers {crew.workers} --gpus {crew.gpus}: workers share the GPUs evenly; use --workers "
            f"{-(-crew.workers // crew.gpus) * crew.gpus}, or leave it out for one to a GPU"
        )
    most = WORKERS_A_CORE * usable_cores()
    if not crew.ray_address and crew.size > most:
        flag = "--workers" if crew.workers else "--gpus"
        raise BadInput(
            f"{flag} {crew.size}: {usable_cores()} cores have no use for more than {most} workers; ask for fewer"
        )
    if crew.gpus and device is not None:
        raise BadInput(f"--device {device} --gpus {crew.gpus}: --gpus gives each worker a GPU; leave --device out")
    if crew.ray_address and not (crew.workers or crew.gpus):
        raise BadInput(
            f"--ray-address {crew.ray_address}: say how many workers: --workers N, or --gpus N with a GPU each"
        )
    if device not in (None, "cpu") and (crew.size > 1 or crew.ray_address):
        raise BadInput(f"--device {device} --workers {crew.size}: leave --device out; --gpus N gives them GPUs")


def refuse_gpus(wanted: int) -> None:
    """Raise BadInput for more GPUs than this machine has."""
    import torch

    there = torch.cuda.device_count()
    if wanted > there:
        raise BadInput(f"--gpus {wanted}: this machine has {there} usable GPUs; ask for fewer, or use --workers N")


def crew_doubts(session: Session, machine: Machine) -> list[str]:
    """Lines on threads that fight for cores, and on records of this folder that had another number of them."""
    cores, wanted = usable_cores(), machine.workers * machine.threads
    before, now = session.folder.threads(), machine.threads
    lines = []
    if machine.ray_address is None and wanted > cores:
        lines.append(f"{wanted} threads in all on {cores} cores will fight for them: slower, the same bytes")
    if before not in (None, now):
        lines.append(
            f"Units of this folder were computed with {before} threads each, new ones with {now}: digits differ"
        )
    return lines


def _unused_recordings(data: TaskData) -> list[str]:
    """A line for the recordings of the task's own species and split that give no clip, by the commonest reason."""
    windows = data.candidates[~data.candidates["rule_id"].isin([Rule.OTHER_SPECIES, Rule.OTHER_SPLIT])]
    unused = windows.groupby("recording_id").filter(lambda group: group["label"].isna().all())
    if unused.empty:
        return []
    reasons = unused.groupby("recording_id")["rule_id"].agg(lambda rules: rules.mode().iloc[0])
    named = [f"{recording} ({reason})" for recording, reason in reasons.head(SHOWN).items()]
    more = f" and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return [f"Recordings left out, none of whose windows can be used: {', '.join(named)}{more}"]


def _audited(data: TaskData) -> list[str]:
    """What the tables alone tell against results on these data: a line for each soft finding.

    Raises:
        BadInput: a hard finding, with its evidence.
    """
    findings = cheap_findings(data)
    for found in hard(findings):
        raise BadInput(f"{data.manifest.root}: {as_sentence(found)}; `seizure-bench audit` tells more")
    return [f"Audit: {as_sentence(found)}" for found in findings]


def _kept_labels(data: TaskData) -> list[str]:
    """What a control is, and how many patients' labels could not move."""
    still, patients = len(one_class(data.pool)), data.pool["subject_id"].nunique()
    kept = f"; {still} of {counted(patients, 'patient')} have clips of one class and keep theirs" if still else ""
    return [f"Labels are dealt anew within each patient in every episode: a control, no result{kept}"]


def _data_card(name: str, manifest: Manifest, data: TaskData) -> DataCard:
    rules = data.candidates["rule_id"].value_counts()
    unlabelled = set(data.candidates.loc[data.candidates["label"].isna(), "rule_id"])
    return DataCard(
        name=name,
        rendered=bool((manifest.recordings["deid_method"] == "rendered").any()),
        manifest=manifest.digest,
        pool=data.digest,
        patients=data.pool["subject_id"].nunique(),
        positives=int((data.pool["label"] == 1).sum()),
        negatives=int((data.pool["label"] == 0).sum()),
        left_out={str(rule): int(count) for rule, count in sorted(rules.items()) if rule in unlabelled},
    )


def _given(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
