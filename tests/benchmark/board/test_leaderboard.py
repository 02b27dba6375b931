"""The board as text: every figure, every warning, and no text of a stranger that does anything."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from benchmark.board.entry import Board, Figure
from benchmark.board.leaderboard import latex, render_csv, render_json, render_latex, render_markdown
from benchmark.board.tracks import RENDERED, REPORTED_ONLY
from tests.benchmark.board.entries import board, entry, figures, printed, ranking, track

RENDERS = {"markdown": render_markdown, "csv": render_csv, "json": render_json, "latex": render_latex}


def small():
    """Two ranked rows and the floor on rendered data, and a publication."""
    of = track(rendered=True)
    rows = [
        entry("best", 0.8, of, warnings=("PRE-TRAINED ON 2 TEST PATIENTS",), date="2026-03-31"),
        entry("poor", 0.6, of, init="random-init", random_init=True),
        entry("chance", 0.5, of, kind="trivial", status="reproduced"),
    ]
    ranks = ranking({"best": 1, "poor": 2, "chance": 2}, joined=(("best",), ("poor", "chance")))
    return board([*rows, *printed()], {of.digest: ranks})


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def table(text, at=0):
    """Of the table number `at`: heading and rows as dicts."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    head = cells(blocks[at][0])
    return [dict(zip(head, cells(line), strict=True)) for line in blocks[at][2:]]


def test_a_row_shows_all_that_was_asked_for_in_this_order():
    first = table(render_markdown(small()))[0]
    assert first == {
        "rank, group": "1 a",
        "method": r"best \[PRE-TRAINED ON 2 TEST PATIENTS\]",
        "init": "k400",
        "pool": "mean",
        "size": "base",
        "bacc [95%]": "0.700 [0.20, 0.90]",
        "ROC-AUC [95%]": "0.800 [0.30, 0.95]",
        "PR-AUC [95%]": "0.810 [0.31, 0.96]~",
        "ROC-AUC, 2 shots": "0.790 [0.30, 0.95]",
        "ROC-AUC, 3 shots": "0.800 [0.30, 0.95]",
        "ROC-AUC, 4 shots": "0.810 [0.30, 0.95]",
        "Brier [95%]": "0.250 [0.20, 0.30]",
        "worst patient": "0.25",
        "s a unit": "12.3",
        "pre-training": "none",
        "status": "re-scored",
        "date": "2026-03-31",
    }


def test_the_floor_is_marked_and_a_missing_date_is_a_dash():
    rows = table(render_markdown(small()))
    assert [row["method"].split(" ")[0] for row in rows] == ["best", "poor", "chance"]
    assert rows[2]["method"] == "chance (trivial)"
    assert rows[2]["rank, group"] == "2 b (2 tied)"
    assert rows[1]["date"] == "—"
    assert rows[1]["init"] == "random-init"


def test_a_publications_table_has_its_digits_no_ranks_and_no_interval():
    first = table(render_markdown(small()), 1)[0]
    assert first["ROC-AUC [95%]"] == "0.7558"
    assert first["status"] == "reported"
    assert not [title for title in first if "rank" in title]


def test_warnings_stand_over_their_table_in_every_format():
    text = render_markdown(small())
    assert text.index(f"**{RENDERED}**") < text.index("| rank, group")
    assert text.index(f"**{REPORTED_ONLY}**") < text.index("\n| method")
    assert text.index("| rank, group") < text.index(f"**{REPORTED_ONLY}**")
    tex = render_latex(small())
    assert tex.index(RENDERED) < tex.index(r"\toprule") < tex.index(REPORTED_ONLY)
    rows = list(csv.DictReader(io.StringIO(render_csv(small()))))
    assert {row["method"] for row in rows if RENDERED in row["warnings"]} == {"best", "poor", "chance"}
    assert all("PRE-TRAINED ON 2 TEST PATIENTS" in row["warnings"] for row in rows if row["method"] == "best")
    assert {row["method"] for row in rows if REPORTED_ONLY in row["warnings"]} == {"A", "B"}
    tracks = json.loads(render_json(small()))["tracks"]
    assert RENDERED in tracks[0]["warnings"]
    assert tracks[1]["warnings"] == [REPORTED_ONLY]


def test_csv_holds_every_figure_of_the_average_and_of_each_number_of_shots():
    rows = [row for row in csv.DictReader(io.StringIO(render_csv(small()))) if row["method"] == "best"]
    assert [row["shots"] for row in rows] == ["average of 2 3 4", "2", "3", "4"]
    assert (float(rows[0]["roc_auc"]), rows[0]["rank"], rows[0]["groups"]) == (0.8, "1", "a")
    assert (float(rows[1]["pr_auc"]), rows[1]["pr_auc_low"], rows[1]["pr_auc_mark"]) == (0.80, "0.31", "~")
    assert (rows[0]["rendered"], rows[0]["status"]) == ("True", "re-scored")


def test_json_holds_every_figure_and_no_nan():
    content = json.loads(render_json(small()), parse_constant=lambda name: pytest.fail(name))
    best, poor, _ = content["tracks"][0]["rows"]
    assert best["averaged"]["roc_auc"] == {"value": 0.8, "low": 0.3, "high": 0.95, "mark": "", "suppressed": False}
    assert sorted(best["per_shot"]) == ["2", "3", "4"]
    assert set(best["per_shot"]["3"]) == {"balanced_accuracy", "roc_auc", "pr_auc", "brier"}
    assert (best["rank"], poor["rank"], poor["random_init"]) == (1, 2, True)
    assert content["tracks"][1]["rows"][0]["rank"] is None


def test_what_is_missing_suppressed_or_degenerate_is_said():
    odd = figures(0.7) | {"roc_auc": Figure(None, suppressed=True), "brier": Figure(0.5, 0.5, 0.5, "†*")}
    row = entry("m", averaged=odd | {"pr_auc": Figure(None)}, cost_s=None, worst_patient=None)
    (shown,) = table(render_markdown(board([row])))
    assert (shown["rank, group"], shown["ROC-AUC [95%]"], shown["PR-AUC [95%]"]) == ("—", "suppressed", "—")
    assert (shown["Brier [95%]"], shown["s a unit"], shown["worst patient"]) == (r"0.500 [—]†\*", "—", "—")


def test_latex_is_booktabs_with_a_line_above_what_is_not_ranked():
    tex = render_latex(small())
    first = tex[: tex.index(r"\end{table*}")]
    assert [first.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    said = render_latex(
        board([entry("a"), entry("b"), entry("said", status="reported")], {track().digest: ranking({"a": 1, "b": 1})})
    )
    assert said.index("1 (2 tied) & b") < said.rindex(r"\midrule") < said.index("said &")
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", first).group(1)
    lines = [line for line in first.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 4
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(columns)}


def test_an_empty_board_says_so():
    assert "No submissions yet" in render_markdown(Board(()))
    assert json.loads(render_json(Board(())))["tracks"] == []


HOSTILE = (
    "=cmd|'/C calc'!A1 <script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:1) ![i](https://evil.org) "
    "`c` **b** _e_ | cell \n## heading\n| a | \\ ~~s~~ $m$ & % # ^ {g} \\input{/etc/passwd} \\\\[1em] \" ' \x1b[31m"
    "\u202e www.evil.org ^^5cinput \\write18{rm} a@evil.org"
)


def hostile():
    """Every text that a stranger writes; also what reading would have refused."""
    of = track(name=HOSTILE)
    texts = dict.fromkeys(("method", "baseline", "init", "pool", "size", "pretraining", "device"), HOSTILE)
    theirs = entry("evil", 0.7, of, **texts, warnings=(HOSTILE,))
    paper = printed("evil-paper", names=(HOSTILE,), name=HOSTILE, task=HOSTILE, source=HOSTILE, note=HOSTILE)
    ranks = ranking({"evil": 1, "good": 1}, joined=(("evil", "good"),), above_floor=("evil",))
    rows = [theirs, entry("good", 0.6, of), entry("chance", 0.5, of, kind="trivial")]
    return board([*rows, *paper], {of.digest: ranks})


def plain():
    """The same board with harmless texts."""
    of = track(name="x")
    texts = dict.fromkeys(("method", "baseline", "init", "pool", "size", "pretraining", "device"), "x")
    ranks = ranking({"evil": 1, "good": 1}, joined=(("evil", "good"),), above_floor=("evil",))
    paper = printed("evil-paper", names=("x",), name="x", task="x", source="x", note="x")
    rows = [entry("evil", 0.7, of, **texts, warnings=("x",)), entry("good", 0.6, of)]
    return board([*rows, entry("chance", 0.5, of, kind="trivial"), *paper], {of.digest: ranks})


@pytest.mark.parametrize("fmt", ["markdown", "latex"])
def test_texts_of_strangers_add_no_line(fmt):
    assert len(RENDERS[fmt](hostile()).splitlines()) == len(RENDERS[fmt](plain()).splitlines())
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", RENDERS[fmt](hostile()))


def test_in_markdown_no_text_of_a_stranger_is_a_tag_link_code_emphasis_heading_or_cell():
    text = render_markdown(hostile())
    assert "<" not in text
    assert [line.count("|") - line.count(r"\|") for line in text.splitlines() if line.startswith("| ")] == [
        line.count("|") - line.count(r"\|") for line in render_markdown(plain()).splitlines() if line.startswith("| ")
    ]
    mine = render_markdown(plain())
    for markup in ("](", "`", "**", "~~", "https://", "www.", "$"):
        theirs = len(re.findall(r"(?<!\\)" + re.escape(markup), text))
        assert theirs == len(re.findall(r"(?<!\\)" + re.escape(markup), mine)), markup


def test_in_csv_no_cell_is_a_formula_and_every_cell_is_in_its_column():
    rows = list(csv.reader(io.StringIO(render_csv(hostile()))))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not [cell for row in rows for cell in row if re.match(r"[=+\-@\t\r]..", cell)]
    assert any(cell.startswith("'=cmd") for row in rows for cell in row)


def test_in_json_texts_are_kept_whole():
    content = json.loads(render_json(hostile()))
    assert content["tracks"][0]["rows"][0]["method"] == HOSTILE
    assert "<script>" in render_json(hostile())


SAFE = re.compile(  # LaTeX that our own renderer may write for a character of a stranger
    r"\\(?:[{}$&#_%]|textbackslash\{\}|textasciicircum\{\}|textasciitilde\{\}|textless\{\}|textgreater\{\}|textbar\{\}"
    r"|char34\{\}|char96\{\}|textdagger\{\})|\{\[\}|\{\]\}|\{\*\}|---"
)


@pytest.mark.parametrize("character", [chr(code) for code in range(0x20, 0x7F)])
def test_in_latex_every_printable_character_is_text(character):
    """What is left once our own forms are taken out holds none of TeX's special characters."""
    for text in (character, character * 3, f"a{character}b", f"\\{character}", f"{character}{{x}}"):
        assert not re.search(r'[\\{}$&#^_%~<>|"`\[\]*]', SAFE.sub("", latex(text))), text


def test_in_latex_a_whole_hostile_board_has_no_command_but_ours():
    ours = {*re.findall(r"\\([a-zA-Z]+|.)", render_latex(plain())), *"{}$&#_%"}
    escapes = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "char"}
    assert set(re.findall(r"\\([a-zA-Z]+|.)", render_latex(hostile()))) <= ours | escapes
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", render_latex(hostile())):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def test_in_latex_no_row_begins_with_what_a_line_end_takes_for_its_argument():
    row = replace(entry("evil"), method="[1em]", status="reported")
    for line in render_latex(board([row])).splitlines():
        assert not line.lstrip().startswith(("[", "*"))


def test_ties_are_shown_and_are_a_column_of_their_own_beside_the_number():
    assert [row["tied"] for row in json.loads(render_json(small()))["tracks"][0]["rows"]] == [1, 2, 2]
    rows = list(csv.DictReader(io.StringIO(render_csv(small()))))
    assert {(row["method"], row["rank"], row["tied"]) for row in rows} >= {("best", "1", "1"), ("poor", "2", "2")}


def test_a_publications_note_is_a_quotation_and_its_heading_says_reported():
    text = render_markdown(small())
    assert '## Reported: its track, by "arXiv 1"' in text
    assert "In their words:\n\n> compare nothing" in text
    assert "Reported: its track" in render_latex(small())


def test_nearly_1_is_not_shown_as_1_and_a_mark_is_explained_only_where_it_stands():
    odd = figures(0.9999)
    per_shot = {2: figures(0.5) | {"brier": Figure(0.1, 0.1, 0.1, "†")}}
    text = render_markdown(board([entry("m", averaged=odd, per_shot=per_shot)]))
    assert "&gt;0.999 [0.30, 0.95]" in text
    assert "†" not in text
