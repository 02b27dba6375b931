"""Train stage 1 by accelerate: on one CPU, one GPU, or many under `torchrun`, with the same masks and numbers.

    step -> the clips of its batch -> of each a view and a tube mask, drawn from (seed, epoch, clip) alone
         -> this process's share -> one loss a clip -> their mean over the whole batch -> Adam

Nothing random is carried from step to step: all draws are made from their names, and the network has no dropout. So a
checkpoint is weights, optimiser and a step number, and a training that was killed goes on bit for bit.

    checkpoints/step-00000120/   config.json and model.safetensors (`from_pretrained` reads them), training.pt
    losses.csv, losses.png, reconstruction.png, config.json, model.safetensors     when all steps are done
"""

from __future__ import annotations

import errno
import math
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from pydantic import Field
from safetensors import SafetensorError
from torch.utils.data import DataLoader
from transformers import VideoMAEForPreTraining

from baselines.common.finetune import precision_on, rate_share
from baselines.common.weights import load_strictly, read_state
from baselines.videomae import pictures
from baselines.videomae.agenda import Agenda, Batch, ClipSource, Share, Steps, split_held_out, stacked
from baselines.videomae.encoder import VideoMAESettings, all_tokens, in_todays_names
from baselines.videomae.step import Reconstruction
from benchmark.baseline import Context, Input, Site
from benchmark.data.dataset import PretrainClips
from benchmark.files import replacing, write_atomically
from tasks.errors import BadInput

MixName = Literal["base", "+H", "+R(Y)", "+R(N)", "+R(Y/N)", "+R(Y/N)+H"]
LOOK_EVERY_S = 10.0  # a look at the loss waits for the GPU
READ_AHEAD = 4  # processes beside a GPU; on a CPU they would take cores from the step
SHOWN = 4  # clips in a picture
STEP, STATE = "step-", "training.pt"
AGAIN = "remove the folder `checkpoints` and train again"


class Stage1Settings(VideoMAESettings):
    """The paper gives mix, mask ratio, optimiser (Adam) and rate; it names no schedule, epochs or batch size."""

    mix: MixName = Field(default="+R(Y/N)+H", description="clips: R rodent, Y seizure, N normal, H human; base: none")
    mask_ratio: float = Field(default=0.3, gt=0, lt=1)
    stage1_epochs: int = Field(default=20, ge=1, le=100_000)
    stage1_lr: float = Field(default=1e-4, gt=0, le=1)
    stage1_batch_size: int = Field(default=16, ge=1, le=65_536, description="clips a step, over all processes")
    stage1_accumulation: int = Field(default=1, ge=1, le=4096, description="parts in which a process computes a step")
    stage1_schedule: Literal["constant", "cosine"] = "constant"
    stage1_warmup: float = Field(default=0.0, ge=0, le=1, description="share of the steps over which the rate climbs")
    stage1_precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: 16-bit on a GPU (bf16 where it has it), fp32 on a CPU"
    )
    stage1_checkpointing: bool = Field(default=False, description="recompute activations instead of keeping them")
    stage1_compile: bool = Field(default=False, description="torch.compile: minutes at the start, then faster steps")
    stage1_held_out: float = Field(default=0.0, ge=0, lt=1, description="share of the clips kept to watch the loss on")
    norm_pix_loss: bool = Field(default=True, description="normalise each target patch, as upstream does")


@dataclass
class Curve:
    """What was seen so far: the mean loss of each step, and (step, mean loss) of the held-out clips."""

    losses: list[float] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)


def train(
    network: VideoMAEForPreTraining,
    clips: PretrainClips,
    settings: Stage1Settings,
    wanted: Input,
    context: Context,
    site: Site,
) -> dict[str, Any]:
    """Train `network` on `clips` into `site.folder`; facts for the checkpoint's card.

    Raises:
        BadInput: the loss is no longer finite, nothing is left to train on, or the tracker is not installed.
    """
    with _device(context.device):
        training = Training(network, clips, settings, context, site)
        training.run()
        training.finish(clips, wanted)
        return training.facts(clips)


class Training:
    """One process of a training: all hold the same weights, only the main one writes. `train` runs it whole."""

    def __init__(
        self,
        network: VideoMAEForPreTraining,
        clips: PretrainClips,
        settings: Stage1Settings,
        context: Context,
        site: Site,
    ) -> None:
        self.network, self.settings, self.context, self.site = network, settings, context, site
        self.precision = precision_on(settings.stage1_precision, context.device)
        self.accelerator = _accelerator(self.precision, settings, context, site)
        training, self.watched = split_held_out(len(clips), settings.stage1_held_out, context.seed)
        if not training:
            raise BadInput(f"--set stage1_held_out={settings.stage1_held_out:g} leaves no clip to train on; lower it")
        if self.precision == "fp16" and context.device == "cpu":
            raise BadInput("--set stage1_precision=fp16 needs a GPU; use bf16 or fp32")
        self.agenda = Agenda(training, settings.stage1_epochs, settings.stage1_batch_size, context.seed)
        slots = network.config.num_frames // network.config.tubelet_size
        patches = all_tokens(network.config) // slots
        self.source = ClipSource(clips, settings.mask_ratio, slots, patches, context.seed)
        self.curve, self.start = Curve(), 0
        self.pending: list[torch.Tensor] = []
        self._prepare()

    def run(self) -> None:
        """All steps that are left."""
        agenda = self.agenda
        looked = saved = time.monotonic()
        if self.start == 0:
            self._watch(0)
        track = self.context.progress.track("stage 1 (clips)", agenda.clips_before(agenda.steps))
        with _between_steps() as stopped, track as advance:
            for step, batches in enumerate(self.loader(), self.start):
                self.step(step, batches)
                done, now = step + 1, time.monotonic()
                stop, due = stopped(), now - saved >= self.site.save_every_s
                save = self.accelerator.is_main_process and (stop or due)
                if done % agenda.steps_per_epoch == 0:
                    self._watch(done)
                if save or done == agenda.steps or now - looked >= LOOK_EVERY_S:
                    self.look()
                    looked = now
                if save and (stop or done < agenda.steps):
                    self._save(done)
                    saved = time.monotonic()
                advance(agenda.clips_before(done))
                if stop:
                    return

    def finish(self, clips: PretrainClips, wanted: Input) -> None:
        """Weights, curve and pictures. The newest checkpoint stays: the harness has yet to write its card."""
        if self.accelerator.is_main_process:
            self._write_all(clips, wanted)
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.wait_for_everyone()

    def facts(self, clips: PretrainClips) -> dict[str, Any]:
        """For the card."""
        return {
            "precision": self.precision,
            "processes": self.accelerator.num_processes,
            "steps": self.agenda.steps,
            "loss_first_epoch": float(np.mean(self.curve.losses[: self.agenda.steps_per_epoch])),
            "loss_last_epoch": float(np.mean(self.curve.losses[-self.agenda.steps_per_epoch :])),
            "held_out": [[step, loss] for step, loss in self.curve.held_out],
            "held_out_clips": [clips.ids[sample] for sample in self.watched],
        }

    def _prepare(self) -> None:
        """Model and optimiser, from the newest checkpoint where there is one."""
        settings = self.settings
        if self.accelerator.is_main_process:
            for left in (self.site.folder / "checkpoints").glob(".*"):  # by a call that was killed
                shutil.rmtree(left, ignore_errors=True)
        newest = _newest(self.site.folder)
        saved = _restored(self.network, newest) if newest else None
        self.reconstruction = Reconstruction(
            self.network, settings.stage1_checkpointing, settings.stage1_compile
        ).train()
        optimiser = torch.optim.Adam(self.reconstruction.parameters(), lr=settings.stage1_lr, fused=True)
        self.model, self.optimiser = self.accelerator.prepare(self.reconstruction, optimiser)
        if saved:
            self.optimiser.load_state_dict(saved["optimiser"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(saved["scaler"])
            self.curve = Curve(saved["losses"], [(step, loss) for step, loss in saved["held_out"]])
            self.start = saved["step"]
        self.accelerator.wait_for_everyone()  # none may save before all have read

    def loader(self) -> DataLoader[list[Batch]]:
        """This process's part of every step that is left."""
        settings, processes = self.settings, self.accelerator.num_processes
        on_gpu = self.context.device.startswith("cuda")
        parts = settings.stage1_accumulation
        fixed = -(-settings.stage1_batch_size // (processes * parts)) if settings.stage1_compile else None
        share = Share(self.accelerator.process_index, processes, parts, fixed)
        return DataLoader(
            Steps(self.source, self.agenda, share),
            batch_size=None,
            sampler=range(self.start, self.agenda.steps),
            num_workers=(READ_AHEAD if on_gpu else 0) if self.site.workers is None else self.site.workers,
            pin_memory=on_gpu,
        )

    def step(self, step: int, batches: Sequence[Batch]) -> None:
        """One step of the optimiser; its loss stays on the device until someone looks."""
        settings, accelerator = self.settings, self.accelerator
        share = rate_share(step / self.agenda.steps, settings.stage1_warmup, settings.stage1_schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.stage1_lr * share
        # DDP averages over processes and accelerate over parts; the weights already make a mean over the batch.
        undo = accelerator.num_processes * settings.stage1_accumulation
        total = torch.zeros((), device=accelerator.device)
        for batch in batches:
            frames, masked, weights = batch
            frames, weights = (part.to(accelerator.device, non_blocking=True) for part in (frames, weights))
            with accelerator.accumulate(self.model):
                loss = (self.model(frames, masked, self.source.masked) * weights).sum()
                accelerator.backward(loss * undo)
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)
            total += loss.detach()
        self.pending.append(accelerator.reduce(total, reduction="sum"))

    def look(self) -> None:
        """Fetch the losses from the device, which waits for it; show them to the tracker.

        Raises:
            BadInput: one is not finite.
        """
        losses = [loss.item() for loss in self.pending]
        self.pending = []
        for loss in losses:
            step = len(self.curve.losses)
            if not math.isfinite(loss):
                raise BadInput(
                    f"stage 1: the loss of step {step} is {loss}; lower stage1_lr, raise stage1_warmup, or use "
                    "--set stage1_precision=fp32"
                )
            self.curve.losses.append(loss)
            self.accelerator.log({"loss": loss}, step=step)

    @torch.no_grad()
    def _watch(self, step: int) -> None:
        """The mean loss of the held-out clips, each process taking its share of them."""
        if not self.watched:
            return
        accelerator = self.accelerator
        mine = self.watched[accelerator.process_index :: accelerator.num_processes]
        total = torch.zeros((), device=accelerator.device)
        for first in range(0, len(mine), self.settings.stage1_batch_size):
            pairs = [self.source.held_out(sample) for sample in mine[first : first + self.settings.stage1_batch_size]]
            frames, masked = stacked(pairs)
            with accelerator.autocast():
                total += self.reconstruction(frames.to(accelerator.device), masked, self.source.masked).sum()
        loss = accelerator.reduce(total, reduction="sum").item() / len(self.watched)
        self.curve.held_out.append((step, loss))
        accelerator.log({"held_out_loss": loss}, step=step)

    def _save(self, step: int) -> None:
        """A checkpoint in one rename; those that it makes needless go afterwards."""
        folder = self.site.folder / "checkpoints"
        scaler = self.accelerator.scaler
        state = {
            "step": step,
            "optimiser": self.optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "losses": self.curve.losses,
            "held_out": [list(pair) for pair in self.curve.held_out],
        }
        with replacing(folder / f"{STEP}{step:08d}") as temporary, _in_a_sentence(folder):
            self.network.save_pretrained(temporary)
            torch.save(state, temporary / STATE)
        for old in _checkpoints(self.site.folder)[: -max(self.site.keep, 1)]:
            gone = old.with_name(f".{old.name}.old")
            os.replace(old, gone)  # else a kill could leave half of it under its name
            shutil.rmtree(gone)

    def _write_all(self, clips: PretrainClips, wanted: Input) -> None:
        folder = self.site.folder
        shown = [i for i in (self.watched or self.agenda.samples) if i in set(self.site.shown)][:SHOWN]
        write_atomically(folder / "losses.csv", _table(self.curve, self.agenda, self.settings))
        pictures.loss_curve(folder / "losses.png", self.curve.losses, self.curve.held_out, self.agenda.steps_per_epoch)
        if shown:
            views, masks = zip(*(self.source.held_out(sample) for sample in shown), strict=True)
            names = [clips.ids[sample] for sample in shown]
            pictures.reconstructions(folder / "reconstruction.png", self.network, views, masks, names, wanted)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".final.") as temporary, _in_a_sentence(folder):
            self.network.save_pretrained(temporary)
            for name in ("model.safetensors", "config.json"):
                with replacing(folder / name) as whole:
                    os.replace(Path(temporary) / name, whole)


@contextmanager
def _in_a_sentence(folder: Path) -> Iterator[None]:
    """A full disk, which safetensors and torch report as errors of their own, as what it is."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise OSError(errno.EIO, f"weights cannot be written ({str(error).splitlines()[0][:120]})", folder) from error


@contextmanager
def _between_steps() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C and SIGTERM back until a step is whole; yields whether one came. A second Ctrl-C is not held."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def hold(number: int, frame: Any) -> None:
        came.append(number)
        signal.signal(number, before[number] or signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if came:
        signal.raise_signal(came[0])


def _accelerator(precision: str, settings: Stage1Settings, context: Context, site: Site) -> Accelerator:
    if site.tracker is not None and not _installed(site.tracker):
        raise BadInput(
            f"--track {site.tracker}: it is not installed here; `pip install {site.tracker}`, or leave it out"
        )
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")  # accelerate knows no other yet
    AcceleratorState._reset_state()  # else a second training in this process could not have another precision
    accelerator = Accelerator(
        cpu=context.device == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        gradient_accumulation_steps=settings.stage1_accumulation,
        log_with=site.tracker,
        project_dir=site.folder,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )
    if site.tracker:
        accelerator.init_trackers("seizure-bench-stage1", config=settings.model_dump(mode="json"))
    return accelerator


def _installed(tracker: str) -> bool:
    return tracker == "tensorboard" or find_spec(tracker) is not None


def _device(device: str) -> AbstractContextManager[Any]:
    """`cuda:1` for accelerate, which takes the current GPU of a single process."""
    return torch.cuda.device(device) if device.startswith("cuda:") else nullcontext()


def _checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, the newest last."""
    return sorted((folder / "checkpoints").glob(f"{STEP}*"))


def _newest(folder: Path) -> Path | None:
    return next(reversed(_checkpoints(folder)), None)


def _restored(network: VideoMAEForPreTraining, saved: Path) -> dict[str, Any]:
    """Put the weights of a checkpoint into the network; the rest of its state. Nothing in it is executed."""
    weights = saved / "model.safetensors"
    load_strictly(network, in_todays_names(read_state(weights, remedy=AGAIN), weights, AGAIN), weights, remedy=AGAIN)
    try:
        state: dict[str, Any] = torch.load(saved / STATE, map_location="cpu", weights_only=True)
        if state["step"] != int(saved.name.removeprefix(STEP)):
            raise ValueError(f"it is of step {state['step']}")
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise BadInput(
            f"{saved / STATE}: cannot be gone on from ({str(error).splitlines()[0][:120]}); {AGAIN}"
        ) from error
    return state


def _table(curve: Curve, agenda: Agenda, settings: Stage1Settings) -> str:
    """losses.csv: one row a step; the held-out loss stands where it was measured, after that many steps."""
    watched = dict(curve.held_out)
    rows = ["step,epoch,lr,loss,held_out_loss_before"]
    for step, loss in enumerate([*curve.losses, None]):
        rate = settings.stage1_lr * rate_share(step / agenda.steps, settings.stage1_warmup, settings.stage1_schedule)
        cells = [step, step // agenda.steps_per_epoch, repr(rate), "" if loss is None else repr(loss)]
        seen = repr(watched[step]) if step in watched else ""
        if loss is not None or seen:
            rows.append(",".join(map(str, [*cells, seen])))
    return "\n".join(rows) + "\n"
