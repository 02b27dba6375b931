"""The demo set in the cache: rendered once, found again, cleaned up after a kill. A short design stands in."""

from __future__ import annotations

import pytest

from benchmark.data import demo_cache
from benchmark.data.demo.design import DEMO_VERSION, complete_design
from benchmark.data.demo.render import render
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture
def short_design(monkeypatch):
    """Two rodent clips of 10 s instead of the whole set; drawn and encoded for real."""
    plans = complete_design()[-2:]
    monkeypatch.setattr(demo_cache, "complete_design", lambda: plans)
    monkeypatch.setattr(
        demo_cache, "render_demo", lambda out, workers, progress: render(plans, out, workers=1, progress=progress)
    )


@pytest.mark.usefixtures("short_design")
def test_rendered_once_then_found_and_leftovers_of_a_kill_are_removed(tmp_path):
    leftover = tmp_path / "demo" / f".v{DEMO_VERSION}.0123456789ab.tmp"
    leftover.mkdir(parents=True)
    folder = demo_cache.ensure_demo(tmp_path, QUIET)
    assert len(read_manifest(folder).recordings) == 2
    assert not leftover.exists()
    stamp = (folder / "recordings.tsv").stat().st_mtime_ns
    assert demo_cache.ensure_demo(tmp_path, QUIET) == folder
    assert (folder / "recordings.tsv").stat().st_mtime_ns == stamp
