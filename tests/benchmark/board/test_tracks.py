"""Which rows stand in one table, in which order, and what stands over and under it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmark.board import tracks
from benchmark.board.entry import Figure
from benchmark.board.table import RANDOM_INIT
from benchmark.board.tracks import groups_by_row, track_boards, warnings_of
from tests.benchmark.board.entries import entry, printed, ranking, track


def names(board):
    return [row.entry.submission for row in board.rows]


def test_rows_of_another_task_protocol_data_set_or_onset_type_are_never_mixed():
    others = [
        track(),
        track(onset_type="eeg"),
        track(window_s=6),
        track(protocol="paper"),
        track(manifest="3" * 64),
        track(split="develop"),
    ]
    boards = track_boards([entry(f"m{n}", of=of) for n, of in enumerate(others)], {}, {})
    assert len(boards) == 6
    assert all(len(board.rows) == 1 for board in boards)
    assert len({board.name for board in boards}) == 6
    assert len({board.title for board in boards}) == 6


def test_the_same_clips_in_a_folder_of_another_name_are_one_track_and_the_references_name_is_shown():
    rows = [entry("b", of=track(name="copy")), entry("a", of=track(name="elsewhere"))]
    (board,) = track_boards(rows, {}, {})
    assert board.data == "elsewhere"
    (board,) = track_boards(rows, {}, {track().digest: "clinic"})
    assert board.data == "clinic"
    assert board.name == "clinic-forecast-5s-clinical-patient-disjoint"


def test_scored_rows_best_first_then_reported_ones_the_floor_where_its_figures_put_it():
    rows = [
        entry("chance", 0.99, kind="trivial"),
        entry("said", 0.95, status="reported"),
        entry("partial", averaged=None),
        entry("good", 0.8),
        entry("b-tie", 0.7),
        entry("a-tie", 0.7),
    ]
    for seed in range(5):
        (board,) = track_boards(random.Random(seed).sample(rows, len(rows)), {}, {})
        assert names(board) == ["chance", "good", "a-tie", "b-tie", "partial", "said"]


def test_a_publication_is_a_track_of_its_own_in_its_order_without_ranks():
    boards = track_boards([*printed(), entry("ours")], {}, {})
    (paper,) = [board for board in boards if board.reported_only]
    assert [(row.entry.method, row.rank) for row in paper.rows] == [("B", None), ("A", None)]
    assert boards[-1] is paper
    assert paper.quoted == "compare nothing"
    assert paper.title == 'Reported: its track, by "arXiv 1"'
    assert paper.name == "reported-paper"
    assert warnings_of(paper) == (tracks.REPORTED_ONLY,)


def test_ranks_and_groups_come_from_the_ranking_and_reported_rows_have_none():
    rows = [entry("a", 0.9), entry("b", 0.8), entry("said", status="reported")]
    found = ranking({"a": 1, "b": 2}, joined=(("a",), ("b",)))
    (board,) = track_boards(rows, {track().digest: found}, {})
    assert [row.rank for row in board.rows] == [1, 2, None]
    assert groups_by_row(board) == {"a": "a", "b": "b"}
    assert tracks.SOME_REPORTED in warnings_of(board)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (entry("m", of=track(rendered=True)), tracks.RENDERED),
        (entry("m", of=track(split="develop")), tracks.DEVELOP),
        (entry("m", of=track(protocol="paper")), tracks.SHARED),
        (entry("m", random_init=True), RANDOM_INIT),
        (entry("m", status="reported"), tracks.SOME_REPORTED),
    ],
)
def test_what_keeps_a_number_from_being_a_result_stands_over_the_table(row, said):
    (board,) = track_boards([row], {}, {})
    assert warnings_of(board) == (said,)


def test_nothing_stands_over_a_table_of_real_re_scored_rows():
    (board,) = track_boards([entry("m")], {}, {})
    assert warnings_of(board) == ()


def test_who_is_above_the_floor_is_said_and_that_there_is_none():
    rows = [entry("a", method="Best"), entry("chance", kind="trivial", baseline="chance")]
    found = ranking({"a": 1, "chance": 2}, above_floor=("a",))
    (board,) = track_boards(rows, {track().digest: found}, {})
    assert "Told apart above chance: Best." in board.notes
    (board,) = track_boards(rows, {track().digest: ranking({"a": 1, "chance": 1})}, {})
    assert "Told apart above chance: no row." in board.notes
    (board,) = track_boards(rows[:1], {}, {})
    assert any(note.startswith("No floor") for note in board.notes)


def test_that_no_difference_at_all_could_be_told_apart_is_said():
    few = ranking({"a": 1, "b": 1}).model_copy(update={"smallest_p": 0.25, "patients": 3})
    (board,) = track_boards([entry("a"), entry("b")], {track().digest: few}, {})
    assert any("No pair can be told apart here" in note and "3 patients" in note for note in board.notes)
    (board,) = track_boards([entry("a"), entry("b")], {track().digest: ranking({"a": 1, "b": 1})}, {})
    assert not any("No pair" in note for note in board.notes)


def test_each_mark_is_explained_once_and_only_if_it_is_there():
    marked = {"roc_auc": Figure(1.0, 0.8, 1.0, "†*"), "brier": Figure(None, suppressed=True)}
    (board,) = track_boards(
        [entry("a", averaged=marked, per_shot={}), entry("b", averaged=marked, per_shot={})], {}, {}
    )
    assert [note for note in board.notes if note[0] in "†*~"] == [tracks.MARKS["†"], tracks.MARKS["*"]]
    assert board.notes.count(tracks.SUPPRESSED) == 1


def test_shots_of_rows_that_lack_one_of_the_boards_are_shown():
    rows = [entry("a"), entry("b", averaged=None, per_shot={2: entry("b").per_shot[2], 7: entry("b").per_shot[3]})]
    (board,) = track_boards(rows, {}, {})
    assert board.shots == (2, 3, 4, 7)
    assert any("neither average nor rank (here 1)" in note for note in board.notes)


def test_a_name_of_strange_letters_is_a_plain_file_name():
    (board,) = track_boards([entry("m", of=track(name="<b>Ä/../x"))], {}, {})
    assert board.name == "b-x-forecast-5s-clinical-patient-disjoint"
    other = replace(entry("n", of=track(name="b x", manifest="4" * 64)))
    assert len({board.name for board in track_boards([entry("m", of=track(name="b/x")), other], {}, {})}) == 2


def test_without_a_chance_row_nothing_is_said_of_the_floor_and_with_it_every_row_beaten_is_named():
    cue = entry("cue", 0.5, kind="trivial")
    (board,) = track_boards([entry("a"), cue], {track().digest: ranking({"a": 1, "cue": 2}, above_floor=("a",))}, {})
    assert tracks.NO_CHANCE in board.notes
    assert not any("Told apart above" in note for note in board.notes)
    assert any("of 1 pair." in note for note in board.notes)
    chance = entry("z", 0.4, kind="trivial", baseline="chance", method="chance")
    found = ranking({"a": 1, "cue": 2, "z": 2}, above_floor=("a",)).model_copy(update={"above_chance": ("a",)})
    (board,) = track_boards([entry("a"), cue, chance], {track().digest: found}, {})
    assert "Told apart above all of chance, cue: a." in board.notes
    assert [(row.rank, row.tied, row.chance) for row in board.rows] == [(1, 1, "above"), (2, 2, "alike"), (2, 2, None)]


def test_ranked_rows_stand_by_rank_then_by_roc_auc():
    rows = [entry("low", 0.6), entry("high", 0.9), entry("cue", 0.8, kind="trivial"), entry("first", 0.5)]
    (board,) = track_boards(rows, {track().digest: ranking({"first": 1, "low": 2, "high": 2, "cue": 2})}, {})
    assert names(board) == ["first", "high", "cue", "low"]


def test_a_source_cannot_close_its_quotation():
    (board,) = track_boards(printed(source='x" scored here\u201d'), {}, {})
    assert board.title == "Reported: its track, by \"x' scored here'\""
