"""What a fine-tuning episode costs beyond its arithmetic, and how much faster it is than the recipe users would run.

    python -m perf.finetune                 tiny, 20 epochs: ours, the bare loop, transformers' Trainer twice
    python -m perf.finetune --size base     ViT-B, 1 epoch and 4 clips asked about: ours and the bare loop

Every side trains VideoMAE with a linear head from the same random weights, 2 clips a step, Adam, float32 on the CPU.

    ours     an episode as `run` does it: guards, clips from the store, augmentation, fit, predict, record on the disk
    bare     a plain torch loop on float tensors that were augmented and normalised beforehand: the same batches,
             steps and rates, the same batches of the query. Timed are optimiser, steps and forward passes, no more.
             Its scores must equal ours bit by bit, or nothing is reported.
    guide    transformers' own guide to video classification, as its readers run it: `from_pretrained`, `Trainer`, a
             Dataset that decodes a clip with PyAV whenever it is asked for, short side scaled at random, cropped and
             mirrored; after every epoch the clips asked about are scored and the checkpoint is saved. One Trainer an
             episode.
    lean     the same without whatever could be left out: `VideoMAEImageProcessor` for every clip, no augmentation,
             nothing saved, the clips asked about scored once, at the end

In favour of both: each clip was cut to an MP4 of its own beforehand; of a clip only the 16 frames that are needed are
converted, where pytorchvideo converts all (its `data` and `transforms` do not work with today's PyAV and torchvision);
no best checkpoint is loaded, nothing is uploaded, no progress drawn. Against them, as users run it: no workers that
load ahead (the Trainer's default; on cores that are busy computing they gain little).

Ours runs torch's deterministic algorithms, as `run` does; the other sides do not.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import torch
import transformers
import typer
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.transforms import v2
from transformers import (
    Trainer,
    TrainingArguments,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
)

from baselines.common.batches import augmented_batch, batch_of
from baselines.common.finetune import FineTuner, draw_linear, rate_share
from baselines.videomae.encoder import videomae_config
from benchmark.baseline import Size
from benchmark.files import cache_folder
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, Prepared, prepare, run_unit
from benchmark.run.session import Session
from benchmark.run.units import WorkUnit
from perf.measure import Turn, alternate, clip_files, cores, demo_session, machine, ratio, spread
from protocols.episodes import Episode

MODEL, FRAMES = "human_only", 16
Job = tuple[WorkUnit, Episode]


def our_turn(session: Session, ready: Prepared, jobs: list[list[Job]], scores: dict[str, Any]) -> Turn:
    """A turn computes the episodes of its round as `run` does; `scores` gets what they predict, by unit."""

    def turn(number: int) -> float:
        torch.use_deterministic_algorithms(True, warn_only=True)
        began = time.perf_counter()
        for unit, episode in jobs[number]:
            record = run_unit(ready, unit, episode, session.data)
            session.folder.write(record)
            assert record.predictions, record.error
            scores[unit.key] = record.predictions.scores[0]
        return time.perf_counter() - began

    return turn


@dataclass(frozen=True)
class ReadyEpisode:
    """All that a bare loop needs: the network's start, (batch, answers, rate) of each step, the query's batches."""

    start: dict[str, torch.Tensor]
    steps: list[tuple[torch.Tensor, torch.Tensor, float]]
    query: list[torch.Tensor]


def ready_episode(tuner: FineTuner, session: Session, episode: Episode) -> ReadyEpisode:
    """Draw what `FineTuner` would draw from the episode's seed, and put all its batches together."""
    wanted, settings, data = tuner.wanted, tuner.settings, session.data
    support = data.support(episode, wanted.sampling)
    generator = torch.Generator().manual_seed(support.seed)
    tuner.network.load_state_dict(tuner.start)
    draw_linear(tuner.network.head, generator)  # type: ignore[arg-type]
    start = {name: tensor.clone() for name, tensor in tuner.network.state_dict().items()}
    clips, labels = tuner.resident(support), torch.from_numpy(support.labels).float()
    count = settings.epochs * -(-len(clips) // settings.batch_size)
    steps: list[tuple[torch.Tensor, torch.Tensor, float]] = []
    for _ in range(settings.epochs):
        order = torch.randperm(len(clips), generator=generator)
        torch.randint(len(clips[0]), (len(clips),), generator=generator)  # which view: there is one
        for chosen in order.split(settings.batch_size):
            views = [clips[i][0] for i in chosen.tolist()]
            batch = augmented_batch(views, wanted, generator, settings.smallest_crop, settings.flip)
            rate = tuner.rate * rate_share(len(steps) / count, settings.warmup, settings.schedule)
            steps.append((batch, labels[chosen], rate))
    views = [clip[0] for clip in tuner.resident(data.query(episode, wanted.sampling))]
    size = tuner.predict_batch
    return ReadyEpisode(start, steps, [batch_of(views[i : i + size], wanted) for i in range(0, len(views), size)])


def bare_turn(session: Session, tuner: FineTuner, jobs: list[list[Job]], scores: dict[str, Any]) -> Turn:
    """A turn trains and asks the same network on ready tensors; making these, and restoring it, is not timed."""
    network = tuner.network

    def one(ready: ReadyEpisode) -> tuple[float, torch.Tensor]:
        network.load_state_dict(ready.start)
        began = time.perf_counter()
        network.train()
        optimiser = torch.optim.Adam(network.parameters())
        for batch, answers, rate in ready.steps:
            optimiser.param_groups[0]["lr"] = rate
            loss = binary_cross_entropy_with_logits(network(batch), answers)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            found = torch.cat([torch.sigmoid(network(batch)) for batch in ready.query])
        return time.perf_counter() - began, found

    def turn(number: int) -> float:
        torch.use_deterministic_algorithms(False)
        total = 0.0
        for unit, episode in jobs[number]:
            seconds, found = one(ready_episode(tuner, session, episode))
            scores[unit.key] = tuple(found.double().tolist())
            total += seconds
        return total

    return turn


Prepare = Callable[[torch.Tensor], torch.Tensor]  # (16, 3, H, W) uint8 -> what the network takes


class ClipDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Decodes a clip's MP4 with PyAV, all of it, takes 16 frames and prepares them, whenever a clip is asked for."""

    def __init__(self, files: list[Path], labels: list[int], prepare: Prepare) -> None:
        self.files, self.labels, self.prepare = files, labels, prepare

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with av.open(str(self.files[index])) as container:
            frames = list(container.decode(video=0))
        chosen = [frames[i].to_ndarray(format="rgb24") for i in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]
        pixels = self.prepare(torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2))
        return {"pixel_values": pixels, "labels": self.labels[index]}


class RandomShortSideScale(torch.nn.Module):
    """As pytorchvideo's: the short side becomes `least` to `most` pixels."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__()
        self.least, self.most = least, most

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        side = int(torch.randint(self.least, self.most + 1, ()))
        return v2.functional.resize(clip, [side], antialias=False)


def guide_transforms(processor: Any, side: int) -> tuple[Prepare, Prepare]:
    """The guide's, for training and for scoring; its 256 to 320 pixels at side 224, and in proportion at others."""
    common = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(processor.image_mean, processor.image_std)]
    scale = RandomShortSideScale(round(side * 256 / 224), round(side * 320 / 224))
    train = v2.Compose([*common, scale, v2.RandomCrop(side), v2.RandomHorizontalFlip(0.5)])
    return train, v2.Compose([*common, v2.Resize((side, side), antialias=False)])


def by_processor(processor: Any) -> Prepare:
    """transformers' own image processor, clip by clip."""
    return lambda clip: processor(list(clip.permute(0, 2, 3, 1).numpy()), return_tensors="pt")["pixel_values"][0]


def recipe_turn(
    session: Session, tuner: FineTuner, jobs: list[list[Job]], files: dict[str, Path], folder: Path, lean: bool
) -> Turn:
    """A turn gives each episode of its round to a Trainer of its own."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    side = tuner.wanted.sampling.size
    config = videomae_config(session.methods[0].scale)
    config.num_labels = 2
    VideoMAEForVideoClassification(config).save_pretrained(folder / "network")
    edges = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    VideoMAEImageProcessor(**edges).save_pretrained(folder / "network")

    def one(episode: Episode) -> None:
        label_in = session.data.label_in(episode)
        network = VideoMAEForVideoClassification.from_pretrained(folder / "network")
        processor = VideoMAEImageProcessor.from_pretrained(folder / "network")
        transforms = (by_processor(processor),) * 2 if lean else guide_transforms(processor, side)
        support, query = (
            ClipDataset([files[clip] for clip in part], [label_in[clip] for clip in part], prepare)
            for part, prepare in zip((episode.support, episode.query), transforms, strict=True)
        )
        after_each = "no" if lean else "epoch"
        arguments = TrainingArguments(
            output_dir=str(folder / "trainer"),
            num_train_epochs=tuner.settings.epochs,
            per_device_train_batch_size=tuner.settings.batch_size,
            per_device_eval_batch_size=tuner.predict_batch,
            learning_rate=tuner.rate,
            warmup_steps=0.1,
            eval_strategy=after_each,
            save_strategy=after_each,
            save_total_limit=1,
            remove_unused_columns=False,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(network, arguments, train_dataset=support, eval_dataset=query)
        trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
        trainer.train()
        if lean:
            assert np.isfinite(trainer.predict(query).predictions).all()

    def turn(number: int) -> float:
        torch.use_deterministic_algorithms(False)
        began = time.perf_counter()
        for _, episode in jobs[number]:
            one(episode)
        return time.perf_counter() - began

    return turn


def main(
    size: Annotated[Size, typer.Option(help="Of the network.")] = "tiny",
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Each is one episode a shot; default: 3, at base 2.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = cores(),
    epochs: Annotated[int | None, typer.Option(help="Default: 20 at tiny, 1 at base.")] = None,
    shots: Annotated[str, typer.Option(help="Default: 2,3,4 at tiny, 2 at base.")] = "",
    query: Annotated[
        int | None, typer.Option(min=1, help="Clips asked about; default: all at tiny, 4 at base.")
    ] = None,
) -> None:
    """Print the machine, the work, all sides and their ratios."""
    base = size == "base"
    rounds = rounds or (2 if base else 3)
    epochs = (1 if base else 20) if epochs is None else epochs
    many = [int(word) for word in (shots or ("2" if base else "2,3,4")).split(",")]
    print(machine(threads, ("torch", "transformers")))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        session = demo_session(MODEL, folder / "run", many, rounds + 1, size, [f"epochs={epochs}"])
        ready = prepare(session.methods[0], session.data, _cpu(threads), Progress(quiet=True), Outcome())
        tuner = ready.baseline.tuner  # type: ignore[attr-defined]
        asked = query or (4 if base else len(session.episodes[0].query))
        drawn = [(u, session.episode_of[u.shots, u.episode]) for _, u in session.pairs]
        cut = [(u, replace(e, query=e.query[:asked])) for u, e in drawn]
        # The last round is not measured: in it everybody allocates and compiles.
        jobs = [[job for job in cut if job[1].index == number] for number in range(rounds + 1)]
        ours: dict[str, Any] = {}
        bare: dict[str, Any] = {}
        sides = {"ours": our_turn(session, ready, jobs, ours), "bare": bare_turn(session, tuner, jobs, bare)}
        if not base:
            files = clip_files(session, folder)
            sides["guide"] = recipe_turn(session, tuner, jobs, files, folder, lean=False)
            sides["lean"] = recipe_turn(session, tuner, jobs, files, folder, lean=True)
        for turn in sides.values():
            turn(rounds)
        found = alternate(sides, rounds)
    if ours != bare:
        raise SystemExit("the bare loop's scores are not ours: it does other work, and nothing was measured")
    print(
        f"work: {MODEL} at {size}, {epochs} epochs, {tuner.settings.batch_size} clips a step, a round is one episode "
        f"of {' and '.join(map(str, many))} shots, {asked} clips asked about; {rounds} rounds"
    )
    for name, seconds in found.items():
        print(f"{name}: {spread([s / len(many) for s in seconds])} s an episode")
    print(f"ours / bare: {ratio(found['ours'], found['bare'], 3)}; equal scores, bit by bit")
    for recipe in ("guide", "lean") if not base else ():
        print(f"{recipe} / ours: {ratio(found[recipe], found['ours'])}")


def _cpu(threads: int) -> Machine:
    return Machine("cpu", threads, cache_folder())


if __name__ == "__main__":
    typer.run(main)
