"""An ablation's table and picture: every figure where it belongs, every doubt said, the same bytes each time."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmark.board.ablation import (
    DRAWN,
    ResultRow,
    Results,
    _draw,
    draw_results,
    render_results,
    write_results,
)
from benchmark.board.table import RANDOM_INIT, RENDERED
from tests.benchmark.board.test_table import CLIPS, row, scored

SHOTS = (2, 3)


def results(values=(("0.1", 0.1), ("0.3", 0.3), ("0.9", 0.9)), **changes):
    """A sweep: the further on, the more patients are got wrong."""
    rows = [
        ResultRow(value, x, row("xspecies_videomae", scores=scored(number + 1, shots=SHOTS), **changes))
        for number, (value, x) in enumerate(values)
    ]
    return Results("mask-ratio", "mask ratio of stage 1", "xspecies_videomae", "0.3", tuple(rows))


def cells(text):
    """The Markdown table's lines as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def panels(of):
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    _draw(figure, of)
    return dict(zip(DRAWN, figure.axes, strict=True)), figure


def line_of(axes, label):
    return next(line for line in axes.get_lines() if label in str(line.get_label()))


def test_each_value_has_its_average_and_its_shots_in_the_axiss_order():
    of = results()
    table = cells(render_results(of, "markdown"))
    assert [line[:2] for line in table] == [
        [value, shots] for value in ("0.1", "0.3", "0.9") for shots in ("mean of 2, 3", "2", "3")
    ]
    for result, lines in zip(of.rows, (table[0:3], table[3:6], table[6:9]), strict=True):
        for scores, line in zip((result.row.scores.averaged, *result.row.scores.per_shot), lines, strict=True):
            clips = scores.metrics["roc_auc"].per_clip
            assert line[3] == f"{clips.value:.3f} [{clips.interval.low:.2f}, {clips.interval.high:.2f}]"
            assert line[6:] == ["9 + 9", "9", "k400", "base"]


def test_of_one_shot_there_is_one_line_a_value():
    one = replace(results(), rows=(ResultRow("0.1", 0.1, row(scores=scored(1))),))
    assert [line[:2] for line in cells(render_results(one, "markdown"))] == [["0.1", "2"]]


def test_the_methods_own_value_is_told_and_intervals_are_to_be_read():
    text = render_results(results(), "markdown")
    assert "The method's own value is 0.3." in text
    assert "Where intervals overlap widely, nothing can be said" in text
    assert "own value" not in render_results(replace(results(), default=None), "markdown")


@pytest.mark.parametrize(("axis", "alike"), [("mask-ratio", True), ("horizon", False)])
def test_only_rows_on_the_same_episodes_are_said_to_differ_in_one_thing(axis, alike):
    text = render_results(replace(results(), axis=axis), "markdown")
    assert ("Rows differ in one thing" in text) is alike
    assert ("another task, with clips of its own" in text) is not alike


@pytest.mark.parametrize(
    ("changes", "doubts"),
    [
        ({}, []),
        ({"rendered": True}, ["rendered data"]),
        ({"init": "random-init"}, ["random-init"]),
        ({"rendered": True, "init": "random-init"}, ["rendered data", "random-init"]),
    ],
)
def test_what_keeps_a_number_from_being_a_result_stands_over_the_table_and_in_the_picture(changes, doubts):
    of = results(**changes)
    text = render_results(of, "markdown")
    assert (RENDERED in text) is ("rendered data" in doubts)
    assert (RANDOM_INIT in text) is ("random-init" in doubts)
    picture = draw_results(of)["svg"].decode()
    assert ("no result" in picture) is bool(doubts)
    assert ", ".join(doubts) in picture
    _, figure = panels(of)
    assert [text.get_text() for text in figure.texts if "no result" in text.get_text()] == (
        [f"{', '.join(doubts)}\nno result"] if doubts else []
    )


def test_a_row_pre_trained_on_test_patients_says_so_in_table_and_picture():
    of = results()
    of = replace(of, rows=(*of.rows[:2], replace(of.rows[2], mark="[PRE-TRAINED ON 3 TEST PATIENTS]")))
    assert [line[0] for line in cells(render_results(of, "markdown"))][6] == (r"0.9 \[PRE-TRAINED ON 3 TEST PATIENTS\]")
    assert "pre-trained on test patients" in draw_results(of)["svg"].decode()


def test_a_value_without_a_finished_unit_is_an_empty_row_and_a_gap():
    of = results()
    of = replace(of, rows=(of.rows[0], ResultRow("0.3", 0.3, None), of.rows[2]))
    text = render_results(of, "markdown")
    assert cells(text)[3] == ["0.3", *["—"] * 9]
    assert "No unit is finished for: 0.3." in text
    assert json.loads(render_results(of, "json"))["rows"][1]["row"] is None
    axes, _ = panels(of)
    assert list(line_of(axes["roc_auc"], "mean of shots").get_xdata()) == [0.1, 0.9]


def test_nothing_finished_writes_nothing(tmp_path):
    of = results()
    of = replace(of, rows=tuple(replace(result, row=None) for result in of.rows))
    assert write_results(of, tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_missing_predictions_and_few_patients_are_marked_and_explained():
    of = results()
    broken = row("xspecies_videomae(mask_ratio=0.9)", scores=scored(2, shots=SHOTS, drop_episode=1))
    few = row(scores=scored(1, CLIPS[CLIPS["subject_id"] < "p5"], shots=SHOTS))
    of = replace(of, rows=(ResultRow("0.1", 0.1, few), of.rows[1], ResultRow("0.9", 0.9, broken)))
    text = render_results(of, "markdown")
    assert [line[0] for line in cells(text)][::3] == [r"0.1 \*", "0.3", "0.9 ‡"]
    assert "Fewer than 8 patients" in text
    assert "predictions are missing" in text


def test_csv_holds_every_figure_by_value_and_no_formula():
    mixes = replace(results([("base", None), ("+H", None)]), axis="mix")
    lines = list(csv.DictReader(io.StringIO(render_results(mixes, "csv"))))
    assert [(line["axis"], line["value"], line["shots"]) for line in lines] == [
        ("mix", value, shots) for value in ("base", "'+H") for shots in ("average of 2 3", "2", "3")
    ]
    averaged = mixes.rows[1].row.scores.averaged.metrics["brier"].per_clip
    assert float(lines[3]["brier"]) == averaged.value
    assert float(lines[3]["brier_high"]) == averaged.interval.high


def test_json_names_the_values_as_they_are():
    mixes = replace(results([("base", None), ("+H", None)]), axis="mix")
    content = json.loads(render_results(mixes, "json"))
    assert (content["axis"], content["default"]) == ("mix", "0.3")
    assert [(entry["value"], entry["x"]) for entry in content["rows"]] == [("base", None), ("+H", None)]
    assert content["rows"][0]["row"]["scores"] == mixes.rows[0].row.scores.model_dump(mode="json")


def test_a_numeric_axis_is_to_scale_and_every_panel_shows_its_metric():
    of = results()
    axes, _ = panels(of)
    for metric, panel in axes.items():
        mean = line_of(panel, "mean of shots")
        assert list(mean.get_xdata()) == [0.1, 0.3, 0.9]
        figures = [result.row.scores.averaged.metrics[metric].per_clip for result in of.rows]
        assert list(mean.get_ydata()) == [clips.value for clips in figures]
        bars = [list(line.get_ydata()) for line in panel.get_lines() if len(line.get_xdata()) == 2]
        assert bars == [[clips.interval.low, clips.interval.high] for clips in figures]
        for number, shot in enumerate(SHOTS):
            single = [result.row.scores.per_shot[number].metrics[metric].per_clip.value for result in of.rows]
            assert list(line_of(panel, f"{shot} shots").get_ydata()) == single
        assert [label.get_text() for label in panel.get_xticklabels()] == ["0.1", "0.3", "0.9"]


def test_categories_stand_side_by_side_in_their_order():
    axes, _ = panels(replace(results([("base", None), ("+H", None), ("+R(Y)", None)]), axis="mix"))
    assert list(line_of(axes["pr_auc"], "mean of shots").get_xdata()) == [0, 1, 2]
    assert [label.get_text() for label in axes["pr_auc"].get_xticklabels()] == ["base", "+H", "+R(Y)"]


def test_chance_is_a_half_and_for_pr_auc_the_share_of_positives():
    uneven = CLIPS[~((CLIPS["label"] == 1) & (CLIPS["subject_id"] > "p5"))]  # 6 positive, 9 negative
    axes, _ = panels(replace(results(), rows=(ResultRow("0.1", 0.1, row(scores=scored(2, uneven, shots=SHOTS))),)))
    floors = {metric: set(line_of(panel, "chance").get_ydata()) for metric, panel in axes.items()}
    assert floors == {"balanced_accuracy": {0.5}, "roc_auc": {0.5}, "pr_auc": {0.4}}


def test_nothing_is_drawn_outside_the_panels():
    of = results()
    axes, _ = panels(of)
    for panel in axes.values():
        low, high = panel.get_ylim()
        for line in panel.get_lines():
            assert low <= min(line.get_ydata()) <= max(line.get_ydata()) <= high


def test_files_are_whole_pictures_and_the_same_bytes_each_time(tmp_path):
    first, second = (write_results(results(rendered=True), tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["table.md", "table.csv", "table.json", "plot.png", "plot.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with Image.open(first[3]) as picture:
        assert picture.size == (2000, 840)
        assert len(set(picture.convert("L").resize((200, 84)).tobytes())) > 5
    assert b"<dc:date>" not in first[4].read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))
