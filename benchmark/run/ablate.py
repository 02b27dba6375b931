"""`seizure-bench ablate`: one method, one thing changed from row to row, everything else the same.

    axis, values -> a session a value, all of them opened (so: checked) before anything is computed
                 -> run one after the other, each resuming like any run
                 -> a folder: ablation.json (what it is), <task>/ (a run folder, also for `score`)

Values of a setting or of the initial weights share one run folder, so they are put to the same episodes; horizons are
tasks, so each has its own. Decoded frames, features and checkpoints of stage 1 are shared through the cache by what
they follow from. The table and the plot are made from the run folders by `benchmark.board.ablation`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from benchmark.baseline import Baseline, Init, Loads, Pretrains, Scale
from benchmark.files import write_atomically
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, in_time
from benchmark.run.plan import Policy, adapter_of, estimate_seconds, select
from benchmark.run.records import RunFolder
from benchmark.run.session import Request, Session, open_session, run_session
from benchmark.run.units import WorkUnit, digest_of
from benchmark.weights.catalogue import find, weights_folder
from benchmark.words import counted
from tasks.errors import BadInput
from tasks.spec import first_complaint

AxisName = Literal["mix", "mask-ratio", "head", "pool", "horizon", "init"]
DEFAULT_TASK = "forecast_5s"
CLAIM = "ablation.json"


@dataclass(frozen=True)
class Axis:
    """What is changed. `field` is a setting of the method, or the Request's `task` or `init`.

    `values` are the default ones; none: all that the method's setting may be, in the order it names them.
    """

    kind: Literal["setting", "task", "init"]
    field: str
    title: str
    values: tuple[str, ...] = ()
    stage1_differs: bool = False


AXES: dict[AxisName, Axis] = {
    "mix": Axis("setting", "mix", "clips of stage 1", stage1_differs=True),
    "mask-ratio": Axis(
        "setting", "mask_ratio", "mask ratio of stage 1", tuple(f"0.{n}" for n in range(1, 10)), stage1_differs=True
    ),
    "head": Axis("setting", "head", "head"),
    "pool": Axis("setting", "pool", "pooling of tokens"),
    "horizon": Axis(
        "task", "task", "horizon (s)", ("forecast_5s", "forecast_10s", "forecast_30s", "forecast_60s")
    ),
    "init": Axis("init", "init", "initial weights", stage1_differs=True),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One value of the axis. `x` is where it lies on a numeric axis; None on one of categories."""

    value: str
    x: float | None
    session: Session

    @property
    def unit(self) -> WorkUnit:
        """A unit of this value: it names the row."""
        return self.session.pairs[0][1]


@dataclass(frozen=True)
class Ablation:
    """Everything decided, nothing computed yet. `default` is the value that the method has of itself, if it has one."""

    name: AxisName
    model: str
    folder: Path
    points: tuple[Point, ...]
    default: str | None
    notices: tuple[str, ...]

    @property
    def axis(self) -> Axis:
        """What is changed."""
        return AXES[self.name]


def open_ablation(name: AxisName, values: Sequence[str], request: Request, cache: Path, progress: Progress) -> Ablation:
    """Plan every value of an axis.

    Args:
        name: which axis.
        values: as the user wrote them; none: the axis's own.
        request: what is the same for all. `out` is the folder of the ablation.
        cache: as for `open_session`.
        progress: for the person who waits.

    Raises:
        BadInput: an unknown axis or value, a method without this axis, or anything that `open_session` refuses.
    """
    if name not in AXES:
        raise BadInput(f"--axis {name}: there is no such axis; use one of {', '.join(AXES)}")
    axis = AXES[name]
    if len(set(request.models)) != 1:
        raise BadInput(f"--model {','.join(request.models)}: an ablation is of one method; name one")
    adapter = adapter_of(request.models[0], request.changes)
    _refuse_set_twice(name, axis, request)
    notices: list[str] = []
    if axis.kind == "setting":
        wanted = _setting_values(name, axis, values, request.models[0], adapter)
        asked = [replace(request, changes=(*request.changes, f"{axis.field}={value}")) for value in wanted]
    elif axis.kind == "task":
        wanted = list(dict.fromkeys(values or axis.values))
        asked = [replace(request, task=value) for value in wanted]
    else:
        wanted, notices = _inits(values, request, adapter, cache, progress)
        asked = [replace(request, init=value) for value in wanted]  # type: ignore[arg-type]  # checked in _inits
    sessions = [open_session(one, cache, progress) for one in asked]
    folder = request.out or Path("runs") / _folder_name(name, axis, sessions[0])
    _refuse_same_name([session.card.task.name for session in sessions] if axis.kind == "task" else [])
    points = [_point(axis, value, session, folder) for value, session in zip(wanted, sessions, strict=True)]
    _refuse_stranger(folder, _claim(name, axis, sessions[0]))
    notices += [line for point in points for line in _missing_parts(point)]
    if len(points) == 1:
        notices.append(f"--axis {name} has one value here ({points[0].value}): one row compares nothing")
    return Ablation(
        name=name,
        model=request.models[0],
        folder=folder,
        points=tuple(points),
        default=str(adapter.Settings.model_fields[axis.field].default) if axis.kind == "setting" else None,
        notices=tuple(dict.fromkeys([*notices, *(text for session in sessions for text in session.notices)])),
    )


def run_ablation(ablation: Ablation, machine: Machine, policy: Policy, progress: Progress) -> Outcome:
    """Run every value; the sum of what was done. A failed unit costs no other unit and no other value.

    Raises:
        BadInput: the user's input is at fault, or another process works in the folder; what is finished stays.
    """
    total, new = Outcome(), not ablation.folder.exists()
    claim = _claim(ablation.name, ablation.axis, ablation.points[0].session)
    write_atomically(ablation.folder / CLAIM, json.dumps(claim, indent=1, sort_keys=True) + "\n")
    try:
        for number, point in enumerate(ablation.points, start=1):
            progress.say(f"{ablation.name} {point.value} ({number} of {len(ablation.points)})")
            outcome = run_session(point.session, machine, policy, progress)
            total.done, total.skipped = total.done + outcome.done, total.skipped + outcome.skipped
            total.failed |= outcome.failed
            total.decoded, total.seconds = total.decoded + outcome.decoded, total.seconds + outcome.seconds
    except BadInput:
        if new and [path.name for path in ablation.folder.iterdir()] == [CLAIM]:
            (ablation.folder / CLAIM).unlink()
            ablation.folder.rmdir()
        raise
    return total


def ablation_plan(ablation: Ablation, policy: Policy, as_json: bool) -> str:
    """The plan of a dry run: units and rough cost of each value. A stage 1 that all values share counts once."""
    lines: list[dict[str, Any]] = []
    charged = False
    for point in ablation.points:
        session = point.session
        todo = select(session.pairs, session.folder.is_done, policy)
        with_stage1 = bool(todo) and (ablation.axis.stage1_differs or not charged)
        charged = charged or with_stage1
        episodes = [(method, session.episode_of[unit.shots, unit.episode]) for method, unit in todo]
        windows = session.data.stage1_windows if with_stage1 else []
        seconds = sum(estimate_seconds(session.methods, episodes, windows).values())
        present = len(session.pairs) - len(todo)
        lines.append({"value": point.value, "units": len(todo), "present": present, "seconds": seconds})
    units, seconds = (sum(line[key] for line in lines) for key in ("units", "seconds"))
    if as_json:
        what = {"axis": ablation.name, "model": ablation.model, "folder": str(ablation.folder)}
        return json.dumps({**what, "values": lines, "units": units, "seconds": seconds}, indent=1)
    first = ablation.points[0]
    method, data = first.session.methods[0], first.session.card.data
    start = f" ({method.scale.size}{f', {first.unit.init}' if ablation.axis.kind != 'init' else ''})"
    return "\n".join(
        [
            f"{ablation.name} of {ablation.model}{start if method.adapter.inits else ''} on {data.name}"
            f"{' (rendered)' if data.rendered else ''}, {counted(data.patients, 'patient')}; into {ablation.folder}",
            *(f"  {line['value']}: {line['units']} units, about {in_time(line['seconds'])}" for line in lines),
            f"{units} units to compute, {sum(line['present'] for line in lines)} present; about {in_time(seconds)} "
            "on this machine's CPU (an order of magnitude)",
        ]
    )


def ablation_summary(ablation: Ablation, outcome: Outcome, files: Sequence[Path]) -> str:
    """What an ablation did, for machines."""
    what = {"axis": ablation.name, "folder": str(ablation.folder), "files": [str(file) for file in files]}
    return json.dumps({**what, **asdict(outcome)}, indent=1)


def _refuse_set_twice(name: AxisName, axis: Axis, request: Request) -> None:
    """The axis decides on its own field; what the user fixed would be lost without a word."""
    for change in request.changes:
        if axis.kind == "setting" and change.partition("=")[0].rpartition(".")[2] == axis.field:
            raise BadInput(f"--set {change}: --axis {name} changes this setting; name its values by --values")
    if axis.kind == "init" and request.init is not None:
        raise BadInput(f"--init {request.init}: --axis init changes it; name its values by --values")
    if axis.kind == "task" and request.task != DEFAULT_TASK:
        raise BadInput(f"--task {request.task}: --axis {name} changes it; name its tasks by --values")


def _refuse_same_name(tasks: Sequence[str]) -> None:
    for number, task in enumerate(tasks):
        if task in tasks[:number]:
            raise BadInput(f"--values: two tasks are named {task}; give each its own `name`, or name one of them once")


def _setting_values(
    name: AxisName, axis: Axis, values: Sequence[str], model: str, adapter: type[Baseline]
) -> list[str]:
    """The values as the setting itself prints them, each once, all of them possible."""
    known = adapter.Settings.model_fields
    if axis.field not in known:
        raise BadInput(f"--axis {name}: {model} has no setting {axis.field!r}; choose another --model")
    found = []
    for value in values or axis.values or get_args(known[axis.field].annotation):
        try:
            found.append(str(getattr(adapter.Settings(**{axis.field: value}), axis.field)))
        except ValidationError as error:
            raise BadInput(f"--values {value}: {first_complaint(error, list(known))}") from error
    return list(dict.fromkeys(found))


def _inits(
    values: Sequence[str], request: Request, adapter: type[Baseline], cache: Path, progress: Progress
) -> tuple[list[str], list[str]]:
    """The initial weights to compare, and a line for each that is left out because its file is not here."""
    model = request.models[0]
    if not adapter.inits:
        raise BadInput(f"--axis init: {model} has no network, so no initial weights; choose another --model")
    for value in values:
        if value not in get_args(Init):
            raise BadInput(f"--values {value}: no such initial weights; use some of {', '.join(get_args(Init))}")
    if values:
        return list(dict.fromkeys(values)), []
    session = open_session(replace(request, init="random"), cache, progress)
    method = session.methods[0]
    if method.scale.size == "tiny":
        return ["random"], ["--axis init: only random weights exist at --size tiny; use --size base for the others"]
    wanted, notices = ["random"], []
    for init in adapter.inits:
        baseline = adapter(method.settings, Scale(method.scale.size, init, method.scale.window_s))
        published = baseline.published if isinstance(baseline, Loads) else None
        if published is None or find(published, weights_folder(request.weights, cache)):
            wanted.append(init)
        else:
            notices.append(
                f"--axis init: {init} is left out, since its weights are not here; get them by `seizure-bench weights "
                f"fetch {published.name}`"
            )
    return list(dict.fromkeys(wanted)), notices


def _point(axis: Axis, value: str, session: Session, folder: Path) -> Point:
    """A value with its session, which is to write into the ablation's folder."""
    task = session.card.task
    session = replace(session, folder=RunFolder(folder / task.name))
    if axis.kind == "task":
        return Point(task.name, task.sph_s + task.sop_s, session)
    numeric = isinstance(getattr(session.methods[0].settings, axis.field, None), float)
    return Point(value, float(value) if numeric else None, session)


def _claim(name: AxisName, axis: Axis, session: Session) -> dict[str, Any]:
    """What all rows of an ablation have in common: another one may not be written into the same folder."""
    method, card = session.methods[0], session.card
    common = {
        "axis": name,
        "model": method.name,
        "settings": method.settings.model_dump(mode="json", exclude={axis.field} if axis.kind == "setting" else set()),
        "size": method.scale.size,
        "init": "-" if axis.kind == "init" else method.scale.init,
        "protocol": card.protocol.model_dump(mode="json"),
        "manifest": card.data.manifest,
        "seed": card.seed,
        "split": card.split,
        "stage1": method.stage1.card.weights if method.stage1 else "-",
    }
    shown = {"window_s": card.task.window_s, "onset_type": card.task.onset_type}
    return common | (shown if axis.kind == "task" else {"task": card.task.model_dump(mode="json")})


def _folder_name(name: AxisName, axis: Axis, session: Session) -> str:
    claim, card = _claim(name, axis, session), session.card
    of = "horizons" if axis.kind == "task" else card.task.name
    where = card.data.name if card.split == "evaluate" else f"{card.data.name}-{card.split}"
    return f"ablate-{name}-{session.methods[0].name}-{where}-{of}-{digest_of(claim)[:8]}"


def _missing_parts(point: Point) -> list[str]:
    """A line for each part of the value's mix that the data have no clip of; BadInput if there is no clip at all."""
    method, data = point.session.methods[0], point.session.data
    baseline = method.make()
    if method.stage1 or not isinstance(baseline, Pretrains):
        return []
    drawn = data.stage1_draw(baseline.mix)
    if drawn.counts and not drawn.windows:
        raise BadInput(
            f"--values {point.value}: {data.manifest.root} has no clip of mix {drawn.mix}'s kinds; leave it out, or "
            "set recordings aside by `split` = pretrain in recordings.tsv"
        )
    return [f"mix {drawn.mix}: {count.in_words()}" for count in drawn.counts if not count.drawn]


def _refuse_stranger(folder: Path, claim: dict[str, Any]) -> None:
    path = folder / CLAIM
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out {folder}: is a file; name a folder")
    if not path.is_file():
        strangers = [name.name for name in folder.iterdir()] if folder.is_dir() else []
        if strangers:
            raise BadInput(
                f"--out {folder}: is neither empty nor an ablation ({min(strangers)} is there); choose another --out"
            )
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: is not JSON ({error}); choose another --out") from error
    different = sorted(key for key in claim if not isinstance(there, dict) or there.get(key) != claim[key])
    if different:
        raise BadInput(f"--out {folder}: holds another ablation (its {different[0]} differs); choose another --out")
