"""One small data set of real videos for all tests: 4 patients with 2 seizures each, 2 rats, a task that fits them."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.data.encode import write_video
from benchmark.data.manifest import write_manifest
from benchmark.files import sha256_of
from tasks.spec import load_task

FPS, SIDE, LENGTH_S, ONSET_S, SEIZURE_S = 8, 48, 40.0, 20.5, 6.0
PATIENTS, RATS = 4, 2


def moving_noise(name: str, seconds: float, seizure: tuple[float, float] | None) -> Iterator[np.ndarray]:
    """A textured square that drifts, and jerks at 4 Hz in a seizure: frames (SIDE, SIDE, 3) uint8."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    back = rng.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    square = rng.integers(120, 250, (16, 16, 3), dtype=np.uint8)
    for number in range(round(seconds * FPS)):
        t = number / FPS
        jerk = 6 * (number % 2) if seizure and seizure[0] <= t < seizure[1] else 0
        left = int(14 + 6 * np.sin(t / 3) + jerk)
        image = back.copy()
        image[16:32, left : left + 16] = square
        yield image


def sweeping_square(name: str, seconds: float, seizure: tuple[float, float] | None) -> Iterator[np.ndarray]:
    """A bright square on a dark ground that sweeps to the left, and to the right in a seizure, once a second."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    back = rng.integers(20, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    tops, shades = rng.integers(4, SIDE - 20, 100), rng.integers(180, 256, 100)
    for number in range(round(seconds * FPS)):
        t = number / FPS
        sweep, way = divmod(t, 1)
        left = int((SIDE - 16) * (way if seizure and seizure[0] <= t < seizure[1] else 1 - way))
        image = back.copy()
        image[tops[int(sweep)] : tops[int(sweep)] + 16, left : left + 16] = shades[int(sweep)]
        yield image


Scene = Callable[[str, float, tuple[float, float] | None], Iterator[np.ndarray]]


def make_data_set(folder: Path, patients: int = PATIENTS, rats: int = RATS, scene: Scene = moving_noise) -> Path:
    """Write videos and manifest into `folder`."""
    recordings, events, watched = [], [], []
    plans = [(f"p{i}", f"p{i}r{j}", "human", LENGTH_S, (ONSET_S, SEIZURE_S)) for i in range(patients) for j in (0, 1)]
    plans += [(f"m{i}", f"m{i}r{j}", "rat", 10.0, (2.0, 6.0) if j else None) for i in range(rats) for j in (0, 1)]
    for subject, name, species, seconds, event in plans:
        path = folder / "videos" / f"{name}.mp4"
        span = (event[0], event[0] + event[1]) if event else None
        write_video(path, scene(name, seconds, span), Fraction(FPS))
        row = (name, subject, species, "s1", "lab", "c1", f"videos/{name}.mp4", sha256_of(path), seconds)
        recordings.append((*row, FPS, SIDE, SIDE, "none", "test", "CC0"))
        watched.append((name, 0.0, seconds))
        if event:
            events.append((name, *event, "sz", "clinical", "test", "n/a"))
    write_manifest(
        folder,
        pd.DataFrame(
            recordings,
            columns=[
                *("recording_id", "subject_id", "species", "session_id", "site_id", "camera_id", "path", "sha256"),
                *("duration_s", "fps", "width", "height", "deid_method", "source_dataset", "licence"),
            ],
        ),
        pd.DataFrame(
            events,
            columns=[
                *("recording_id", "onset_s", "duration_s", "event_type"),
                *("onset_type", "annotator_id", "confidence"),
            ],
        ),
        pd.DataFrame(watched, columns=["recording_id", "start_s", "end_s"]),
    )
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own; also for the processes they start."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SEIZURE_BENCH_CACHE"] = str(folder)
    os.environ["HF_HUB_CACHE"] = str(folder / "hub")  # nobody's own checkpoints
    os.environ.pop("SEIZURE_BENCH_WEIGHTS", None)
    return folder


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set; tests that change it work on a copy."""
    return make_data_set(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="session")
def short_task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """forecast_5s with windows of 3 s and a gap of 9 s, so that recordings of 40 s hold both classes."""
    path = tmp_path_factory.mktemp("task") / "short.yaml"
    fields = {**load_task("forecast_5s").model_dump(), "name": "short"}
    path.write_text(yaml.safe_dump({**fields, "window_s": 3.0, "min_gap_s": 9.0, "postictal_s": 5.0}))
    return str(path)


def pytest_configure() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and children inherit that; the tests of Ctrl-C need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU only where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
