"""What `score` says beyond the table: by name for the house, and never on a board."""

from __future__ import annotations

import json

from benchmark.board.details import as_json, details
from benchmark.board.table import csv_lines, csv_text, render
from tests.benchmark.board.test_table import CLIPS, row, scored


def lines_of(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_the_worst_patient_stands_there_with_its_clips_and_what_luck_gives():
    one = row(scores=scored(1))
    worst = one.scores.worst_patient
    (line,) = (line for line in lines_of(details([one])) if worst.patient in line)
    assert f"{worst.roc_auc:.2f} [{worst.expected_low:.2f}, {worst.expected_high:.2f}]" in line
    assert "(1 + 1 clips)" in line


def test_a_missing_figure_is_a_dash_and_its_reason_stands_below_once():
    text = details([row(method="a", scores=scored(1)), row(method="b", scores=scored(1))])
    (reason,) = (line for line in text.splitlines() if line.startswith("- ECE"))
    assert "needs 100 clips, there are 18" in reason
    assert reason.endswith("(a, b)")
    assert "nan" not in text.lower()


def test_no_patient_is_named_in_a_table_for_others():
    names = set(CLIPS["subject_id"])
    for text in (render([row(scores=scored(1))]), csv_text(list(csv_lines(row(scores=scored(1)), [])))):
        assert not [name for name in names if f'"{name}"' in text or f" {name} " in text or f"{name}," in text]


def test_the_json_for_the_house_holds_every_patient():
    content = json.loads(as_json([row(scores=scored(1))], []))
    patients = content["scored"][0]["scores"]["patients"]
    assert [patient["patient"] for patient in patients] == sorted(set(CLIPS["subject_id"]))


def test_no_rows_no_details():
    assert details([]) == ""
