"""Tables of local runs: order, warnings, escaping, and the same bytes for the same rows."""

from __future__ import annotations

import csv
import io
import random
import re

import numpy as np
import pandas as pd
import pytest

from benchmark.board.table import RANDOM_INIT, RENDERED, BoardRow, cell, csv_lines, csv_text, render
from benchmark.score.summary import score_run

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
    text = render([row("worse", 4), row("best", 1), row("middle", 2)])
    assert order(text) == ["best", "middle", "worse"]


def test_chance_is_at_the_bottom_even_when_lucky():
    text = render([row("chance", 0), row("x3d", 6), row("chance, seed=3", 1, baseline="chance")])
    assert order(text) == ["x3d", "chance", "chance, seed=3"]


def test_a_row_without_a_figure_stands_last_before_chance():
    hole = score_run(
        pd.DataFrame([{"method": "m", "shots": 2, "episode": 0, "replicate": 0, "clip_id": "c01", "score": 0.5}]),
        CLIPS,
    ).methods[0]
    text = render([row("hole", scores=hole), row("chance", 4), row("x3d", 8)])
    assert order(text) == ["x3d", "hole", "chance"]
    assert "nan" not in text.lower()


def test_the_printed_row_shows_value_interval_and_the_papers_way():
    # Wrong about 2 of 9 patients, scores .1 and .9: 7 of 9 positives high, 7 of 9 negatives low.
    # ROC-AUC = 49/81 wins + 28/81 ties / 2 = 63/81; each episode alike, so SD 0.
    (line,) = [line for line in render([row()]).splitlines() if line.startswith("| x3d")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["x3d", "k400", "base", "none"]
    assert "9 positive and 9 negative clips of 9 patients." in render([row()])
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
    text = render(rows)
    assert text.count("### ") == 5
    assert "mean of 2, 3 shots" in text


def test_rendered_data_and_random_weights_are_said_above_the_table():
    text = render([row(rendered=True, data="rendered demo", init="random")])
    assert text.index(RENDERED) < text.index("| method")
    assert text.index(RANDOM_INIT) < text.index("| method")
    assert "| random-init |" in text
    plain = render([row()])
    assert RENDERED not in plain
    assert RANDOM_INIT not in plain


def lines_of(only, warnings=()):
    return list(csv.DictReader(io.StringIO(csv_text(list(csv_lines(only, warnings))))))


def test_csv_holds_every_shot_and_the_warnings():
    lines = lines_of(row(scores=scored(2, shots=(2, 3)), init="random"), [RENDERED])
    assert [line["shots"] for line in lines] == ["average of 2 3", "2", "3"]
    assert float(lines[0]["roc_auc"]) == pytest.approx(63 / 81)
    assert {line["warning"] for line in lines} == {RENDERED}
    assert {line["init"] for line in lines} == {"random-init"}


def test_order_of_rows_changes_no_byte():
    same = scored(2)
    rows = [row("a", scores=same), row("b", scores=same), row("b", scores=same, commit="1" * 40), row("chance")]
    rows += [row("a", data="elsewhere"), row("c", 5)]
    expected = render(rows)
    for seed in range(5):
        assert render(random.Random(seed).sample(rows, len(rows))) == expected


HOSTILE = "a|b\nc`d`<img src=x onerror=alert(1)> [x](javascript:1) \x1b[31m\u202e\x00 & \\"


def test_names_from_strangers_cannot_leave_their_markdown_cell():
    plain = render([row("x3d")])
    text = render([row("x3d", pool=HOSTILE, task=HOSTILE)])
    assert len(text.splitlines()) == len(plain.splitlines())
    (line,) = [line for line in text.splitlines() if line.startswith("| x3d")]
    (plain_line,) = [line for line in plain.splitlines() if line.startswith("| x3d")]
    assert len(re.findall(r"(?<!\\)\|", line)) == plain_line.count("|")
    assert "<" not in text
    assert r"\[x\](javascript:1)" in line
    assert r"c\`d\`" in line
    assert not any(character in text for character in "\x1b\u202e\x00")


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("https://example.org", r"https\://example.org"),
        ("WWW.example.org", r"WWW\.example.org"),
        ("a@example.org", r"a\@example.org"),
        ("~~a~~ $b$", r"\~\~a\~\~ \$b\$"),
        ("_a_ motion_energy", r"\_a\_ motion_energy"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("-", "-"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
    ],
)
def test_what_markdown_would_make_something_of_stays_text(text, inert):
    assert cell(text) == inert


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", "＝1+1"])
def test_names_from_strangers_are_no_formulas_in_csv(name):
    lines = lines_of(row(name))
    assert [line["method"] for line in lines] == [f"'{name}"] * len(lines)


def test_missing_predictions_are_marked_and_counted_below():
    text = render([row(scores=scored(2, drop_episode=1))])
    assert "| x3d ‡" in text
    assert "‡ x3d: 18 of 36 predictions are missing (failed units: 1)" in text


def test_few_patients_are_marked_and_explained():
    few = CLIPS.iloc[:10]
    text = render([row(scores=scored(1, clips=few))])
    assert re.search(r"\| x3d \\\* +\|", text)
    assert "Fewer than 8 patients" in text
    assert "Fewer than 8 patients" not in render([row()])


def test_perfect_separation_is_marked():
    text = render([row(flips=0)])
    assert f"1.000 [{0.05 ** (1 / 9):.2f}, 1.00]†" in text
    assert "† All resamples gave the same value" in text


def test_rows_of_one_name_are_told_apart_by_their_run_and_mixed_code_is_said():
    text = render([row(run="a", flips=1), row(run="b", versions=2)])
    assert order(text) == ["x3d (run a)", "x3d (run b) §"]
    assert "§ x3d: its units come from 2 states of its code; run it again" in text


def test_csv_of_one_shot_has_one_line_a_row():
    assert [line["shots"] for line in lines_of(row(scores=scored(2, shots=(2,))))] == ["2"]
