"""Two sides of a split: every kind of overlap is named, with the rows it stands on, and what is no overlap is not."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.audit.findings import Finding, as_lines, hard, ordered
from benchmark.audit.splits import episode_findings, split_findings
from protocols.episodes import Episode
from protocols.spec import load_protocol

COLUMNS = ("recording_id", "subject_id", "split", "sha256", "session_id", "camera_id")
CLEAN = [
    ("a1", "a", "evaluate", "1", "s1", "cam-a"),
    ("a2", "a", "evaluate", "2", "s2", "cam-a"),
    ("b1", "b", "develop", "3", "s1", "cam-b"),
    ("c1", "c", "pretrain", "4", "s1", "cam-c"),
]


def recordings(*rows, species="human", site="lab"):
    table = pd.DataFrame([*CLEAN, *rows], columns=COLUMNS)
    return table.assign(species=species, site_id=site, duration_s=10.0)


def found(table, split="evaluate"):
    return {finding.name: finding for finding in split_findings(table, split)}


def test_nothing_is_found_where_nothing_overlaps():
    assert found(recordings()) == {}


@pytest.mark.parametrize("written", ["a", "A"])
def test_a_subject_in_two_splits_is_named_in_whatever_case(written):
    finding = found(recordings(("a3", written, "develop", "5", "s3", "cam-a")))["subject-across-split"]
    assert finding.severity == "hard"
    assert finding.evidence == (f"subject {' = '.join(sorted({'a', written}))}: a3 (develop), a1, a2 (evaluate)",)


def test_two_spellings_in_one_split_are_two_patients_to_a_protocol():
    finding = found(recordings(("a3", "A", "evaluate", "5", "s3", "cam-a")))["subject-across-split"]
    assert finding.evidence == ("subject A = a: a1, a2 and 1 more (evaluate)",)


@pytest.mark.parametrize(("asked", "named"), [("evaluate", True), ("develop", False)])
def test_a_pretraining_subject_counts_where_it_is_asked_about(asked, named):
    table = recordings(("a3", "a", "pretrain", "5", "s3", "cam-a"))
    assert ("pretraining-patient-in-test" in found(table, asked)) == named


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (("d1", "d", "evaluate", "1", "s1", "cam-d"), "file-across-split"),
        (("d1", "d", "develop", "1", "s1", "cam-d"), "file-across-split"),
        (("a3", "a", "evaluate", "1", "s1", "cam-a"), "overlapping-clips"),
    ],
)
def test_one_video_twice_is_named_by_whose_it_is(row, name):
    findings = found(recordings(row))
    assert set(findings) == {name}
    assert findings[name].severity == "hard"
    assert all(part in findings[name].evidence[0] for part in ("sha256 1", "a1", row[0]))


def test_two_splits_in_one_session_of_one_camera_are_to_be_looked_at():
    findings = found(recordings(("d1", "d", "develop", "5", "S1", "cam-a")))
    assert findings["session-across-split"].severity == "soft"
    assert findings["session-across-split"].evidence == (
        "site lab, session s1, camera cam-a: d1 of d (develop), a1 of a (evaluate)",
    )


@pytest.mark.parametrize(
    "row",
    [
        ("d1", "d", "develop", "5", "s9", "cam-a"),  # another session
        ("d1", "d", "develop", "5", "s1", "cam-d"),  # another camera
        ("d1", "d", "evaluate", "5", "s1", "cam-a"),  # the same split
    ],
)
def test_a_camera_or_a_session_number_alone_is_no_overlap(row):
    assert found(recordings(row)) == {}


@pytest.mark.parametrize("unknown", ["n/a", "", " N/A "])
def test_what_is_unknown_is_no_overlap(unknown):
    table = recordings(("d1", "d", "develop", "5", "s1", "cam-a"), site=unknown)
    assert found(table) == {}


def episode(support, query):
    return Episode("any", 1, 0, tuple(support), tuple(query))


SUBJECT_OF = {"x1": "x", "x2": "X", "y1": "y", "y2": "y"}


def test_support_and_query_may_share_patients_only_where_the_protocol_allows_it():
    drawn = [episode(["x1", "y1"], ["x2"])]
    names = [f.name for f in episode_findings(drawn, SUBJECT_OF, load_protocol("patient_disjoint"))]
    assert names == ["subject-across-split"]
    assert episode_findings(drawn, SUBJECT_OF, load_protocol("paper")) == []


def test_a_clip_in_support_and_query_is_wrong_under_any_protocol():
    drawn = [episode(["x1"], ["y1"]), episode(["x1"], ["x1", "y1"])]
    (finding,) = episode_findings(drawn, SUBJECT_OF, load_protocol("paper"))
    assert finding.name == "overlapping-clips"
    assert finding.evidence == ("1 shots, episode 0: x1 in support and query",)


def test_hard_findings_come_first_and_lines_say_how_much_is_left_out():
    soft = Finding("label-from-size", "soft", "look.", tuple("abc"))
    wrong = Finding("subject-across-split", "hard", "stop.", ("x",))
    assert ordered([soft, wrong]) == [wrong, soft]
    assert hard([soft, wrong]) == [wrong]
    assert as_lines(soft, shown=2) == ["SOFT label-from-size: look.", "    a", "    b", "    and 1 more"]
