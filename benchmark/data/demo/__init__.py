"""The demo set: rendered patients in bed and rodents in cages, as MP4 files with a manifest (docs/demo_set.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmark.data.demo.design import DEMO_VERSION, complete_design
from benchmark.data.demo.render import render

__all__ = ["DEMO_VERSION", "render_demo"]


def render_demo(out: Path, *, workers: int = 2, progress: Callable[[int, int], None] | None = None) -> None:
    """Render the whole set into the new folder `out` (about a minute on two cores); same bytes for any `workers`.

    `progress` is called with (done, total) after each recording.
    Raises:
        BadInput: `out` is there already and is not an empty folder.
    """
    render(complete_design(), out, workers=workers, progress=progress)
