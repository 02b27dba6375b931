"""`root`: three valid submissions on one track and its reference, copied for each test that may change them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.benchmark.submission.synthetic import Drawn, draw_track, write_submissions


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed."""
    root = tmp_path_factory.mktemp("submissions")
    write_submissions(root, 3)
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "submissions"))


@pytest.fixture
def folder(root: Path) -> Path:
    """One of the submissions under `root`."""
    return root / "made-up-0001"


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """The track of `root`."""
    return draw_track()
