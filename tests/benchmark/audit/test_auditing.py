"""`audit` on a small data set: what it says, what it says it could not look at, and what it refuses."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_leaky_manifest, read_manifest
from benchmark.progress import Progress
from benchmark.run.auditing import PROBES, AuditRequest, audit, cheap_findings
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task
from tests.benchmark.conftest import RUN, run_cli
from tests.conftest import FPS, SIDE, make_data_set
from tests.damage import again, cell, column, cut, no_rows, restamp

QUIET = Progress(quiet=True)


def wandering(name: str, seconds: float, seizure: tuple[float, float] | None) -> Iterator[np.ndarray]:
    """A square that goes its own way in each recording, in a room of its own: frames (SIDE, SIDE, 3) uint8."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    back = rng.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    stops = rng.uniform(0, SIDE - 12, (60, 2))
    for t in np.arange(round(seconds * FPS)) / FPS:
        top, left = (int(np.interp(t, np.arange(60) * 1.5, stops[:, axis])) for axis in (0, 1))
        image = back.copy()
        image[top : top + 12, left : left + 12] = 220
        yield image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, short_task: str) -> Path:
    """`small`, a data set without twins, and `run`, a run of `chance` on it."""
    folder = tmp_path_factory.mktemp("audited")
    make_data_set(folder / "small", scene=wandering)
    command = RUN.replace("motion_energy", "chance")
    assert run_cli(command.format(data=folder / "small", task=short_task, out=folder / "run")) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(made, tmp_path / "here")


def audited(here: Path, task: str, cache: Path, run: Path | None = None):
    return audit(AuditRequest(data=here / "small", run=run, task=task, permutations=200), cache, QUIET)


def leaks(found) -> list[str]:
    """Names of all findings but the cues: every seizure of this small set begins at the same second."""
    return [finding.name for finding in found.findings if not finding.name.startswith("label-from")]


def test_a_run_brings_its_own_task_and_what_it_cannot_tell_is_said(here, short_task, cache):
    alone = audited(here, short_task, cache)
    with_run = audited(here, "forecast_60s", cache, here / "run")
    assert leaks(alone) == leaks(with_run) == []
    assert any("no --run" in line for line in alone.unchecked)
    assert any(all(probe in line for probe in PROBES) for line in with_run.unchecked)
    assert f"--model {','.join(PROBES)}" in alone.next_steps[0]
    assert with_run.next_steps == ()


def test_several_faults_of_the_tables_are_all_named_where_run_refuses_at_the_first(here, short_task, cache):
    """p1r0 gets the video of p0r0, p2 is written in two ways, p3r1 is set aside for stage 1."""
    digest = read_manifest(here / "small").recordings.set_index("recording_id")["sha256"]["p0r0"]
    cell("recordings", 4, "path", "videos/p0r0.mp4")(here)
    cell("recordings", 4, "sha256", digest)(here)
    cell("recordings", 6, "subject_id", "P2")(here)
    aside = dict.fromkeys(("p3r1", "m0r0", "m0r1", "m1r0", "m1r1"), "pretrain")
    column("recordings", "split", aside, otherwise="evaluate")(here)
    with pytest.raises(BadInput):
        read_manifest(here / "small")
    found = audited(here, short_task, cache)
    assert leaks(found) == [
        "file-across-split",
        "pretraining-patient-in-test",
        "subject-across-split",
        "session-across-split",
    ]
    assert "HARD file-across-split: " in found.text
    assert f"sha256 {digest[:12]}: p0r0 of p0, p1r0 of p1 (evaluate)" in found.text
    assert [f["name"] for f in json.loads(found.to_json)["findings"]] == [f.name for f in found.findings]


def test_a_row_that_is_wrong_in_itself_is_still_bad_input(here, short_task, cache):
    again("recordings", 2, subject_id="p9")(here)
    with pytest.raises(BadInput, match="recording id 'p0r0' stands twice"):
        audited(here, short_task, cache)


def test_a_video_that_is_not_the_one_of_its_row_is_bad_input(here, short_task, cache):
    cut(here / "small" / "videos" / "m0r0.mp4")
    with pytest.raises(BadInput, match=r"m0r0\.mp4.* has changed"):
        audited(here, short_task, cache)


def test_an_unreadable_video_is_told_and_the_others_are_looked_at(here, short_task, cache):
    (here / "small" / "videos" / "m0r0.mp4").write_bytes(b"no video at all")
    restamp(here / "small")
    found = audited(here, short_task, cache)
    assert any(line.startswith("video of m0r0: not a video") for line in found.unchecked)
    assert any(line.startswith("11 videos") for line in found.checked)


def test_without_seizures_the_tables_are_still_audited(here, short_task, cache):
    no_rows("events")(here)
    found = audited(here, short_task, cache)
    assert found.findings == ()
    assert any("one class" in line for line in found.unchecked)


def test_a_run_of_other_data_is_refused(here, short_task, cache):
    cell("recordings", 2, "recording_id", "other")(here)
    cell("events", 2, "recording_id", "other")(here)
    cell("annotated_intervals", 2, "recording_id", "other")(here)
    with pytest.raises(BadInput, match=r"p0r0@.* does not hold"):
        audited(here, short_task, cache, here / "run")


def test_a_run_with_permuted_labels_is_held_against_the_onsets_by_its_own_labels(here, short_task, cache):
    shutil.rmtree(here / "run")
    assert not run_cli(
        f"run --model chance --shots 1 --episodes 2 --permute-labels --seed 3 --quiet --data {here / 'small'} "
        f"--task {short_task} --out {here / 'run'}"
    )
    found = audited(here, short_task, cache, here / "run")
    assert leaks(found) == []


def test_cheap_findings_come_from_tables_alone(here, short_task, cache, tmp_path):
    cell("events", 2, "onset_type", "eeg")(here)
    shutil.rmtree(here / "small" / "videos")
    data = TaskData(
        read_leaky_manifest(here / "small"),
        load_task(short_task),
        load_protocol("patient_disjoint"),
        0,
        open_stores(tmp_path / "own"),
        tmp_path / "own",
    )
    assert [(f.name, f.severity) for f in cheap_findings(data)] == [("onset-types-mixed", "soft")]
