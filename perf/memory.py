"""Whether memory stays flat over 1,000 episodes: `python -m perf.memory`.

Each method runs in a process of its own through `benchmark.run.execute`, as a user's run does, records included.
Told is the resident set after 50 episodes, when everything has been allocated once, and after the last; where it
grew by more than 5%, the exit code is 1. On the demo set with tiny networks: `human_only`, fine-tuned for 1 epoch, and
`linear_probe`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmark.files import cache_folder
from benchmark.progress import Progress
from benchmark.run.execute import Machine, execute
from perf.measure import cores, demo_session, machine

SETTLED, MOST_GROWTH = 50, 0.05
SHOTS = (2, 3, 4)
METHODS = {"human_only": ["epochs=1"], "linear_probe": []}


class Watch(Progress):
    """Says nothing, and notes the resident set (bytes) whenever a work unit is done."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.resident: list[int] = []

    @contextmanager
    def track(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        yield (lambda _: self.resident.append(resident_bytes())) if what == "work units" else (lambda _: None)


def resident_bytes() -> int:
    """Of this process, memory maps included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grow(model: str, episodes: int, threads: int) -> float:
    """Run the episodes, print what was found, and return the growth as a share."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        session = demo_session(model, Path(folder) / "run", SHOTS, -(-episodes // len(SHOTS)), "tiny", METHODS[model])
        pairs, at = session.pairs[:episodes], Machine("cpu", threads, cache_folder())
        began = time.perf_counter()
        outcome = execute(pairs, session.episode_of, session.data, session.folder, at, watch)
        seconds = time.perf_counter() - began
    assert outcome.done == episodes == len(watch.resident), outcome.failed
    early, last = watch.resident[SETTLED - 1], watch.resident[-1]
    growth = last / early - 1
    print(
        f"{model}: {early / 1e6:.1f} MB after {SETTLED} episodes, {last / 1e6:.1f} MB after {episodes}, "
        f"the most {max(watch.resident[SETTLED - 1 :]) / 1e6:.1f} MB: {100 * growth:+.1f}%; {seconds:.0f} s",
        flush=True,
    )
    return growth


def main(
    episodes: Annotated[int, typer.Option(min=SETTLED + 1, help="Of each method.")] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = cores(),
    only: Annotated[str, typer.Option(help="One method, in this process.", hidden=True)] = "",
) -> None:
    """Print the machine, the work, and resident sets; exit with 1 where one grew by more than 5%."""
    if only:
        raise typer.Exit(int(grow(only, episodes, threads) > MOST_GROWTH))
    print(machine(threads), flush=True)
    print(f"work: {episodes} episodes of {', '.join(METHODS)} at tiny, 1 epoch where trained", flush=True)
    words = [sys.executable, "-m", "perf.memory", "--episodes", str(episodes), "--threads", str(threads), "--only"]
    failed = [model for model in METHODS if subprocess.run([*words, model]).returncode]
    print(f"grew by more than {MOST_GROWTH:.0%}: {', '.join(failed) or 'none'}")
    raise typer.Exit(int(bool(failed)))


if __name__ == "__main__":
    typer.run(main)
