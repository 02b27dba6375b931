"""How long the board takes for many submissions, first and again: `python perf/board.py --count 1000`.

Every submission has 2,400 predictions: 40 clips in each of 20 episodes at 2, 3 and 4 shots; all are on one track. First
all are scored and all pairs tested; again, in a process of its own, both come from the cache. `again` is what a reader
of the repository waits for.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
PROGRAM = "benchmark.cli"


def main(
    count: Annotated[int, typer.Option(min=2, help="Submissions.")] = 1000,
    folder: Annotated[Path | None, typer.Option(help="Make and keep them there; default: a temporary folder.")] = None,
) -> None:
    """Print machine, work, seconds and peak memory."""
    with tempfile.TemporaryDirectory() as temporary:
        work = folder or Path(temporary)
        submissions, begun = work / "submissions", time.perf_counter()
        if not submissions.is_dir():
            _make(submissions, count)
        size = sum(path.stat().st_size for path in submissions.rglob("*.gz"))
        said = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
            "submissions": count,
            "pairs": count * (count - 1) // 2,
            "predictions, packed MB": round(size / 1e6, 1),
            "making them, s": round(time.perf_counter() - begun, 1),
        }
        for name in ("first", "again"):
            said |= {f"{name}: {what}": figure for what, figure in _board(work, submissions, name).items()}
        told = "the same bytes" if _bytes(work / "first") == _bytes(work / "again") else "OTHER BYTES"
        print(json.dumps(said | {"first and again": told}, indent=1))


def _make(submissions: Path, count: int) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.benchmark.submission.synthetic import write_submissions

    submissions.mkdir(parents=True)
    write_submissions(submissions, count, scored_claims=False)


def _board(work: Path, submissions: Path, name: str) -> dict[str, float]:
    """Seconds and peak memory of the whole command, the program's start included."""
    environment = os.environ | {"SEIZURE_BENCH_CACHE": str(work / "cache")}
    command = [sys.executable, "-m", PROGRAM, "leaderboard", str(submissions), "--out", str(work / name), "--quiet"]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"s": round(seconds, 1), "s of a processor": round(busy, 1), "peak MB so far": round(after.ru_maxrss / 1e3)}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    typer.run(main)
