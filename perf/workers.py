"""How much faster a run is by 2 workers (or more) than by one process: the same command, the same bytes.

    python perf/workers.py                          2 workers, 3 rounds, 1 thread a work unit
    python perf/workers.py --workers 4 --episodes 20

The grid: fine-tuning of tiny networks on the demo set (bound by computing, not by disk or one shared stage 1). Frames
are decoded beforehand. Sides take turns. Seconds are those of the executor (for workers with Ray's start, the workers'
imports and Ray's end) and, in brackets, those of the whole command. `steady` counts from the first record to the last:
what a longer run tends to.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer


def run(folder: Path, workers: int, models: str, episodes: int, epochs: int, threads: int) -> dict[str, Any]:
    """One run into `folder`; its times in seconds."""
    words = f"run --model {models} --shots 2,3,4 --episodes {episodes} --set epochs={epochs} --threads {threads}"
    command = [sys.executable, "-m", "benchmark.cli", *words.split(), "--workers", str(workers), "--device", "cpu"]
    began = time.monotonic()
    done = subprocess.run([*command, "--json", "--quiet", "--out", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    written = sorted(path.stat().st_mtime for path in (folder / "units").glob("[!.]*.json"))
    rate = (len(written) - workers) / (written[-1] - written[workers - 1])
    return {"executor": json.loads(done.stdout)["seconds"], "command": time.monotonic() - began, "rate": rate}


def main(
    workers: Annotated[int, typer.Option(min=2)] = 2,
    models: str = "cnn_lstm,human_only",
    episodes: Annotated[int, typer.Option(help="A shot, of which there are three.")] = 10,
    epochs: int = 10,
    threads: Annotated[int, typer.Option(help="Of a work unit, on both sides.")] = 1,
    rounds: int = 3,
) -> None:
    """Print the machine, the work, both sides and their ratio."""
    cores = len(os.sched_getaffinity(0))
    print(f"machine: {platform.processor() or platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.2f}")
    print(f"work: {models}, shots 2,3,4, {episodes} episodes each, {epochs} epochs, {threads} thread(s) a work unit")
    sides: dict[int, list[dict[str, Any]]] = {1: [], workers: []}
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary) / "warm", 1, models, 1, 0, threads)
        tables = set()
        for number in range(rounds):
            for count, found in sides.items():
                folder = Path(temporary) / f"{number}-{count}"
                found.append(run(folder, count, models, episodes, epochs, threads))
                tables.add((folder / "predictions.csv").read_bytes())
                print(f"round {number + 1}, {count}: {found[-1]['executor']:.1f} s", file=sys.stderr, flush=True)
    median = {
        c: {key: statistics.median(turn[key] for turn in found) for key in found[0]} for c, found in sides.items()
    }
    for count, of in median.items():
        side = f"{count} workers" if count > 1 else "one process"
        print(f"{side}: {of['executor']:.1f} s ({of['command']:.1f} s), steady {of['rate']:.2f} units/s")
    one, many = median[1], median[workers]
    print(f"ratio: {one['executor'] / many['executor']:.2f} ({one['command'] / many['command']:.2f})", end=", ")
    print(f"steady {many['rate'] / one['rate']:.2f}; predictions.csv {'equal' if len(tables) == 1 else 'DIFFERENT'}")


if __name__ == "__main__":
    typer.run(main)
