"""What the scripts of this folder share: the machine in a line, sides that take turns, their medians and ratio.

A round is one turn of every side; who begins changes from round to round, so that neither drift of the machine nor
warm caches favour one. A ratio is taken within each round.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmark.baseline import Size
from benchmark.data.clips import ClipRef
from benchmark.data.decode import read_frames
from benchmark.data.encode import write_video
from benchmark.files import cache_folder
from benchmark.progress import Progress
from benchmark.run.session import Request, Session, open_session

Turn = Callable[[int], float]  # the number of the round -> seconds


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(threads: int, libraries: Sequence[str] = ("torch",)) -> str:
    """What the figures hold for; a load near 0 says that nothing else ran."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return f"machine: {cpu}, {cores()} cores, {threads} threads, load before {os.getloadavg()[0]:.1f}; {versions}"


def alternate(sides: dict[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Seconds of every turn of every side."""
    names = list(sides)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(sides[name](number))
        found = ", ".join(f"{name} {seconds[name][-1]:.3g} s" for name in names)
        print(f"round {number + 1} of {rounds}: {found}", file=sys.stderr, flush=True)
    return seconds


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and in brackets least and most."""
    least, middle, most = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({least} to {most})"


def ratio(above: Sequence[float], below: Sequence[float], digits: int = 2) -> str:
    """Of two sides' seconds, round by round."""
    return spread([a / b for a, b in zip(above, below, strict=True)], digits)


def demo_session(
    model: str, out: Path, shots: Sequence[int], episodes: int, size: Size = "tiny", changes: Sequence[str] = ()
) -> Session:
    """A run on the demo set from random weights, planned as `run` does; rendered first where it is not in the cache."""
    request = Request(
        models=[model],
        shots=shots,
        task="forecast_5s",
        protocol="patient_disjoint",
        out=out,
        episodes=episodes,
        size=size,
        init="random",
        changes=changes,
    )
    return open_session(request, cache_folder(), Progress(quiet=True))


def refs_of(session: Session) -> dict[str, ClipRef]:
    """Every clip of the session's episodes, by its id: where in which video it lies."""
    data = session.data
    sets = [clips for e in session.episodes for clips in (data.query(e, None), data.support(e, None))]
    return {ref.clip_id: ref for clips in sets for ref in clips.refs}


def clip_files(session: Session, folder: Path) -> dict[str, Path]:
    """Each clip's window as an MP4 of its own at the recording's rate, as the loaders of other libraries want them."""
    files: dict[str, Path] = {}
    for name, ref in refs_of(session).items():
        files[name] = folder / f"{len(files):03d}.mp4"
        request, fps = ref.request, dict(ref.facts)["fps"]
        count = round((request.end_s - request.start_s) * fps)
        times = request.start_s + (np.arange(count, dtype=np.float64) + 0.5) / fps
        write_video(files[name], read_frames(request.path, times), Fraction(fps).limit_denominator(1001), quality=18)
    return files
