"""The board: order, separate blocks, warnings, escaping, and the same bytes for the same rows."""

from __future__ import annotations

import csv
import io
import json
import random
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.board.table import PAPER, RANDOM_INIT, RENDERED, BoardRow, load_paper, render
from benchmark.score.summary import score_run
from tasks.errors import BadInput

PATIENTS = 9
CLIPS = pd.DataFrame(
    {
        "clip_id": [f"c{i:02d}" for i in range(PATIENTS * 2)],
        "subject_id": [f"p{i // 2}" for i in range(PATIENTS * 2)],
        "label": [float(i % 2) for i in range(PATIENTS * 2)],
    }
)


def scored(flips, clips=CLIPS, shots=(2,), drop_episode=None):
    """Scores of a method that is wrong about the first `flips` patients; two episodes a shot."""
    right = np.where(np.arange(len(clips)) // 2 < flips, 1 - clips["label"], clips["label"])
    predictions = pd.concat(
        pd.DataFrame(
            {
                "method": "any",
                "shots": shot,
                "episode": episode,
                "replicate": 0,
                "clip_id": clips["clip_id"],
                "score": right * 0.8 + 0.1,
            }
        )
        for shot in shots
        for episode in range(2)
    )
    planned = predictions.drop(columns="score")
    if drop_episode is not None:
        predictions = predictions[predictions["episode"] != drop_episode]
    return score_run(predictions, clips, planned, resamples=200).methods[0]


def row(method="x3d", flips=2, **changes):
    scores = changes.pop("scores", None) or scored(flips)
    fields = {
        "baseline": method,
        "init": "k400",
        "pool": "none",
        "size": "base",
        "data": "clinic",
        "rendered": False,
        "task": "forecast_5s",
        "protocol": "few_shot",
        "commit": "0" * 40,
        "run": "runs-a",
        "versions": 1,
    }
    return BoardRow(method=method, scores=scores, **(fields | changes))


def order(text):
    """First cells of the first table's rows."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [line.split("|")[1].strip() for line in table[2:]]


def test_rows_are_sorted_by_averaged_roc_auc():
    text = render([row("worse", 4), row("best", 1), row("middle", 2)], None, "markdown")
    assert order(text) == ["best", "middle", "worse"]


def test_chance_is_at_the_bottom_even_when_lucky():
    text = render([row("chance", 0), row("x3d", 6), row("chance, seed=3", 1, baseline="chance")], None, "markdown")
    assert order(text) == ["x3d", "chance", "chance, seed=3"]


def test_a_row_without_a_figure_stands_last_before_chance():
    hole = score_run(
        pd.DataFrame([{"method": "m", "shots": 2, "episode": 0, "replicate": 0, "clip_id": "c01", "score": 0.5}]),
        CLIPS,
    ).methods[0]
    text = render([row("hole", scores=hole), row("chance", 4), row("x3d", 8)], None, "markdown")
    assert order(text) == ["x3d", "hole", "chance"]
    assert "nan" not in text.lower()


def test_the_printed_row_shows_value_interval_and_the_papers_way():
    # Wrong about 2 of 9 patients, scores .1 and .9: 7 of 9 positives high, 7 of 9 negatives low.
    # ROC-AUC = 49/81 wins + 28/81 ties / 2 = 63/81; each episode alike, so SD 0.
    (line,) = [line for line in render([row()], None, "markdown").splitlines() if line.startswith("| x3d")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["x3d", "k400", "base", "none"]
    assert "9 positive and 9 negative clips of 9 patients." in render([row()], None, "markdown")
    assert re.fullmatch(r"0\.778 \[0\.\d\d, [01]\.\d\d\]", cells[5])
    assert cells[8] == "0.778 ± 0.000"


def test_rows_of_other_data_task_protocol_or_shots_get_a_table_of_their_own():
    rows = [
        row("a"),
        row("b", data="elsewhere"),
        row("c", task="forecast_60s"),
        row("d", protocol="by_clip"),
        row("e", scores=scored(2, shots=(2, 3))),
    ]
    text = render(rows, None, "markdown")
    assert text.count("### ") == 5
    assert "mean of 2, 3 shots" in text


def test_rendered_data_and_random_weights_are_said_above_the_table():
    text = render([row(rendered=True, data="rendered demo", init="random")], None, "markdown")
    assert text.index(RENDERED) < text.index("| method")
    assert text.index(RANDOM_INIT) < text.index("| method")
    assert "| random-init |" in text
    plain = render([row()], None, "markdown")
    assert RENDERED not in plain
    assert RANDOM_INIT not in plain


def test_the_warnings_are_in_every_format():
    rows = [row(rendered=True, init="random-init")]
    for fmt in ("csv", "json"):
        text = render(rows, None, fmt)
        assert RENDERED in text
        assert "random-init" in text


def test_the_paper_is_a_block_of_its_own_and_never_ranked():
    text = render([row("x3d", 8), row("slowfast", 7)], load_paper(), "markdown")
    ours, theirs = text.split("### Reported by arXiv 2603.12887 on 40 private clips; ")
    assert order(ours) == ["slowfast", "x3d"]
    assert "0.7558" not in ours
    assert theirs.startswith("not re-scored here; no intervals published")
    assert "x3d" not in theirs


def test_the_papers_figures_are_those_of_its_table():
    paper = load_paper()
    assert [r.kind for r in paper.rows] == ["method"] * 7 + ["ablation"] * 4
    (cross,) = [r for r in paper.rows if r.name == "Cross-species"]
    for metric in ("balanced_accuracy", "roc_auc", "pr_auc"):
        per_shot = [getattr(shot, metric) for shot in cross.per_shot]
        assert getattr(cross, metric) == pytest.approx(np.mean(per_shot), abs=6e-5)
    assert [shot.shots for shot in cross.per_shot] == [2, 3, 4]


def test_the_papers_interval_is_that_of_hanley_and_mcneil():
    auc, n = 0.756, 18
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    half = 1.96 * ((auc * (1 - auc) + (n - 1) * (q1 - auc**2 + q2 - auc**2)) / n**2) ** 0.5
    assert f"{auc - half:.2f} to {auc + half:.2f}" in " ".join(yaml.safe_load(PAPER.read_text())["note"].split())


def test_csv_holds_every_shot_and_marks_reported_rows():
    text = render([row(scores=scored(2, shots=(2, 3)))], load_paper(), "csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    ours = [line for line in lines if line["status"] == "scored"]
    assert [line["shots"] for line in ours] == ["average of 2 3", "2", "3"]
    assert float(ours[0]["roc_auc"]) == pytest.approx(63 / 81)
    assert {line["status"] for line in lines[3:]} == {"reported"}
    assert len(lines) == 3 + 11 + 3
    assert all(line["roc_auc_low"] == "" for line in lines[3:])


def test_json_holds_the_full_scores_and_no_nan():
    only = row()
    board = json.loads(render([only], load_paper(), "json"), parse_constant=lambda name: pytest.fail(name))
    (table,) = board["scored"]
    assert table["rows"][0]["scores"] == only.scores.model_dump(
        mode="json", exclude={"patients": True, "worst_patient": {"patient"}}
    )
    assert len(board["reported"]["rows"]) == 11


@pytest.mark.parametrize("fmt", ["markdown", "csv", "json"])
def test_order_of_rows_changes_no_byte(fmt):
    same = scored(2)
    rows = [row("a", scores=same), row("b", scores=same), row("b", scores=same, commit="1" * 40), row("chance")]
    rows += [row("a", data="elsewhere"), row("c", 5)]
    expected = render(rows, load_paper(), fmt)
    for seed in range(5):
        assert render(random.Random(seed).sample(rows, len(rows)), load_paper(), fmt) == expected


HOSTILE = "a|b\nc`d`<img src=x onerror=alert(1)> [x](javascript:1) \x1b[31m\u202e\x00 & \\"


def test_names_from_strangers_cannot_leave_their_markdown_cell():
    plain = render([row("x3d")], None, "markdown")
    text = render([row("x3d", pool=HOSTILE, task=HOSTILE)], None, "markdown")
    assert len(text.splitlines()) == len(plain.splitlines())
    (line,) = [line for line in text.splitlines() if line.startswith("| x3d")]
    (plain_line,) = [line for line in plain.splitlines() if line.startswith("| x3d")]
    assert len(re.findall(r"(?<!\\)\|", line)) == plain_line.count("|")
    assert "<" not in text
    assert r"\[x\](javascript:1)" in line
    assert r"c\`d\`" in line
    assert not any(character in text for character in "\x1b\u202e\x00")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_names_from_strangers_are_no_formulas_in_csv(name):
    lines = list(csv.DictReader(io.StringIO(render([row(name)], None, "csv"))))
    assert [line["method"] for line in lines] == [f"'{name}"] * len(lines)


def test_missing_predictions_are_marked_and_counted_below():
    text = render([row(scores=scored(2, drop_episode=1))], None, "markdown")
    assert "| x3d ‡" in text
    assert "‡ x3d: 18 of 36 predictions are missing (failed units: 1)" in text


def test_few_patients_are_marked_and_explained():
    few = CLIPS.iloc[:10]
    text = render([row(scores=scored(1, clips=few))], None, "markdown")
    assert re.search(r"\| x3d \\\* +\|", text)
    assert "Fewer than 8 patients" in text
    assert "Fewer than 8 patients" not in render([row()], None, "markdown")


def test_perfect_separation_is_marked():
    text = render([row(flips=0)], None, "markdown")
    assert f"1.000 [{0.05 ** (1 / 9):.2f}, 1.00]†" in text
    assert "† All resamples gave the same value" in text


def test_an_empty_board_says_so():
    assert (
        render([], None, "markdown")
        == "No scored runs under runs/ yet; `seizure-bench run --model chance` makes one.\n"
    )
    assert json.loads(render([], None, "json"))["scored"] == []


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="markdown, csv, json"):
        render([row()], None, "html")


def test_rows_of_one_name_are_told_apart_by_their_run_and_mixed_code_is_said():
    text = render([row(run="a", flips=1), row(run="b", versions=2)], None, "markdown")
    assert order(text) == ["x3d (run a)", "x3d (run b) §"]
    assert "§ x3d: its units come from 2 states of its code; run it again" in text


def test_csv_of_one_shot_has_one_line_a_row():
    lines = list(csv.DictReader(io.StringIO(render([row(scores=scored(2, shots=(2,)))], None, "csv"))))
    assert [line["shots"] for line in lines] == ["2"]
