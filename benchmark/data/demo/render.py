"""Plans to files: draw block by block, encode, and write the manifest once every recording is there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.data.demo.design import DEMO_VERSION, SOURCE_DATASET, Plan, generator
from benchmark.data.demo.drawing import Pixels, paint
from benchmark.data.demo.rodents import cage
from benchmark.data.demo.rooms import bedroom
from benchmark.data.encode import write_video
from benchmark.data.manifest import EVENT_COLUMNS, INTERVAL_COLUMNS, RECORDING_COLUMNS, write_manifest
from benchmark.files import replacing, sha256_of
from tasks.errors import BadInput

BLOCK = 8  # frames drawn at once: more would leave the processor's cache
NOISE_MARGIN, NOISE_IMAGES = 48, 4
README = f"""{SOURCE_DATASET}, version {DEMO_VERSION}

These videos are a rendering: no person, patient or animal is shown in them. They test that a benchmark runs; a score on
them says nothing about seizures. Design: docs/demo_set.md of seizure-bench. Licence: Apache-2.0.
"""


def render(
    plans: Sequence[Plan], out: Path, *, workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> None:
    """Render plans into the new folder `out`, which appears complete or not at all.

    `progress` is called with (done, total) after each recording. The files do not depend on `workers`.
    Raises:
        BadInput: `out` is there already and is not an empty folder.
    """
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if out.exists():
        raise BadInput(f"{out}: already exists and is not empty; remove it or name another folder")
    with replacing(out) as folder:
        (folder / "videos").mkdir(parents=True)
        digests: dict[str, str] = {}
        for recording_id, digest in _each_rendered(plans, folder, workers):
            digests[recording_id] = digest
            if progress is not None:
                progress(len(digests), len(plans))
        (folder / "README.txt").write_text(README, encoding="utf-8")
        write_manifest(folder, *tables(plans, digests))


def _each_rendered(plans: Sequence[Plan], folder: Path, workers: int) -> Iterator[tuple[str, str]]:
    if workers <= 1:
        yield from (render_recording(plan, folder) for plan in plans)
        return
    # Spawned, not forked: the caller may have threads or a GPU open. Longest first, so that both finish together.
    longest_first = sorted(plans, key=lambda plan: -plan.frames * plan.width * plan.height)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(render_recording, plan, folder) for plan in longest_first]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def render_recording(plan: Plan, folder: Path) -> tuple[str, str]:
    """Draw and encode one recording; return its id and its file's sha256."""
    path = folder / video_path(plan)
    write_video(path, draw_frames(plan), plan.fps)
    return plan.recording_id, sha256_of(path)


def video_path(plan: Plan) -> str:
    """Where a recording's file lies in the folder of the set."""
    return f"videos/{plan.recording_id}.mp4"


def draw_frames(plan: Plan) -> Iterator[NDArray[np.uint8]]:
    """The frames of a recording, (H, W, 3) uint8 RGB, as its camera delivers them."""
    footage = bedroom(plan) if plan.species == "human" else cage(plan)
    noise = _Noise(plan, footage.noise)
    gain = footage.gain.astype(np.float32)
    for first in range(0, plan.frames, BLOCK):
        count = min(BLOCK, plan.frames - first)
        block: Pixels = np.repeat(footage.background[None], count, axis=0)
        for stroke in footage.strokes:
            paint(block, stroke, first)
        for index, image in enumerate(block):
            image *= footage.vignette * gain[first + index]
            image += noise.next()
            np.clip(image, 0, 255, out=image)
            yield np.moveaxis(np.broadcast_to(image, (3, *image.shape[1:])), 0, -1).astype(np.uint8, order="C")


class _Noise:
    """Sensor noise: random cut-outs of a few large random images, far cheaper than fresh noise for each frame."""

    def __init__(self, plan: Plan, deviation: float) -> None:
        self._random = generator(plan.recording_id, "noise")
        self._height, self._width = plan.height, plan.width
        shape = (NOISE_IMAGES, 1 if plan.night else 3, plan.height + NOISE_MARGIN, plan.width + NOISE_MARGIN)
        self._images = (deviation * self._random.standard_normal(shape)).astype(np.float32)

    def next(self) -> Pixels:
        y, x = self._random.integers(0, NOISE_MARGIN, 2)
        image = self._images[self._random.integers(NOISE_IMAGES)]
        return image[:, y : y + self._height, x : x + self._width]


def tables(plans: Sequence[Plan], digests: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The manifest's three tables for rendered plans; `digests` gives each file's sha256 by recording id."""
    recordings = [_recording_row(plan, digests[plan.recording_id]) for plan in plans]
    events = [_event_row(plan) for plan in plans if plan.seizure is not None]
    watched = [(plan.recording_id, 0.0, plan.duration_s) for plan in plans]
    return (
        pd.DataFrame(recordings, columns=[*RECORDING_COLUMNS, "split"]),
        pd.DataFrame(events, columns=list(EVENT_COLUMNS)),
        pd.DataFrame(watched, columns=list(INTERVAL_COLUMNS)),
    )


def _recording_row(plan: Plan, digest: str) -> dict[str, Any]:
    return {
        "recording_id": plan.recording_id,
        "subject_id": plan.subject_id,
        "species": plan.species,
        "session_id": plan.session_id,
        "site_id": "demo",
        "camera_id": f"cam-{plan.subject_id}",
        "path": video_path(plan),
        "sha256": digest,
        "duration_s": plan.duration_s,
        "fps": float(plan.fps),
        "width": plan.width,
        "height": plan.height,
        "deid_method": "rendered",
        "source_dataset": SOURCE_DATASET,
        "licence": "Apache-2.0",
        "split": plan.split,
    }


def _event_row(plan: Plan) -> dict[str, Any]:
    assert plan.seizure is not None
    return {
        "recording_id": plan.recording_id,
        "onset_s": plan.seizure.onset_s,
        "duration_s": plan.seizure.duration_s,
        "event_type": "sz_foc" if plan.species == "human" else "sz",
        "onset_type": "clinical",
        "annotator_id": "design",
        "confidence": "n/a",
    }
