"""How fast stage 1 trains: our step, transformers' model in a plain loop, and that model in transformers' Trainer.

    python perf/pretrain.py                      base, batch 2, bf16, ratio 0.3, on this machine
    python perf/pretrain.py --count              FLOP and bytes alone, nothing is run

All sides read the same clips, in one process. They take turns, a few steps each, and the turns rotate, so that
whatever else the machine does meets all of them; a ratio is that of two sides of one round. `data` is our data path
without a step: memory map -> uint8 batch on the device, and masks. MFU is the FLOP that the loss needs (`step_flop`,
the same for all three) over the time and over the best matrix product seen on this machine at this precision.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
import transformers
import typer
from numpy.typing import NDArray
from transformers import Trainer, TrainerCallback, TrainingArguments, VideoMAEConfig, VideoMAEForPreTraining

from baselines.common.batches import to_batch
from baselines.videomae.encoder import all_tokens, videomae_config, videomae_input
from baselines.videomae.masking import tube_mask
from baselines.videomae.pretrain import Stage1Settings, Training
from baselines.videomae.step import step_flop, stock_flop
from benchmark.baseline import Context, Scale, Site
from benchmark.data.stage1 import PretrainClips
from benchmark.files import cache_folder
from benchmark.progress import Progress

PAPER_CLIPS = 7822  # 2,952 + 3,000 rodent, 1,870 human: arXiv 2603.12887
SMALL = {"image_size": 160, "hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6}
SMALL |= {"intermediate_size": 1536, "decoder_hidden_size": 192, "decoder_num_hidden_layers": 2}
SMALL |= {"decoder_num_attention_heads": 3, "decoder_intermediate_size": 768}

Size = Literal["tiny", "small", "base"]
Precision = Literal["fp32", "bf16"]
Turn = Callable[[int], float]  # steps -> seconds


@lru_cache
def config_of(size: Size) -> VideoMAEConfig:
    """Small lies between the benchmark's two sizes."""
    if size == "small":
        return VideoMAEConfig(use_mean_pooling=False, attn_implementation="sdpa", **SMALL)
    return videomae_config(Scale(size, "random", 3.0))


@dataclass(frozen=True)
class Case:
    """What is measured."""

    size: Size
    batch: int
    ratio: float
    precision: Precision
    device: str
    compiled: bool

    def config(self) -> VideoMAEConfig:
        """Of the network."""
        return config_of(self.size)

    def network(self) -> VideoMAEForPreTraining:
        """The same weights for every side."""
        torch.manual_seed(0)
        return VideoMAEForPreTraining(self.config()).train().to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 by autocast, as accelerate does it."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.precision == "bf16")

    def mask(self, sample: int) -> torch.Tensor:
        """A mask (tokens,)."""
        config = self.config()
        slots = config.num_frames // config.tubelet_size
        return torch.from_numpy(tube_mask(self.ratio, slots, all_tokens(config) // slots, 0, 0, sample))

    def wait(self) -> None:
        """A GPU's clock is read when its work is done."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)


def find_clips(case: Case, folder: Path, wanted: int) -> tuple[list[Path], str]:
    """Clips (V, T, S, S, 3) that the frame store has in this shape, or else noise, written to `folder`."""
    config = case.config()
    shape = (config.num_frames, config.image_size, config.image_size, 3)
    stored = sorted((cache_folder() / "frames").glob("??/*.npy"))
    fitting = [path for path in stored if np.load(path, mmap_mode="r", allow_pickle=False).shape[1:] == shape]
    if len(fitting) >= wanted:
        return fitting[:wanted], f"{wanted} rendered clips of the frame store"
    made = []
    for number in range(wanted):
        made.append(folder / f"{number:04}.npy")
        np.save(made[-1], np.random.default_rng(number).integers(0, 256, (1, *shape), dtype=np.uint8))
    return made, f"{wanted} clips of noise (the frame store has {len(fitting)} of this shape)"


def opened(path: Path) -> NDArray[np.uint8]:
    """A clip's first view (T, S, S, 3), read when it is used: as `FrameStore.open`."""
    return np.load(path, mmap_mode="r", allow_pickle=False)[0]


@dataclass(frozen=True)
class ReadyClips:
    """Clips as the trainer takes them: by key, opened when they are used."""

    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def frame_keys(self) -> list[str]:
        """One a clip."""
        return [str(path) for path in self.paths]

    @property
    def stores(self) -> Any:
        """`stores.frames.open(key)`: views (V, T, S, S, 3)."""
        return SimpleNamespace(frames=SimpleNamespace(open=lambda key: np.load(key, mmap_mode="r", allow_pickle=False)))


def our_training(case: Case, clips: list[Path], folder: Path) -> Training:
    """What `seizure-bench pretrain` runs: accelerate, Reconstruction, fused Adam, DataLoader over memory maps."""
    settings = Stage1Settings(
        mask_ratio=case.ratio,
        stage1_epochs=100_000,
        stage1_batch_size=case.batch,
        stage1_precision=case.precision,
        stage1_compile=case.compiled,
    )
    context = Context(0, case.device, torch.get_num_threads(), folder, None, no_more, no_more, Progress(quiet=True))
    site = Site(folder, workers=loader_workers(case))
    return Training(case.network(), cast(PretrainClips, ReadyClips(clips)), settings, context, site)


def no_more(*_: Any) -> Any:
    """The trainer asks the harness for nothing while it trains."""
    raise NotImplementedError


def our_turn(case: Case, clips: list[Path], folder: Path) -> Turn:
    """The trainer's own step; the loss is read when the turn ends."""
    training = our_training(case, clips, folder / "ours")
    steps = enumerate(training.loader())

    def turn(many: int) -> float:
        began = time.perf_counter()
        for _ in range(many):
            training.step(*next(steps))
        training.look()
        return time.perf_counter() - began

    return turn


class Pixels(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Normalised clips and masks, as the model wants them: what a user of transformers writes."""

    def __init__(self, case: Case, clips: list[Path]) -> None:
        self.case, self.clips = case, clips
        self.input = videomae_input(Scale("base", "random", 3.0), "last")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        pixels = to_batch([opened(self.clips[sample])], self.input, "cpu")[0]
        return {"pixel_values": pixels, "bool_masked_pos": self.case.mask(sample)}


def loader_workers(case: Case) -> int:
    """On a GPU the CPU's cores are free to prepare clips; on a CPU a worker would take a core from the step."""
    return min(8, os.cpu_count() or 1) if case.device.startswith("cuda") else 0


def stock_turn(case: Case, clips: list[Path]) -> Turn:
    """A plain loop: DataLoader, autocast, Adam as it comes, and the loss read in each step."""
    network = case.network()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    on_gpu, workers = case.device.startswith("cuda"), loader_workers(case)

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        loader = torch.utils.data.DataLoader(
            Pixels(case, clips),
            batch_size=case.batch,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=on_gpu,
        )
        while True:
            yield from loader

    endless = batches()

    def turn(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            batch = {name: part.to(case.device, non_blocking=True) for name, part in next(endless).items()}
            optimiser.zero_grad()
            with case.autocast():
                loss = network(**batch).loss
            loss.backward()
            optimiser.step()
            _check(loss.item())
        case.wait()
        return time.perf_counter() - began

    return turn


class Clock(TrainerCallback):
    """Seconds from the end of the first step to the end of the last."""

    def __init__(self, case: Case) -> None:
        self.case, self.began, self.ended = case, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step in (1, state.max_steps):
            self.case.wait()
            self.began, self.ended = self.ended, time.perf_counter()


def trainer_turn(case: Case, clips: list[Path], folder: Path) -> Turn:
    """transformers' Trainer. One step of a turn is not timed: in it the Trainer sets itself up."""
    network = case.network()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    clock = Clock(case)

    def turn(steps: int) -> float:
        arguments = TrainingArguments(
            output_dir=str(folder / "trainer"),
            per_device_train_batch_size=case.batch,
            max_steps=steps + 1,
            bf16=case.precision == "bf16",
            use_cpu=case.device == "cpu",
            max_grad_norm=0.0,  # the others clip no gradients
            dataloader_num_workers=loader_workers(case),
            dataloader_drop_last=True,
            lr_scheduler_type="constant",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(
            network, arguments, train_dataset=Pixels(case, clips), optimizers=(optimiser, None), callbacks=[clock]
        )
        trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
        trainer.train()
        network.zero_grad(set_to_none=True)
        return clock.ended - clock.began

    return turn


def data_turn(case: Case, clips: list[Path], folder: Path) -> Turn:
    """Our data path alone: memory map -> uint8 batch on the device, and masks."""
    batches = iter(our_training(case, clips, folder / "data").loader())

    def turn(many: int) -> float:
        began = time.perf_counter()
        for _ in range(many):
            for frames, _masks, _weights in next(batches):
                frames.to(case.device, non_blocking=True)
        case.wait()
        return time.perf_counter() - began

    return turn


def matmul_peak(case: Case) -> float:
    """FLOP/s of the best of some square products: what this machine gives at this precision."""
    side = 8192 if case.device.startswith("cuda") else 2048
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=case.device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(12):
        case.wait()
        began = time.perf_counter()
        left @ right
        case.wait()
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def measure(case: Case, clips: list[Path], folder: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Seconds of every turn of every side, the first steps (compilation among them) apart."""
    sides = {
        "ours": our_turn(case, clips, folder),
        "stock": stock_turn(case, clips),
        "trainer": trainer_turn(case, clips, folder),
        "data": data_turn(case, clips, folder),
    }
    first = {}
    for name, turn in sides.items():
        began = time.perf_counter()
        turn(1)
        first[name] = time.perf_counter() - began
        turn(2)  # allocators and oneDNN's kernels
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peak = matmul_peak(case)
    names = list(sides)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            many = 100 * steps if name == "data" else steps
            seconds[name].append(sides[name](many) / many)
        peak = max(peak, matmul_peak(case))
        say(f"round {number + 1} of {rounds}: " + ", ".join(f"{n} {seconds[n][-1]:.3g} s a step" for n in names))
    return {"first_step_s": first, "step_s": seconds, "matmul_flop_per_s": peak}


def summary(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """Clips/s (median, least, most), MFU and the ratios of each round."""
    seconds, peak = found["step_s"], found["matmul_flop_per_s"]
    useful = step_flop(case.config(), case.ratio).training * case.batch
    rows = {}
    for name, times in seconds.items():
        rates = [case.batch / time for time in times]
        rows[name] = {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}
        if name != "data":
            rows[name]["mfu"] = useful / min(times) / peak

    def ratio(slower: str, faster: str) -> dict[str, float]:
        each = [a / b for a, b in zip(seconds[slower], seconds[faster], strict=True)]
        return {"median": statistics.median(each), "least": min(each), "most": max(each)}

    return {
        "clips_per_s": rows,
        "ours_over_stock": ratio("stock", "ours"),
        "ours_over_trainer": ratio("trainer", "ours"),
        "data_over_ours": ratio("ours", "data"),
        "first_step_extra_s": found["first_step_s"]["ours"] - min(seconds["ours"]),
        "step_floor_s": useful / peak,
        "matmul_flop_per_s": peak,
        "peak_memory_gb": memory_gb(case),
    }


def memory_gb(case: Case) -> float:
    """Of all sides together."""
    if case.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(case.device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def machine(case: Case) -> dict[str, Any]:
    """What the figures hold for."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name(case.device) if case.device.startswith("cuda") else None
    return {
        "cpu": names[0] if names else platform.processor(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "gpu": gpu,
        "torch": version("torch"),
        "transformers": version("transformers"),
    }


def counts(config: VideoMAEConfig) -> str:
    """FLOP by mask ratio, ours and transformers', as a Markdown table; bytes below."""
    lines = [
        "| mask ratio | visible | masked | forward, stock (GMAC) | forward, ours (GMAC) | training, stock (TFLOP) "
        "| training, ours (TFLOP) | epoch of 7,822 clips (PFLOP) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for ratio in (0.9, 0.75, 0.5, 0.3, 0.1):
        ours, stock = step_flop(config, ratio), stock_flop(config, ratio)
        slots = config.num_frames // config.tubelet_size
        hidden = slots * int(ratio * all_tokens(config) // slots)
        lines.append(
            f"| {ratio} | {all_tokens(config) - hidden} | {hidden} | {stock.forward / 2e9:.1f} "
            f"| {ours.forward / 2e9:.1f} | {stock.training / 1e12:.3f} | {ours.training / 1e12:.3f} "
            f"| {ours.training * PAPER_CLIPS / 1e15:.2f} |"
        )
    values = config.num_frames * config.image_size**2 * 3
    with torch.device("meta"):
        parameters = sum(p.numel() for p in VideoMAEForPreTraining(config).parameters())
    lines += [
        "",
        f"A clip: {values / 1e6:.2f} MB as uint8, {4 * values / 1e6:.2f} MB as float32; 7,822 clips: "
        f"{values * PAPER_CLIPS / 1e9:.1f} GB. {parameters / 1e6:.1f} M parameters: {16 * parameters / 1e9:.2f} GB "
        "of weights, gradients and Adam's two moments in float32.",
    ]
    return "\n".join(lines)


def say(line: str) -> None:
    """Progress goes beside the result."""
    print(line, file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> str:
    """The result for a person."""
    case, at, found = result["case"], result["machine"], result["found"]
    where = (
        at["gpu"] or f"{at['cpu']} ({at['isa']}), {at['threads']} threads of {at['cores']} cores, load {at['load']:.1f}"
    )
    lines = [
        f"{where}; torch {at['torch']}, transformers {at['transformers']}",
        f"{case['size']}, batch {case['batch']}, {case['precision']}, mask ratio {case['ratio']}, "
        f"{'compiled' if case['compiled'] else 'not compiled'}; {result['clips']}",
        f"matrix product {found['matmul_flop_per_s'] / 1e9:.0f} GFLOP/s: no step under {found['step_floor_s']:.3g} s; "
        f"peak memory {found['peak_memory_gb']:.1f} GB (all sides)",
        "",
        "side       clips/s  (least - most)        MFU",
    ]
    for name, row in found["clips_per_s"].items():
        share = f"{row['mfu']:6.1%}" if "mfu" in row else ""
        lines.append(f"{name:8}{row['median']:10.3f}  ({row['least']:.3f} - {row['most']:.3f})   {share}")
    for name in ("ours_over_stock", "ours_over_trainer", "data_over_ours"):
        row = found[name]
        lines.append(f"{name.replace('_', ' '):18}{row['median']:8.2f}  ({row['least']:.2f} - {row['most']:.2f})")
    lines.append(f"first step of ours (compilation): {found['first_step_extra_s']:.1f} s more than the others")
    return "\n".join(lines)


def _check(loss: float) -> None:
    if not np.isfinite(loss):
        raise SystemExit(f"the loss is {loss}: nothing was measured")


def main(
    size: Annotated[Size, typer.Option(help="the network")] = "base",
    batch: Annotated[int, typer.Option(min=1, help="clips a step")] = 2,
    ratio: Annotated[float, typer.Option(min=0.01, max=0.99, help="share of the patches that is masked")] = 0.3,
    precision: Annotated[Precision, typer.Option(help="bf16 by autocast, or fp32")] = "bf16",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    steps: Annotated[int, typer.Option(min=1, help="steps a turn")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each side")] = 5,
    clips: Annotated[int, typer.Option(min=1, help="clips to read")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="of torch, on the CPU")] = os.cpu_count() or 1,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="our side (default: not at tiny)")
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="print FLOP and bytes, run nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure stage 1 (see the top of this file)."""
    torch.set_num_threads(threads)
    case = Case(size, batch, ratio, precision, device, size != "tiny" if compiled is None else compiled)
    if count:
        print(counts(case.config()))
        return
    if clips < batch:
        raise SystemExit(f"--clips {clips} are fewer than a batch; ask for at least {batch}")
    with tempfile.TemporaryDirectory() as folder:
        paths, described = find_clips(case, Path(folder), clips)
        say(described)
        result = {
            "case": asdict(case),
            "machine": machine(case),
            "clips": described,
            "found": summary(case, measure(case, paths, Path(folder), steps, rounds)),
        }
    print(json.dumps(result, indent=1) if as_json else report(result))


if __name__ == "__main__":
    typer.run(main)
