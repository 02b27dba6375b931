"""The demo set where `run` looks for it: rendered once into the cache, then only read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from filelock import FileLock

from benchmark.data.demo import DEMO_VERSION, render_demo
from benchmark.data.demo.design import complete_design
from benchmark.progress import Progress


def ensure_demo(cache: Path, progress: Progress, out: Path | None = None) -> Path:
    """The folder of the demo set, rendered now unless it is there (into `out`, if given, which must be new).

    A second process that wants the cached one waits for the first.

    Raises:
        BadInput: `out` exists and is not empty.
    """
    if out is not None:
        return _render(out, progress)
    folder = cache / "demo" / f"v{DEMO_VERSION}"
    if not (folder / "recordings.tsv").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not (folder / "recordings.tsv").is_file():
                for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a run that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                progress.say(f"rendering the demo set into {folder}")
                _render(folder, progress)
    return folder


def _render(folder: Path, progress: Progress) -> Path:
    with progress.track("recordings", len(complete_design())) as advance:
        render_demo(folder, workers=min(8, os.cpu_count() or 1), progress=lambda done, _: advance(done))
    return folder
