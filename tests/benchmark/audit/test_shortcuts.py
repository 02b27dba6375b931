"""Cues that tell the label are found by name, cues that do not are not, and what cannot be shown is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from benchmark.audit import shortcuts
from benchmark.audit.arrangements import arrangements
from benchmark.audit.cues import CueTable
from benchmark.audit.findings import FaultName
from benchmark.audit.shortcuts import (
    REMEDIES,
    design_matrix,
    direction,
    judge,
    predictability,
    shortcut_findings,
    shortcut_report,
)
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task

NAMES = list(REMEDIES)
COLUMNS = [1, 1, 2, 1, 8, 1, 5, 16, 2]
QUIET = Progress(quiet=True)


class Clips:
    """Clips as lists, and cues drawn or set by hand."""

    def __init__(self, rows: list[tuple[str, str, str]]) -> None:
        """(patient, recording, its clips as + and -)."""
        self.patients = np.array([patient for patient, _, signs in rows for _ in signs])
        self.recordings = np.array([patient + recording for patient, recording, signs in rows for _ in signs])
        self.labels = np.array([sign == "+" for _, _, signs in rows for sign in signs])
        self.index = pd.Index([f"c{number:03d}" for number in range(len(self.labels))])

    def table(self, name: FaultName, numbers: object = None, category: object = None) -> CueTable:
        frames = [
            pd.DataFrame({} if values is None else {"value": values}, index=self.index, dtype=kind)
            for values, kind in ((numbers, np.float64), (category, object))
        ]
        return CueTable(name, *frames)

    def noise(self, name: FaultName, random: np.random.Generator, columns: int = 1) -> CueTable:
        """What patients, recordings and clips have of their own, without regard to labels."""
        parts = [
            random.normal(size=(len(np.unique(names)), columns))[np.unique(names, return_inverse=True)[1]]
            for names in (self.patients, self.recordings, self.index)
        ]
        numbers = pd.DataFrame(sum(parts), index=self.index, columns=[f"x{i}" for i in range(columns)])
        category = random.choice(list("abc"), len(np.unique(self.recordings)))
        taken = category[np.unique(self.recordings, return_inverse=True)[1]]
        return CueTable(name, numbers, pd.DataFrame({"kind": taken}, index=self.index, dtype=object))

    def judged(self, tables: list[CueTable], permutations: int = 999, seed: int = 0) -> shortcuts.ShortcutReport:
        return judge(tables, self.labels, self.patients, self.recordings, permutations, seed)


MIXED = [(f"p{i:02d}", f"r{j}", "+-") for i in range(12) for j in range(2)]
ONE_CLASS = [(f"p{i:02d}", f"r{j}", ("++", "--")[i % 2]) for i in range(12) for j in range(2)]
FILES = [(f"p{i:02d}", f"r{j}", ("+++", "---")[j]) for i in range(12) for j in range(2)]


def test_every_cue_has_a_remedy() -> None:
    assert set(NAMES) == {name for name in get_args(FaultName) if name.startswith("label-from-")}
    assert len(NAMES) == 9


# --- the statistic ---


def test_scores_are_those_of_a_ridge_regression_less_the_mean_of_its_labels() -> None:
    random = np.random.default_rng(0)
    values, fold = random.normal(size=(30, 4)), np.repeat(np.arange(6), 5)
    labels = random.random((30, 3)) < 0.4
    ours = shortcuts._scores(values, labels, fold)
    for column in range(3):
        for left_out in range(6):
            test = fold == left_out
            model = Ridge(alpha=0.1 * 25).fit(values[~test], labels[~test, column])
            expected = model.predict(values[test]) - labels[~test, column].mean()
            assert ours[test, column] == pytest.approx(expected, abs=1e-8)


def test_roc_auc_is_scikit_learns_with_ties_and_half_where_a_column_has_one_class() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.integers(0, 5, (40, 6)).astype(float), random.random((40, 6)) < 0.3
    expected = [roc_auc_score(labels[:, i], scores[:, i]) for i in range(6)]
    assert shortcuts._aucs(scores, labels) == pytest.approx(expected, abs=1e-12)
    assert shortcuts._aucs(scores[:, :1], np.ones((40, 1), dtype=bool)).tolist() == [0.5]


def test_whom_is_left_out_does_not_lower_the_scores_of_a_useless_cue() -> None:
    """With an intercept, a constant cue would rank every left-out positive patient below every negative one: AUC 0."""
    clips = Clips(ONE_CLASS)
    ways = arrangements(clips.labels, clips.patients, clips.recordings, 99, 0)
    fold = np.unique(clips.patients, return_inverse=True)[1]
    assert predictability(np.ones((48, 1)), clips.labels, fold, ways) == (0.5, 1.0)


def test_the_design_standardises_numbers_and_drops_what_cannot_help_another_patient() -> None:
    clips = Clips([("a", "r", "+-"), ("b", "r", "+-"), ("c", "r", "+-")])
    table = clips.table("label-from-rate", [15, 15, 25, 25, 20, 20], ["x", "y", "x", "y", "x", "own"])
    values = design_matrix(table, clips.patients)
    assert values.shape == (6, 3)  # the number, x and y
    assert values.mean(axis=0) == pytest.approx(0)
    assert values.std(axis=0) == pytest.approx(1)
    constant = clips.table("label-from-rate", [25.0] * 6, ["x"] * 6)
    assert design_matrix(constant, clips.patients).shape == (6, 0)


# --- what is found ---


def _only(clips: Clips, table: CueTable) -> shortcuts.ShortcutReport:
    """One cue, judged among eight of noise."""
    random = np.random.default_rng(3)
    return clips.judged([clips.noise(name, random) if name != table.name else table for name in NAMES])


def test_patients_with_seizures_in_one_room_and_controls_in_another_are_found_by_exchanging_patients() -> None:
    clips = Clips(ONE_CLASS)
    report = _only(clips, clips.table("label-from-camera", category=np.where(clips.labels, "room 1", "room 2")))
    assert [finding.name for finding in report.findings] == ["label-from-camera"]
    cue = next(cue for cue in report.cues if cue.name == "label-from-camera")
    assert cue.roc_auc == 1
    assert cue.p == pytest.approx(2 / 924)  # 12 over 6 ways; the mirrored one separates as well
    assert cue.holm_p == pytest.approx(9 * 2 / 924)
    assert "room 1: 24 of 24 clips are positive, of the others 0 of 24" in report.findings[0].evidence[1]


def test_a_camera_of_each_patients_own_tells_nothing() -> None:
    clips = Clips(ONE_CLASS)
    report = _only(clips, clips.table("label-from-camera", category=clips.patients))
    cue = next(cue for cue in report.cues if cue.name == "label-from-camera")
    assert (cue.roc_auc, cue.p) == (0.5, 1.0)
    assert not report.findings


def test_files_of_another_rate_are_found_within_patients() -> None:
    clips = Clips(FILES)
    report = _only(clips, clips.table("label-from-rate", np.where(clips.labels, 25.0, 15.0)))
    assert [finding.name for finding in report.findings] == ["label-from-rate"]
    finding = report.findings[0]
    assert finding.severity == "soft"
    assert finding.evidence[0].startswith("ROC-AUC 1.00 with patients left out in turn, permutation p 0.00")
    assert finding.evidence[0].endswith("72 clips of 12 patients")
    assert finding.evidence[1] == "value: 25 in positive clips, 15 in negative ones"


def test_controls_from_another_hospital_beside_patients_with_both_classes_are_found() -> None:
    """Within a patient the site never changes: only an exchange between patients can tell."""
    rows = [(f"p{i:02d}", "r", "++-") for i in range(8)] + [(f"q{i:02d}", "r", "---") for i in range(8)]
    clips = Clips(rows)
    sites = np.where(np.char.startswith(clips.patients, "p"), "here", "there")
    assert [f.name for f in _only(clips, clips.table("label-from-camera", category=sites)).findings] == [
        "label-from-camera"
    ]


def test_a_cue_that_is_sure_and_weak_is_no_finding() -> None:
    clips = Clips([(f"p{i:02d}", "r", "+-" * 20) for i in range(12)])
    values = np.random.default_rng(1).normal(size=480) + 0.27 * clips.labels
    report = clips.judged([clips.table("label-from-brightness", values)])
    assert report.cues[0].holm_p < 0.05
    assert 0.5 < report.cues[0].roc_auc < shortcuts.MATTERS
    assert not report.findings


@pytest.mark.parametrize("rows", [MIXED, ONE_CLASS, FILES], ids=["mixed", "one class a patient", "one class a file"])
def test_where_there_is_nothing_hardly_ever_is_something_found(rows: list[tuple[str, str, str]]) -> None:
    """5% of 60 sets are 3; 8 or more would come once in a hundred times. docs/audit.md has 500 of each kind."""
    clips = Clips(rows)
    found = 0
    for number in range(60):
        random = np.random.default_rng([11, number])
        tables = [clips.noise(name, random, columns) for name, columns in zip(NAMES, COLUMNS, strict=True)]
        found += bool(clips.judged(tables, permutations=199, seed=number).findings)
    assert found <= 7


def test_shuffling_single_clips_would_call_two_recordings_a_discovery() -> None:
    """Why labels move with their recordings: brightness of a recording's own, and one class a recording."""
    clips = Clips(FILES)
    fold = np.unique(clips.patients, return_inverse=True)[1]
    rejected = {"clustered": 0, "clip by clip": 0}
    for number in range(60):
        random = np.random.default_rng([12, number])
        values = random.normal(size=24)[np.unique(clips.recordings, return_inverse=True)[1]][:, None]
        for how, recordings in (("clustered", clips.recordings), ("clip by clip", clips.patients)):
            ways = arrangements(clips.labels, clips.patients, recordings, 199, number)
            rejected[how] += predictability(values, clips.labels, fold, ways)[1] <= 0.05
    assert rejected["clustered"] <= 7
    assert rejected["clip by clip"] >= 10


# --- what cannot be said ---


def test_with_few_patients_it_says_that_nothing_can_be_shown_and_what_stands_out() -> None:
    clips = Clips([(f"p{i}", "r", ("++", "--")[i % 2]) for i in range(6)])
    report = _only(clips, clips.table("label-from-rate", np.where(clips.labels, 25.0, 15.0)))
    assert not report.findings
    assert report.unsaid[0] == (
        "12 clips of 6 patients are too few to show a shortcut: even a cue equal to the label would get p 0.1, 0.9 "
        "after Holm over 9 cues; look yourself"
    )
    assert report.unsaid[1].startswith("label-from-rate, untested: ROC-AUC 1.00; value: 25 in positive clips, 15 in")


def test_with_enough_patients_nothing_is_left_unsaid() -> None:
    clips = Clips(ONE_CLASS)
    random = np.random.default_rng(0)
    assert clips.judged([clips.noise(name, random) for name in NAMES]).unsaid == ()


@pytest.mark.parametrize(
    ("rows", "words"),
    [([("a", "r", "+-+-")], "one patient"), ([("a", "r", "++"), ("b", "r", "+")], "all of one class")],
)
def test_one_patient_or_one_class_is_said_not_tested(rows: list[tuple[str, str, str]], words: str) -> None:
    clips = Clips(rows)
    report = clips.judged([clips.table(name, np.arange(len(clips.labels))) for name in NAMES])
    assert (report.cues, report.findings) == ((), ())
    assert words in report.unsaid[0]


def test_two_patients_of_one_class_each_leave_a_fold_with_one_class() -> None:
    clips = Clips([("a", "r", "++"), ("b", "r", "--")])
    report = clips.judged([clips.table(name, clips.labels) for name in NAMES])
    assert {(cue.roc_auc, cue.p) for cue in report.cues} == {(0.5, 1.0)}
    assert report.unsaid


def test_the_direction_names_medians_and_ranges() -> None:
    clips = Clips([("a", "r", "+++---")])
    table = clips.table("label-from-duration", [10, 20, 30, 5, 5, 5])
    assert direction(table, clips.labels) == "value: 20 (10 to 30) in positive clips, 5 in negative ones"
    same = clips.table("label-from-duration", [5.0] * 6, ["x"] * 6)
    assert direction(same, clips.labels) == "no difference between the classes"


# --- a data set ---


def _data(folder: Path, cache: Path, task: str) -> TaskData:
    manifest = read_manifest(folder)
    return TaskData(manifest, load_task(task), load_protocol("patient_disjoint"), 0, open_stores(cache), cache)


def test_a_data_set_is_judged_alike_in_any_order_of_its_rows(data_set: Path, short_task: str, tmp_path: Path) -> None:
    report = shortcut_report(_data(data_set, tmp_path, short_task), tmp_path, QUIET, 999, 0)
    assert [cue.name for cue in report.cues] != []
    shutil.copytree(data_set, tmp_path / "turned")
    for path in (tmp_path / "turned").glob("*.tsv"):
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        table.iloc[::-1].to_csv(path, sep="\t", index=False)
    again = _data(tmp_path / "turned", tmp_path, short_task)
    assert shortcut_report(again, tmp_path, QUIET, 999, 0) == report
    assert shortcut_findings(again, tmp_path, QUIET, 999, 0) == list(report.findings)


def test_too_few_permutations_are_refused(data_set: Path, short_task: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--permutations 99: .* ask for at least 180"):
        shortcut_report(_data(data_set, tmp_path, short_task), tmp_path, QUIET, 99, 0)
