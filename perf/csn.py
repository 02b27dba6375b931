"""CSN few-shot, ours against MMAction2's own training loop: `python -m perf.csn`.

Both sides train the same network (interaction-preserved CSN at our tiny size, built by MMAction2, random weights) on
the same support clips, 16 frames of 64 x 64, as many epochs, 2 clips a step, Adam, float32 on the CPU, and ask it about
the same query.

    ours        an episode as `run` does it: guards, clips from the store, augmentation, fit, predict, record written
    mmaction2   mmengine's Runner with Recognizer3D, I3DHead and VideoDataset: DecordInit, SampleFrames, DecordDecode,
                Resize, Flip, CenterCrop in the pipeline, so a clip is decoded whenever it is asked for; a Runner an
                episode; `runner.test` once, in batches of our size

In MMAction2's favour: each clip was cut to an MP4 of its own beforehand, no checkpoint is saved, nothing is logged to
files, the query is asked about once instead of every epoch, and loader workers are off (to fork them for 2 steps an
epoch costs more than it gives). RandomResizedCrop of its own configuration is a centre crop.

Left out: mmcv's compiled operators (mmcv-lite has none; this network and pipeline call none), and MMAction2's
schedules, made for 58 or 180 epochs over 8 GPUs: here its rate is constant. Batch norms stay as they are on both sides
(`norm_eval`); ours are measured on the support first. The published size (32 x 224 x 224, 152 layers) is left to
machines with a GPU.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmark.baseline import Input
from benchmark.files import cache_folder
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, prepare, run_unit
from benchmark.run.session import Session
from perf.measure import Turn, alternate, clip_files, cores, demo_session, machine, ratio, spread
from protocols.episodes import Episode

MODEL = "csn"
CHANNELS = 1024  # of the last feature map at tiny: 32 x 2^3 x the expansion of 4


def settings_of(wanted: Input, epochs: int, batch: int, query_batch: int, rate: float) -> dict[str, Any]:
    """MMAction2's configuration of an episode, all but the lists of clips."""
    sampling = wanted.sampling
    load: list[dict[str, Any]] = [
        {"type": "DecordInit"},
        {"type": "SampleFrames", "clip_len": sampling.frames, "frame_interval": 2, "num_clips": 1},
        {"type": "DecordDecode"},
        {"type": "Resize", "scale": (-1, sampling.size)},
    ]
    square: list[dict[str, Any]] = [
        {"type": "CenterCrop", "crop_size": sampling.size},
        {"type": "FormatShape", "input_format": "NCTHW"},
        {"type": "PackActionInputs"},
    ]
    asked = [load[0], {**load[1], "test_mode": True}, *load[2:], *square]

    def loader(pipeline: list[Any], size: int, shuffled: bool) -> dict[str, Any]:
        dataset = {"type": "VideoDataset", "pipeline": pipeline, "test_mode": not shuffled}
        sampler = {"type": "DefaultSampler", "shuffle": shuffled}
        return {"batch_size": size, "num_workers": 0, "dataset": dataset, "sampler": sampler}

    return {
        "train_dataloader": loader([*load, {"type": "Flip", "flip_ratio": 0.5}, *square], batch, True),
        "test_dataloader": loader(asked, query_batch, False),
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": epochs},
        "test_cfg": {"type": "TestLoop"},
        "test_evaluator": {"type": "AccMetric"},
        "optim_wrapper": {"optimizer": {"type": "Adam", "lr": rate}},
        "default_hooks": {"checkpoint": None, "logger": None},
        "default_scope": "mmaction",
        "log_level": "ERROR",
    }


def network_of(wanted: Input) -> dict[str, Any]:
    """The recogniser: the backbone of `baselines/csn.py` at tiny, under MMAction2's own head."""
    import mmaction
    from mmengine.config import Config

    from baselines.csn import CONFIGS

    backbone = Config.fromfile(Path(mmaction.__file__).parent / ".mim" / CONFIGS["ip152"]).model.backbone
    backbone.update(norm_eval=True, bn_frozen=False, depth=50, base_channels=32, stage_blocks=(1, 2, 2, 1))
    return {
        "type": "Recognizer3D",
        "backbone": backbone,
        "cls_head": {
            "type": "I3DHead",
            "num_classes": 2,
            "in_channels": CHANNELS,
            "dropout_ratio": 0.0,
            "average_clips": "prob",
        },
        "data_preprocessor": {
            "type": "ActionDataPreprocessor",
            "mean": [255 * value for value in wanted.mean],
            "std": [255 * value for value in wanted.std],
            "format_shape": "NCTHW",
        },
    }


def write_list(path: Path, clips: tuple[str, ...], files: dict[str, Path], session: Session, episode: Episode) -> str:
    """MMAction2's annotation file: a video and its label a line."""
    label_in = session.data.label_in(episode)
    path.write_text("".join(f"{files[clip]} {label_in[clip]}\n" for clip in clips), encoding="utf-8")
    return str(path)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Each is one episode a shot.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = cores(),
    epochs: int = 20,
) -> None:
    """Print the machine, the work, both sides and their ratio."""
    warnings.simplefilter("ignore")
    logging.getLogger("mmengine").setLevel(logging.ERROR)
    import mmaction.datasets
    import mmaction.engine
    import mmaction.evaluation
    import mmaction.models  # noqa: F401 - each fills a registry
    from mmengine.runner import Runner

    print(machine(threads, ("torch", "mmaction2", "mmengine", "mmcv-lite", "decord")))
    with tempfile.TemporaryDirectory() as temporary:
        folder, shots = Path(temporary), (2, 3, 4)
        session = demo_session(MODEL, folder / "run", shots, rounds + 1, "tiny", [f"epochs={epochs}"])
        data, at = session.data, Machine("cpu", threads, cache_folder())
        ready = prepare(session.methods[0], data, at, Progress(quiet=True), Outcome())
        tuner: Any = ready.baseline.tuner  # type: ignore[attr-defined]
        files, accuracies = clip_files(session, folder), list[float]()
        settings = settings_of(tuner.wanted, epochs, tuner.settings.batch_size, tuner.predict_batch, tuner.rate)

        def ours(number: int) -> float:
            torch.use_deterministic_algorithms(True, warn_only=True)
            began = time.perf_counter()
            for unit in (u for _, u in session.pairs if u.episode == number):
                record = run_unit(ready, unit, session.episode_of[unit.shots, unit.episode], data)
                assert record.predictions, record.error
                session.folder.write(record)
            return time.perf_counter() - began

        def theirs(number: int) -> float:
            torch.use_deterministic_algorithms(False)
            began = time.perf_counter()
            for episode in (e for e in session.episodes if e.index == number):
                name = f"{number}-{episode.shots}"
                for part, clips in (("train", episode.support), ("test", episode.query)):
                    listed = write_list(folder / f"{name}-{part}.txt", clips, files, session, episode)
                    settings[f"{part}_dataloader"]["dataset"]["ann_file"] = listed
                runner = Runner(
                    model=network_of(tuner.wanted),
                    work_dir=str(folder / "mmaction2"),
                    experiment_name=f"{name}-{len(accuracies)}",
                    **settings,
                )
                runner.train()
                accuracies.append(runner.test()["acc/top1"])
            return time.perf_counter() - began

        sides: dict[str, Turn] = {"ours": ours, "mmaction2": theirs}
        for turn in sides.values():
            turn(rounds)  # not measured: in it everybody allocates and compiles
        found = alternate(sides, rounds)
        parameters = sum(p.numel() for p in tuner.network.parameters())
    print(
        f"work: {MODEL} at tiny ({parameters / 1e6:.2f} M parameters), {epochs} epochs, a round is one episode of 2, 3 "
        f"and 4 shots, {len(session.episodes[0].query)} clips asked about; {rounds} rounds"
    )
    for name, seconds in found.items():
        print(f"{name}: {spread([s / len(shots) for s in seconds])} s an episode")
    print(f"mmaction2 / ours: {ratio(found['mmaction2'], found['ours'])}")


if __name__ == "__main__":
    typer.run(main)
