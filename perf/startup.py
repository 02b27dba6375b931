"""How long commands take that compute nothing or little, process start included: `python -m perf.startup`.

    python        the interpreter that does nothing: no command can be faster
    torch         the interpreter that imports torch: what a command would cost at least if it did so needlessly
    --help, list, run --dry-run, score      as users type them; `score` reads a run of two methods on the demo set
    leaderboard   of `submissions/`, into an empty cache (scored and tested anew) and again

Files are in the system's cache: the first round, not counted, reads them. For a thousand submissions: `perf/board.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from perf.measure import alternate, cores, machine, ratio, spread

ROOT = Path(__file__).parents[1]
CLI = ("-m", "benchmark.cli")
RUN = ("run", "--model", "chance,clip_metadata", "--episodes", "20", "--quiet")


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of every command.")] = cores(),
) -> None:
    """Print the machine, the work, every command's seconds and its ratio to the bare interpreter."""
    here = dict(os.environ) | {"OMP_NUM_THREADS": str(threads)}
    print(machine(threads))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        out, caches = folder / "run", iter(range(10**6))

        def side(*words: str, cache: Callable[[], Path] | None = None) -> Callable[[int], float]:
            def turn(_: int) -> float:
                environment = here | ({"SEIZURE_BENCH_CACHE": str(cache())} if cache else {})
                began = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                return time.perf_counter() - began

            return turn

        def fresh() -> Path:
            return folder / f"cache-{next(caches)}"

        board = (*CLI, "leaderboard", "submissions", "--quiet", "--out", str(folder / "board"))
        sides = {
            "python": side("-c", "pass"),
            "torch": side("-c", "import torch"),
            "--help": side(*CLI, "--help"),
            "list": side(*CLI, "list"),
            "run --dry-run": side(*CLI, *RUN, "--dry-run", "--out", str(folder / "dry")),
            "score": side(*CLI, "score", str(out)),
            "leaderboard, first": side(*board, cache=fresh),
            "leaderboard, again": side(*board, cache=lambda: folder / "kept"),
        }
        side(*CLI, *RUN, "--out", str(out))(0)
        for turn in sides.values():
            turn(0)
        found = alternate(sides, rounds)
    count = sum(path.is_dir() for path in (ROOT / "submissions").iterdir())
    print(f"work: whole commands; the board has {count} submissions; {rounds} rounds")
    for name, seconds in found.items():
        print(f"{name}: {spread(seconds)} s, {ratio(seconds, found['python'], 1)} x python")


if __name__ == "__main__":
    typer.run(main)
