"""From a manifest of real videos to the report: which clips stand where, what is said, nothing done twice."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from benchmark.data.manifest import read_manifest, write_manifest
from benchmark.progress import Progress
from benchmark.run.consistency import as_json, as_text, check_out, conclusions, kinds_of, measure, save
from benchmark.run.execute import Machine
from benchmark.run.session import Request, open_session
from tasks.errors import BadInput

QUIET = Progress(quiet=True)
FEW = 19


@pytest.fixture(scope="module")
def rats(data_set, tmp_path_factory):
    """The small data set, its rats' seizures moved to 4.5-9.5 s, so that windows of 3 s can be pre-ictal."""
    folder = tmp_path_factory.mktemp("rats") / "small"
    shutil.copytree(data_set, folder)
    manifest = read_manifest(folder)
    events = manifest.events.copy()
    events.loc[events["recording_id"].str.startswith("m"), ["onset_s", "duration_s"]] = (4.5, 5.0)
    write_manifest(folder, manifest.recordings, events, manifest.annotated_intervals)
    return folder


@pytest.fixture(scope="module")
def ask(short_task, cache):
    def open_(data, model="linear_probe", **changes):
        request = Request([model], (), short_task, "patient_disjoint", data, size="tiny", **changes)
        return open_session(request, cache, QUIET)

    return open_


@pytest.fixture(scope="module")
def machine(cache):
    return Machine(device="cpu", threads=1, cache=cache)


@pytest.fixture(scope="module")
def report(ask, rats, machine):
    return measure(ask(rats), machine, QUIET, FEW)


def ids(kind):
    return sorted(row["clip_id"] for row in kind.rows)


def test_rodent_clips_are_stage_1_windows_and_windows_by_the_tasks_own_rule(ask, rats):
    kinds = kinds_of(ask(rats).data)
    assert ids(kinds.rodent_normal) == ["m0r0@0.000-10.000", "m1r0@0.000-10.000"]
    assert ids(kinds.rodent_seizure) == ["m0r1@0.000-10.000", "m1r1@0.000-10.000"]
    assert {row["recording_id"] for row in kinds.rodent_positive.rows} == {"m0r1", "m1r1"}
    assert all(row["end_s"] <= 4.5 and row["end_s"] - row["start_s"] == 3 for row in kinds.rodent_positive.rows)
    assert {row["recording_id"] for row in kinds.rodent_negative.rows} == {"m0r0", "m1r0"}
    assert len(kinds.human_positive.rows) == len(kinds.human_negative.rows) == 16
    assert {row["subject_id"][0] for row in (*kinds.human_positive.rows, *kinds.human_negative.rows)} == {"p"}


def test_a_rodents_quiet_time_near_its_seizure_is_not_normal(ask, rats, tmp_path):
    shutil.copytree(rats, tmp_path / "near")
    manifest = read_manifest(rats)
    watched = manifest.annotated_intervals.copy()
    watched.loc[watched["recording_id"] == "m0r1", "end_s"] = 4.0  # the watched part ends before the seizure
    write_manifest(tmp_path / "near", manifest.recordings, manifest.events, watched)
    kinds = kinds_of(ask(tmp_path / "near").data)
    assert "m0r1@0.000-4.000" not in ids(kinds.rodent_normal) + ids(kinds.rodent_seizure)


def test_the_report_holds_every_pairing_with_its_counts(report):
    assert [c.name for c in report.comparisons] == [
        "normal",
        "pre-ictal, by the same rule",
        "rodent seizure, human pre-ictal",
    ]
    for comparison in report.comparisons:
        sides = comparison.sides
        assert (sides.rodent_clips, sides.rodent_subjects, sides.human_clips, sides.human_subjects) == (2, 2, 16, 4)
        assert comparison.alike.whole.cka.value is not None
        assert comparison.alike.a_distance.smallest_p == pytest.approx(1 / 15)  # 2 of 6 subjects: 15 ways
    assert len(report.transfers) == 2 * 2 * 2
    # 2 seizure and 2 normal windows; by the rule 2 pre-ictal ones and 3 of 3 s in each of 2 recordings.
    assert [t.sides.rodent_clips for t in report.transfers] == [4] * 4 + [8] * 4
    assert all(t.figure.value is not None for t in report.transfers)


def test_what_two_rats_cannot_tell_is_said(report):
    text = as_text(report)
    assert "Cannot be said: two halves need 4 rodents, there are 2." in text
    assert "no rodent subject has two clips that differ" in text
    assert "(nor could there be: with so few subjects or relabellings p cannot fall below 0.067, 0.2" in text
    assert "nan" not in text


def test_the_text_names_the_encoder_and_warns_of_random_weights_and_of_rendered_data(report, ask, rats):
    text = as_text(report)
    assert "linear_probe, size tiny, random-init" in text
    assert report.encoder.card["start_sha256"] in text
    assert "stage 1 none" in text
    assert "the last 2.13 s of each window" in text
    assert "started from random weights" in text
    assert "Rendered" not in text
    rendered = report.model_copy(update={"data": report.data.model_copy(update={"rendered": True})})
    assert "(rendered)" in as_text(rendered)


def test_rendered_data_are_announced_before_any_figure(ask, rats, machine, tmp_path):
    shutil.copytree(rats, tmp_path / "drawn")
    manifest = read_manifest(rats)
    tables = manifest.events, manifest.annotated_intervals
    write_manifest(tmp_path / "drawn", manifest.recordings.assign(deid_method="rendered"), *tables)
    text = as_text(measure(ask(tmp_path / "drawn"), machine, QUIET, FEW))
    assert text.index("Rendered data: no figure below") < text.index("| compared")


def test_a_second_call_reads_every_feature_from_the_store_and_says_the_same(report, ask, rats, machine, cache):
    before = {path: path.stat().st_mtime_ns for path in (cache / "features").rglob("*.npy")}
    again = measure(ask(rats), machine, QUIET, FEW)
    assert {path: path.stat().st_mtime_ns for path in (cache / "features").rglob("*.npy")} == before
    assert (again.comparisons, again.transfers) == (report.comparisons, report.transfers)


def test_order_of_rows_in_the_manifest_changes_no_figure(report, ask, rats, machine, tmp_path):
    shutil.copytree(rats, tmp_path / "mixed")
    manifest = read_manifest(rats)
    tables = (t.sample(frac=1, random_state=2) for t in (manifest.events, manifest.annotated_intervals))
    write_manifest(tmp_path / "mixed", manifest.recordings[::-1], *tables)
    other = measure(ask(tmp_path / "mixed"), machine, QUIET, FEW)
    assert (other.comparisons, other.transfers) == (report.comparisons, report.transfers)


def test_after_stage_1_the_report_says_so(ask, rats, machine):
    request = {"model": "zero_shot", "changes": ("stage1_epochs=1", "mix=+R(Y)")}
    text = as_text(measure(ask(rats, **request), machine, QUIET, FEW))
    assert "zero_shot, size tiny, random-init" in text
    assert "stage 1 mix +R(Y)" in text


def test_rats_without_a_known_onset_leave_the_rule_out_and_keep_the_rest(ask, data_set, machine):
    # In the data set as it is every rat's seizure begins at 2 s, before a first window of 3 s has ended.
    found = measure(ask(data_set), machine, QUIET, FEW)
    normal, by_rule, seizure = (c.alike.a_distance for c in found.comparisons)
    assert by_rule.unsaid == "there is no clip of rodent pre-ictal"
    assert normal.value is not None
    assert seizure.value is not None
    assert "whether they can be told apart cannot be said" in conclusions(found)[1]


def test_json_is_strict_and_files_are_written_by_their_ending(report, tmp_path):
    save(report, tmp_path / "deep" / "r.json")
    save(report, tmp_path / "r.md")
    content = json.loads((tmp_path / "deep" / "r.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert content["conclusions"] == conclusions(report)
    assert content == json.loads(as_json(report))
    assert (tmp_path / "r.md").read_text() == as_text(report)


def test_what_is_wrong_is_refused_in_a_sentence(ask, rats, machine, tmp_path):
    with pytest.raises(BadInput, match=r"motion_energy: it keeps no frozen features.*linear_probe"):
        measure(ask(rats, "motion_energy"), machine, QUIET, FEW)
    with pytest.raises(BadInput, match=r"r\.txt: name a file that ends in \.json or \.md"):
        check_out(tmp_path / "r.txt")
    shutil.copytree(rats, tmp_path / "humans")
    manifest = read_manifest(rats)
    people = manifest.recordings[manifest.recordings["species"] == "human"]

    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["recording_id"].isin(people["recording_id"])]

    write_manifest(tmp_path / "humans", people, own(manifest.events), own(manifest.annotated_intervals))
    with pytest.raises(BadInput, match="no watched recording of another species"):
        measure(ask(tmp_path / "humans"), machine, QUIET, FEW)
