"""`assert_refused(case)`: do the harm, give the command, and hold the program to its promise about bad input."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark import cli
from benchmark.files import sha256_of
from tests.damage import Harm

RUN = "run --model motion_energy --shots 1 --episodes 2 --size tiny --quiet --data {data} --task {task} --out {out}"


@dataclass(frozen=True)
class Case:
    """A command that must be refused. Of `thing` and `remedy` each part between … must be said, in this order."""

    command: str
    thing: str
    remedy: str
    harm: Harm = lambda here: None


@pytest.fixture(scope="session")
def finished_run(data_set: Path, short_task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `chance`, two episodes; tests that change it work on a copy."""
    out = tmp_path_factory.mktemp("runs") / "run"
    command = RUN.replace("motion_energy", "chance").format(data=data_set, task=short_task, out=out)
    assert run_cli(command) == 0
    return out


@pytest.fixture
def here(tmp_path: Path, data_set: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `tests.damage`, also the working directory."""
    shutil.copytree(data_set, tmp_path / "small")
    shutil.copytree(finished_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def assert_refused(
    here: Path, short_task: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[Case], str]:
    """Check that a case is refused with code 2 and one sentence, and that nothing at all was written."""

    def check(case: Case) -> str:
        case.harm(here)
        before = content_of(here)
        capsys.readouterr()
        code = run_cli(case.command.format(data=here / "small", task=short_task, out=here / "out", run=here / "run"))
        said = capsys.readouterr()
        assert_one_sentence(code, said.out, said.err)
        assert_says(said.err, f"{case.thing}…{case.remedy}")
        assert content_of(here) == before, "something was written"
        assert not list(cache.rglob("*.tmp"))
        return said.err

    return check


def run_cli(command: str) -> int:
    """Give a command to `seizure-bench` in this process; its exit code."""
    argv, sys.argv = sys.argv, ["seizure-bench", *shlex.split(command)]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = argv
    return 0


def assert_one_sentence(code: int, out: str, err: str) -> None:
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1, err
    assert len(err) < 1000


def assert_says(sentence: str, parts: str) -> None:
    at = 0
    for part in map(str.strip, parts.split("…")):
        assert part in sentence[at:], f"{part!r} is not said (there) in: {sentence}"
        at = sentence.index(part, at) + len(part)


def content_of(folder: Path) -> dict[str, str]:
    """Every file, folder and link below, with what is in it."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else sha256_of(path)
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }
