"""One call of `seizure-bench pretrain`: from what was asked to a folder that anyone can load and `run --stage1` takes.

    request -> method, mix, manifest -> clips drawn, decoded once -> the method's own training -> stage1.json, clips.csv

Under `torchrun` or `accelerate launch` every process comes through here: the first of each machine decodes, the first
of all claims the folder and writes; the folder and the cache must be where all of a machine's processes see them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from benchmark.baseline import Context, Costed, Init, Pretrains, Scale, Site, Size
from benchmark.data.clips import open_stores
from benchmark.data.demo_cache import ensure_demo
from benchmark.data.manifest import Manifest, read_manifest
from benchmark.data.mixes import Mix, draw, load_mix
from benchmark.data.stage1 import PretrainClips, pretrain_clips, stage1_windows
from benchmark.files import write_atomically
from benchmark.progress import Progress
from benchmark.run.execute import Machine, fixed_device, in_time
from benchmark.run.plan import Method, Wanted, matmul_seconds, plan_methods
from benchmark.run.provenance import provenance
from benchmark.run.session import default_size, refuse_device
from benchmark.run.stage1 import CARD, Origin, asked, read_card, refuse_foreign, same_request, showable, train_into
from benchmark.run.units import digest_of
from benchmark.weights.catalogue import weights_folder
from tasks.errors import BadInput

if TYPE_CHECKING:
    from accelerate import PartialState

WAIT = timedelta(days=2)  # for the process that decodes; gloo and NCCL would give up after half an hour
WINDOW_S = 5.0  # of no account to stage 1, which has windows of its own


@dataclass(frozen=True)
class PretrainRequest:
    """What a user asked for. None means: the default of the method or the data."""

    model: str
    mix: str
    data: Path | None = None
    out: Path | None = None
    size: Size | None = None
    init: Init | None = None
    weights: Path | None = None
    changes: Sequence[str] = ()
    seed: int = 0
    save_every_s: float = 120.0
    keep: int = 0
    pictures: Literal["public", "all", "none"] = "public"
    tracker: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Pretraining:
    """Everything decided, nothing computed yet."""

    request: PretrainRequest
    method: Method
    mix: Mix
    manifest: Manifest
    folder: Path
    notices: tuple[str, ...]


def open_pretraining(request: PretrainRequest, cache: Path, progress: Progress) -> Pretraining:
    """Read the data and plan; render the demo set first when no data are named.

    Raises:
        BadInput: anything in the request or the data is wrong, or there is nothing to train.
    """
    mix = load_mix(request.mix)
    if not mix.parts:
        raise BadInput(
            f"--mix {request.mix}: trains nothing, it is the network as it was published; choose another mix"
        )
    folder = weights_folder(request.weights, cache)
    size, notices = default_size(request.size, request.init, request.weights, request.data, folder)
    if any(change.partition("=")[0].rpartition(".")[2] == "mix" for change in request.changes):
        raise BadInput("--set mix: name the mix by --mix")
    (method,) = plan_methods([request.model], request.changes, Wanted(size, request.init, WINDOW_S, folder))
    if not isinstance(method.make(), Pretrains):
        raise BadInput(f"--model {request.model}: has no first stage; xspecies_videomae has one")
    method = method.with_settings(mix=mix.name)
    manifest = read_manifest(request.data if request.data else ensure_demo(cache, progress))
    name = digest_of([method.settings.model_dump(mode="json"), size, method.scale.init, manifest.digest, request.seed])
    default = Path("checkpoints") / f"{request.model}{re.sub('[^A-Za-z0-9]+', '-', '-' + mix.name)}-{name[:8]}"
    out = request.out or default
    refuse_foreign(out)
    return Pretraining(request, method, mix, manifest, out, tuple(notices))


def run_pretraining(plan: Pretraining, machine: Machine, progress: Progress) -> str:
    """Train, or say that it is done already; a line or two for the person who asked.

    Raises:
        BadInput: the folder is another training's or another process's, or the data are at fault.
    """
    if machine.device is not None:
        refuse_device(machine.device, needed=True)
    device = fixed_device(machine, network=True)
    state = _processes(device)
    if not state.is_local_main_process:
        progress = Progress(quiet=True)
    baseline, seed = plan.method.make(), plan.request.seed
    assert isinstance(baseline, Pretrains)
    stores = open_stores(machine.cache)

    def pretraining(sampling: Any, mix: str) -> PretrainClips:
        return pretrain_clips(
            plan.manifest, plan.mix, seed, sampling, stores, machine.cache, machine.threads, progress
        )[0]

    with _held(plan.folder) if state.is_main_process else _nothing():
        with state.local_main_process_first():
            clips = pretraining(baseline.stage1_input.sampling, plan.mix.name)
        origin = Origin(plan.method.scale, plan.method.weights_digest)
        if state.is_main_process:
            same_request(plan.folder, asked(baseline, origin, clips, seed))
            _write_clips(plan.folder, clips)
        state.wait_for_everyone()
        if (plan.folder / CARD).is_file():
            progress.say(f"{plan.folder}: finished before, nothing was done; another --out trains anew")
        else:
            context = Context(
                seed, device, machine.threads, machine.cache, plan.method.weights, pretraining, _no_other, progress
            )
            stamp = {**provenance(device, machine.threads, seed), "weights": plan.method.published}
            site = _site(plan, clips)
            train_into(site, baseline, origin, clips, plan.manifest, context, stamp, writes=state.is_main_process)
        state.wait_for_everyone()
    if state.num_processes > 1:
        state.destroy_process_group()
    return _in_words(plan) if state.is_main_process else ""


def plan_text(plan: Pretraining, as_json: bool) -> str:
    """What would be trained on and roughly how long that takes on this machine's CPU."""
    drawn = draw(plan.mix, stage1_windows(plan.manifest), plan.request.seed)
    baseline = plan.method.make()
    seconds = matmul_seconds(baseline.setup_flop(len(drawn.windows))) if isinstance(baseline, Costed) else None
    if as_json:
        counts = [
            {"asked": c.asked, "drawn": c.drawn, "species": c.species, "seizure": c.seizure} for c in drawn.counts
        ]
        content = {"folder": str(plan.folder), "mix": plan.mix.name, "counts": counts, "seconds": seconds}
        return json.dumps(content | {"settings": dict(baseline.stage1_settings)}, indent=1)  # type: ignore[attr-defined]
    scale: Scale = plan.method.scale
    lines = [
        f"mix {plan.mix.name}: {'; '.join(count.in_words() for count in drawn.counts)}",
        f"{plan.method.name} ({scale.size}, {scale.init}) on {len(drawn.windows)} clips, into {plan.folder}",
    ]
    if seconds is not None:
        lines.append(f"about {in_time(seconds)} on this machine's CPU (an order of magnitude)")
    return "\n".join(lines)


def summary(plan: Pretraining) -> str:
    """What became of it, for machines."""
    return json.dumps({"folder": str(plan.folder), **read_card(plan.folder).model_dump(mode="json")}, indent=1)


def _in_words(plan: Pretraining) -> str:
    card = read_card(plan.folder)
    training = card.training
    first, last = (training.get(key) for key in ("loss_first_epoch", "loss_last_epoch"))
    loss = f"loss {first:.4f} in the first epoch, {last:.4f} in the last" if first is not None else "trained"
    held_out = training.get("held_out") or []
    watched = f"; held out {held_out[0][1]:.4f} before, {held_out[-1][1]:.4f} after" if held_out else ""
    scale = plan.method.scale
    marks = [*(["random-init"] if scale.init == "random" else []), *(["rendered video"] if card.rendered else [])]
    return f"{plan.folder}: {loss}{watched} ({', '.join([scale.size, *marks])})\n  {_next_command(plan)}"


def _next_command(plan: Pretraining) -> str:
    """What to type next, ready for a shell."""
    words = ["seizure-bench", "run", "--model", plan.method.name, "--stage1", str(plan.folder)]
    return shlex.join([*words, *(["--data", str(plan.request.data)] if plan.request.data else [])])


def _site(plan: Pretraining, clips: PretrainClips) -> Site:
    request = plan.request
    every = tuple(range(len(clips)))
    shown = {"public": showable(plan.manifest, clips), "all": every, "none": ()}[request.pictures]
    return Site(plan.folder, request.save_every_s, request.keep, shown, request.tracker, request.workers)


def _write_clips(folder: Path, clips: PretrainClips) -> None:
    """clips.csv: which clips were drawn, for people; the card has them as well."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["clip_id", "subject_id", "species", "seizure"])
    writer.writerows(zip(clips.ids, clips.subjects, clips.species, map(int, clips.seizure), strict=True))
    write_atomically(folder / "clips.csv", text.getvalue())


def _processes(device: str) -> PartialState:
    from accelerate import PartialState

    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    return PartialState(cpu=device == "cpu", **({} if alone else {"timeout": WAIT}))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder. A call that ends in BadInput before anything was trained leaves no trace of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BadInput(
            f"--out {folder}: another process is training here; wait for it or choose another --out"
        ) from error
    new = not (folder / "request.json").is_file()
    try:
        yield
    except BadInput:
        if new and not any((folder / "checkpoints").glob("[!.]*")):
            for name in ("request.json", "clips.csv", ".lock"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it holds something else
                folder.rmdir()
        raise
    finally:
        lock.release()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _no_other(wanting: Pretrains) -> Path:
    raise AssertionError("a first stage has no first stage")
