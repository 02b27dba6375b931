"""What is in a data set, and is it sound? `describe` counts windows by reason, `validate` checks tables and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import roc_auc_score
from tabulate import tabulate

from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.demo_cache import ensure_demo
from benchmark.data.manifest import Manifest, check_videos, read_manifest
from benchmark.files import cache_folder
from benchmark.progress import Progress
from benchmark.words import counted
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import TaskSpec, load_task
from tasks.windows import LABELS, REASONS, Rule, kept, label_windows

SHORTCUT_AUC = 0.95
SHORTCUT_SUBJECTS = 8


def describe(
    folder: Path | None, task: str, protocol: str, changes: dict[str, Any], progress: Progress
) -> tuple[str, dict[str, Any]]:
    """Windows of a task by species, split and rule, and the pool that the protocol makes of them.

    `changes` replaces fields of the task; None leaves one as it is.

    Returns:
        A table for people and the same content for machines.
    """
    cache = cache_folder()
    manifest = read_manifest(folder or ensure_demo(cache, progress))
    given = {field: value for field, value in changes.items() if value is not None}
    data = TaskData(manifest, load_task(task, **given), load_protocol(protocol), 0, open_stores(cache), cache)
    counts = data.candidates["rule_id"].value_counts()
    rules = [rule for rule in Rule if rule in counts]
    per_recording = data.candidates.groupby(["recording_id", "rule_id"]).size()
    short = sorted({r for r, rule in per_recording.index if rule == Rule.SHORTER_THAN_WINDOW})
    content = {
        "data": str(manifest.root),
        "manifest": manifest.digest,
        "task": data.task.model_dump(mode="json"),
        "recordings": _recordings(manifest),
        "windows": {str(rule): int(counts[rule]) for rule in rules},
        "recordings_shorter_than_the_window": short,
        "pool": _pool(data.pool),
        "stage1_clips": _stage1(data),
    }
    return _as_text(content, rules), content


def validate(folder: Path, progress: Progress) -> str:
    """Check tables, rows and videos, and that no technical cue tells the classes apart.

    Returns:
        One line to print.

    Raises:
        BadInput: the first fault.
    """
    manifest = read_manifest(folder)
    names = manifest.recordings["recording_id"].tolist()
    check_videos(manifest, names, memo=None, progress=progress)
    refuse_shortcuts(manifest, load_task("forecast_5s"))
    hours, subjects = manifest.recordings["duration_s"].sum() / 3600, manifest.recordings["subject_id"].nunique()
    return f"{folder}: sound; {len(names)} recordings, {hours:.2f} h, {subjects} subjects"


def refuse_shortcuts(manifest: Manifest, task: TaskSpec) -> None:
    """Refuse a set in which a recording's length, rate or size alone tells positives from negatives.

    Asked only where at least SHORTCUT_SUBJECTS subjects carry labels: with fewer, any difference between two
    cameras looks like a rule.
    """
    tables = (manifest.recordings, manifest.events, manifest.annotated_intervals)
    clips = kept(label_windows(*tables, task)).merge(manifest.recordings, on="recording_id", suffixes=("", "_r"))
    if clips["subject_id"].nunique() < SHORTCUT_SUBJECTS or clips["label"].nunique() < 2:
        return
    for cue in ("duration_s", "fps", "width", "height"):
        auc = roc_auc_score(clips["label"], clips[cue])
        if max(auc, 1 - auc) >= SHORTCUT_AUC:
            raise BadInput(
                f"{manifest.root / 'recordings.tsv'}: column {cue} alone predicts the label (ROC-AUC {auc:.2f} over "
                f"{len(clips)} clips); film both classes alike, or cut both from the same recordings"
            )


def _recordings(manifest: Manifest) -> list[dict[str, Any]]:
    groups = manifest.recordings.groupby(["species", "split"])
    table = groups.agg(
        subjects=("subject_id", "nunique"), recordings=("recording_id", "size"), seconds=("duration_s", "sum")
    )
    return [
        {**{str(k): v for k, v in row.items()}, "seconds": round(float(row["seconds"]), 1)}
        for row in table.reset_index().to_dict("records")
    ]


def _pool(pool: pd.DataFrame) -> dict[str, int]:
    return {
        "patients": int(pool["subject_id"].nunique()),
        "positives": int((pool["label"] == 1).sum()),
        "negatives": int((pool["label"] == 0).sum()),
    }


def _stage1(data: TaskData) -> dict[str, int]:
    names = [f"{w['species']}, {'seizure' if w['seizure'] else 'normal'}" for w in data.stage1_windows]
    return {name: names.count(name) for name in sorted(set(names))}


def _as_text(content: dict[str, Any], rules: list[Rule]) -> str:
    task, pool = content["task"], content["pool"]
    windows = [
        [("kept" if rule in LABELS else "left out"), str(rule), content["windows"][str(rule)], REASONS[rule]]
        for rule in rules
    ]
    parts = [
        f"{content['data']}, seen through {task['name']} "
        f"(windows of {task['window_s']:g} s, horizon {task['sop_s']:g} s)",
        tabulate(content["recordings"], headers="keys", tablefmt="simple"),
        tabulate(windows, headers=["", "rule", "windows", "meaning"], tablefmt="simple"),
        f"Pool after thinning the negatives: {pool['positives']} positive and {pool['negatives']} negative clips of "
        f"{counted(pool['patients'], 'patient')}.",
    ]
    if content["recordings_shorter_than_the_window"]:
        parts.append("Too short for one window: " + ", ".join(content["recordings_shorter_than_the_window"]))
    if content["stage1_clips"]:
        parts.append("Stage-1 clips: " + ", ".join(f"{n} {name}" for name, n in content["stage1_clips"].items()))
    return "\n\n".join(parts)
