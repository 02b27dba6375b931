"""Real processes, really killed: the run goes on where it stopped, and ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KILLS = 20
MODELS = "motion_features,human_only,zero_shot"
SETTINGS = ["--set", "epochs=1", "--set", "stage1_epochs=2"]


def start(data_set: Path, task: str, out: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmark.cli", "run", "--model", MODELS, "--shots", "1,2", "--episodes", "8"]
    where = ["--task", task, "--data", str(data_set), "--out", str(out), "--threads", "1", "--device", "cpu"]
    return subprocess.Popen(
        [*command, *where, *SETTINGS],
        env={**os.environ, "SEIZURE_BENCH_CACHE": str(cache)},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def has_ended(process: subprocess.Popen[str], within_s: float) -> bool:
    try:
        process.wait(timeout=within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> bool:
    """Wait for the condition or the end of the process; True if it has ended."""
    while not condition():
        if has_ended(process, 0.005):
            return True
    return False


def units(out: Path) -> dict[Path, tuple[int, int]]:
    """Finished units: inode and time of change tell whether one was ever written again."""
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (out / "units").glob("[!.]*.json")}


@pytest.fixture(scope="module")
def undisturbed(data_set, short_task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = finish(start(data_set, short_task, folder / "run", folder / "cache"))
    assert code == 0, err
    return folder / "run"


def test_killed_at_20_random_moments_ends_with_the_same_bytes_and_no_unit_twice(
    undisturbed, data_set, short_task, tmp_path
):
    """Each kill waits for a random number of new units (or none: decoding, stage 1), then for a random moment more."""
    out, cache, moments = tmp_path / "run", tmp_path / "cache", random.Random(7)
    finished: dict[Path, tuple[int, int]] = {}
    killed = 0
    while killed < KILLS:
        process = start(data_set, short_task, out, cache)
        target = len(finished) + moments.choice([0, 1, 1, 2])
        ended = wait_until(process, lambda: len(units(out)) >= target)  # noqa: B023
        pause = moments.uniform(0, 3.0 if target == len(finished) else 0.2)
        if ended or has_ended(process, pause):
            break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        killed += 1
        now = units(out)
        assert all(now[path] == stamp for path, stamp in finished.items())
        finished = now
    assert killed == KILLS
    assert finished
    code, _, err = finish(start(data_set, short_task, out, cache))
    assert code == 0, err
    last = units(out)
    assert all(last[path] == stamp for path, stamp in finished.items())
    for name in ("predictions.csv", "episodes.json", "clips.csv", "run.json"):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes()


def test_two_runs_at_once_on_one_folder_leave_the_same_bytes(undisturbed, data_set, short_task, tmp_path):
    pair = [start(data_set, short_task, tmp_path / "run", tmp_path / "cache") for _ in range(2)]
    ends = sorted(finish(process) for process in pair)
    assert ends[0][0] == 0
    assert ends[1][0] == 0 or (ends[1][0] == 2 and "another run is writing here" in ends[1][2])
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (undisturbed / "predictions.csv").read_bytes()


def test_two_runs_at_once_on_two_folders_share_one_cache(undisturbed, data_set, short_task, tmp_path):
    pair = [start(data_set, short_task, tmp_path / name, tmp_path / "cache") for name in ("a", "b")]
    assert [finish(process)[0] for process in pair] == [0, 0]
    for name in ("a", "b"):
        assert (tmp_path / name / "predictions.csv").read_bytes() == (undisturbed / "predictions.csv").read_bytes()


def test_ctrl_c_ends_with_a_sentence_and_keeps_finished_units(data_set, short_task, tmp_path):
    process = start(data_set, short_task, tmp_path / "run", tmp_path / "cache")
    wait_until(process, lambda: bool(units(tmp_path / "run")))
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "what is finished is kept" in err
    assert "Traceback" not in err
    assert units(tmp_path / "run")
