"""The acceptance test of `audit`: on the demo set it finds nothing; each fault planted in a copy is found by its name.

The demo set is rendered once, and its videos are looked through once: the copies are hard links and share the cache.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from benchmark.audit.findings import FaultName
from benchmark.data.decode import probe, read_frames
from benchmark.data.demo_cache import ensure_demo
from benchmark.data.encode import write_video
from benchmark.data.manifest import read_leaky_manifest, write_manifest
from benchmark.files import sha256_of
from benchmark.progress import Progress
from benchmark.run.auditing import Audit, AuditRequest, audit
from benchmark.run.execute import Machine
from benchmark.run.records import RunFolder
from benchmark.run.session import Request, open_session, run_session
from benchmark.run.units import Predictions, Record
from tests.benchmark.audit.plants_shortcuts import PLANTS as SHORTCUTS

QUIET = Progress(quiet=True)
Plant = tuple[FaultName, Callable[[Path], None]]  # the fault, and what plants it in a copy of the demo set


def change(folder: Path, recordings=None, events=None, annotated_intervals=None) -> None:
    """Rewrite tables of a manifest, each by its function."""
    manifest = read_leaky_manifest(folder)
    asked = {"recordings": recordings, "events": events, "annotated_intervals": annotated_intervals}
    tables = {name: how(getattr(manifest, name)) if how else getattr(manifest, name) for name, how in asked.items()}
    write_manifest(folder, **tables)


def evaluated(table: pd.DataFrame) -> pd.Series:
    """Rows of the demo's test patients."""
    return table["recording_id"].str.startswith("pt")


def set_cells(table: pd.DataFrame, recording: str, **cells: object) -> pd.DataFrame:
    """The table with some cells of one recording's row."""
    changed = table.set_index("recording_id", drop=False)
    for column, value in cells.items():
        changed.loc[recording, column] = value
    return changed.reset_index(drop=True)


def move_to_another_split(folder: Path) -> None:
    change(folder, recordings=lambda table: set_cells(table, "pt01_s2", split="develop"))


def pretrain_on_a_patient(folder: Path) -> None:
    change(folder, recordings=lambda table: set_cells(table, "pr01_s1", subject_id="pt01"))


def film_two_splits_at_once(folder: Path) -> None:
    change(
        folder,
        recordings=lambda table: set_cells(table, "dv01_s1", site_id="demo", session_id="s1", camera_id="cam-pt01"),
    )


def give_a_video_to_another_patient(folder: Path) -> None:
    """The file of pt01_s1 also stands as dv01_s1, byte for byte."""
    manifest = read_leaky_manifest(folder)
    path = manifest.path_of("dv01_s1")
    path.unlink()
    shutil.copy2(manifest.path_of("pt01_s1"), path)
    row = manifest.recordings.set_index("recording_id").loc["pt01_s1"]
    facts = {name: row[name] for name in ("sha256", "duration_s", "fps", "width", "height")}
    keep = lambda table: table[table["recording_id"] != "dv01_s1"]  # noqa: E731
    change(folder, lambda table: set_cells(table, "dv01_s1", **facts), keep, keep)


def excerpt(folder: Path, name: str, like: str) -> None:
    """35 s of pt01_s1 from 31.3 s on, at 3/4 of its size, 12 frames a second, brighter: a new recording `name` of the
    subject and split of `like`, in which nobody has marked anything."""
    manifest = read_leaky_manifest(folder)
    source, path = manifest.path_of("pt01_s1"), folder / "videos" / f"{name}.mp4"
    write_video(path, smaller(read_frames(source, 31.3 + np.arange(35 * 12) / 12)), Fraction(12), quality=26)
    info = probe(path)
    facts = {"duration_s": info.duration_s, "fps": info.fps, "width": info.width, "height": info.height}
    row = manifest.recordings.set_index("recording_id", drop=False).loc[like].to_dict()
    new = {**row, **facts, "recording_id": name, "path": f"videos/{name}.mp4", "sha256": sha256_of(path)}
    new |= {"session_id": "s9"}
    change(folder, recordings=lambda table: pd.concat([table, pd.DataFrame([new])], ignore_index=True))


def smaller(frames: np.ndarray) -> Iterator[np.ndarray]:
    for frame in frames:
        image = (
            av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(width=96, height=72).to_ndarray(format="rgb24")
        )
        yield np.clip(image * 1.05 + 6, 0, 255).astype(np.uint8)


def mark_some_by_eeg(folder: Path) -> None:
    def eeg(events: pd.DataFrame) -> pd.DataFrame:
        theirs = events["recording_id"].str.startswith(("pt01", "pt02"))
        return events.assign(onset_type=np.where(theirs, "eeg", events["onset_type"]))

    change(folder, events=eeg)


def mark_eeg(folder: Path, before_s: float, lasts_s: float) -> None:
    """Every seizure of pt02 also has an EEG mark, `before_s` before the clinical one."""

    def marked(events: pd.DataFrame) -> pd.DataFrame:
        own = events[events["recording_id"].str.startswith("pt02")]
        eeg = own.assign(onset_s=own["onset_s"] - before_s, duration_s=lasts_s, onset_type="eeg")
        return pd.concat([events, eeg], ignore_index=True)

    change(folder, events=marked)


def cut_all_clips_alike(folder: Path) -> None:
    """Onsets fall on whole seconds, and of the time before them only what lies 8 to 3 s before has been watched."""
    onset_of: dict[str, float] = {}

    def whole(events: pd.DataFrame) -> pd.DataFrame:
        onsets = events["onset_s"].where(~evaluated(events), events["onset_s"].round())
        onset_of.update(zip(events["recording_id"], onsets, strict=True))
        return events.assign(onset_s=onsets)

    def watched(intervals: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for row in intervals.to_dict("records"):
            onset = onset_of.get(row["recording_id"])
            spans = [(row["start_s"], row["end_s"])]
            if onset is not None and row["recording_id"].startswith("pt"):
                spans = [(0.0, onset - 20), (onset - 8, onset - 3), (onset, row["end_s"])]
            rows += [(row["recording_id"], *span) for span in spans if span[1] > span[0]]
        return pd.DataFrame(rows, columns=["recording_id", "start_s", "end_s"])

    change(folder, events=whole)
    change(folder, annotated_intervals=watched)


PLANTS: list[Plant] = [
    ("subject-across-split", move_to_another_split),
    ("pretraining-patient-in-test", pretrain_on_a_patient),
    ("session-across-split", film_two_splits_at_once),
    ("file-across-split", give_a_video_to_another_patient),
    ("near-identical-frames", lambda folder: excerpt(folder, "dv01_s9", like="dv01_s1")),
    ("overlapping-clips", lambda folder: excerpt(folder, "pt01_s9", like="pt01_s1")),
    ("onset-types-mixed", mark_some_by_eeg),
    ("ictal-time-in-clip", lambda folder: mark_eeg(folder, 18, 38)),
    ("post-ictal-time-in-clip", lambda folder: mark_eeg(folder, 30, 8)),
    ("clip-end-against-onset", cut_all_clips_alike),
]
ALONG: dict[str, set[str]] = {  # what else the same plant may rightly be called
    "pretraining-patient-in-test": {"subject-across-split"},
    "label-from-duration": {"label-from-position"},
    "label-from-room": {"label-from-brightness"},
    "label-from-time-of-day": {"label-from-brightness", "label-from-codec", "label-from-room"},
}


def correct_the_onsets(folder: Path, run: Path) -> None:
    """After the run somebody finds that every seizure began 4 s earlier."""
    change(folder, events=lambda events: events.assign(onset_s=events["onset_s"] - 4 * evaluated(events)))


def find_an_earlier_seizure(folder: Path, run: Path) -> None:
    """After the run somebody finds a seizure of 6 s that ended 12 s before each known one."""

    def found(events: pd.DataFrame) -> pd.DataFrame:
        known = events[evaluated(events)]
        return pd.concat([events, known.assign(onset_s=known["onset_s"] - 18, duration_s=6.0)], ignore_index=True)

    change(folder, events=found)


def teach_the_test(folder: Path, run: Path) -> None:
    """A support clip's own patient comes back into the query of the same episode."""
    saved = RunFolder(run).saved_episodes()
    first = saved[0].model_copy(update={"query": (*saved[0].query, saved[0].support[0])})
    rows = ",\n".join(episode.model_dump_json() for episode in [first, *saved[1:]])
    (run / "episodes.json").unlink()
    (run / "episodes.json").write_text(f"[{rows}]")


def pretrain_on_the_test(folder: Path, run: Path) -> None:
    for record in RunFolder(run).records():
        RunFolder(run).write(record.model_copy(update={"checks": {**record.checks, "pretrained_patients": 3}}))


def let_a_probe_win(folder: Path, run: Path) -> None:
    """Records of a probe that is right three times in four."""
    labels = dict(RunFolder(run).clips()[["clip_id", "label"]].itertuples(index=False))
    for record in RunFolder(run).records():
        assert record.predictions is not None
        ids = record.predictions.clip_ids
        right = [labels[clip] if number % 4 else 1 - labels[clip] for number, clip in enumerate(ids)]
        probe = {**record.unit.model_dump(), "baseline": "probe_first_frame"}
        made = Predictions(clip_ids=ids, scores=(tuple(right),))
        RunFolder(run).write(Record.model_validate({**record.model_dump(), "unit": probe, "predictions": made}))


RUN_PLANTS: list[tuple[FaultName, Callable[[Path, Path], None]]] = [
    ("clip-end-against-onset", correct_the_onsets),
    ("ictal-time-in-clip", correct_the_onsets),
    ("post-ictal-time-in-clip", find_an_earlier_seizure),
    ("subject-across-split", teach_the_test),
    ("overlapping-clips", teach_the_test),
    ("pretraining-patient-in-test", pretrain_on_the_test),
    ("probe-beats-chance", let_a_probe_win),
]


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not the cache of other tests, one of which may look whether it is left as it was."""
    return tmp_path_factory.mktemp("audit-cache")


@pytest.fixture(scope="module")
def demo(own_cache: Path) -> Path:
    return ensure_demo(own_cache, QUIET)


@pytest.fixture(scope="module")
def run(demo: Path, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `chance` on the demo set, 12 episodes."""
    out = tmp_path_factory.mktemp("audit-run") / "run"
    request = Request(["chance"], [2], "forecast_5s", "patient_disjoint", data=demo, out=out, episodes=12, size="tiny")
    outcome = run_session(open_session(request, own_cache, QUIET), Machine("cpu", 1, own_cache), "only-missing", QUIET)
    assert (outcome.done, outcome.failed) == (12, {})
    return out


@pytest.fixture
def copy(demo: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the demo set whose videos are the same files: plants replace files and never write into them."""
    folder = tmp_path / "demo"
    shutil.copytree(
        demo, folder, copy_function=lambda a, b: os.link(a, b) if a.endswith(".mp4") else shutil.copy2(a, b)
    )
    yield folder
    shutil.rmtree(folder)


def names(found: Audit) -> set[str]:
    return {finding.name for finding in found.findings}


def test_the_demo_set_is_clean(demo, run, own_cache):
    alone = audit(AuditRequest(data=demo), own_cache, QUIET)
    assert alone.findings == (), alone.text
    with_run = audit(AuditRequest(data=demo, run=run), own_cache, QUIET)
    assert with_run.findings == (), with_run.text


@pytest.mark.parametrize(("name", "plant"), PLANTS, ids=[name for name, _ in PLANTS])
def test_a_planted_fault_is_found_by_its_name_alone(name, plant, copy, own_cache):
    plant(copy)
    found = audit(AuditRequest(data=copy), own_cache, QUIET)
    assert names(found) - ALONG.get(name, set()) == {name}, found.text
    assert all(finding.evidence for finding in found.findings)


@pytest.mark.parametrize(("name", "plant"), SHORTCUTS, ids=[name for name, _ in SHORTCUTS])
def test_a_planted_shortcut_is_found_by_its_name_alone(name, plant, copy, own_cache):
    plant(copy)
    found = audit(AuditRequest(data=copy), own_cache, QUIET)
    assert names(found) - ALONG.get(name, set()) == {name}, found.text


@pytest.mark.parametrize(("name", "plant"), RUN_PLANTS, ids=[f"{n}-{p.__name__}" for n, p in RUN_PLANTS])
def test_a_fault_of_a_run_is_found_by_its_name(name, plant, copy, run, own_cache, tmp_path):
    own = shutil.copytree(run, tmp_path / "run")
    plant(copy, own)
    found = audit(AuditRequest(data=copy, run=own), own_cache, QUIET)
    assert name in names(found), found.text
