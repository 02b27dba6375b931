"""From a folder of submissions to the board: the same bytes wherever and in whatever order it is made."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest

from benchmark.board import publish, submitted
from benchmark.board.published import PAPER
from benchmark.board.submitted import build_board, is_trivial
from benchmark.progress import Progress
from benchmark.registry import entries as registered
from benchmark.score.comparison import contributions, paired_test
from benchmark.submission.card import Method, Pretraining
from benchmark.submission.reference import write_reference
from benchmark.submission.verify import verify_all
from tasks.errors import BadInput
from tests.benchmark.conftest import run_cli
from tests.benchmark.submission.synthetic import (
    Drawn,
    claims,
    draw_track,
    predictions_of,
    write_files,
    write_submission,
)

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two tracks with labels, one without, the paper, in `submissions`; with a cache beside it."""
    root = tmp_path_factory.mktemp("board") / "submissions"
    tracks = [draw_track(number, episodes=2) for number in range(3)]
    for one in tracks[:2]:
        write_reference(one.reference, root / "references" / one.reference.track.name.replace("_", "-"))
    for number, seed in enumerate((0, 1, 2, 9)):
        write_submission(root / f"scored-{number}", tracks[0], seed)
    write_submission(root / "chance", tracks[0], 10, name="chance", baseline="chance")
    write_submission(root / "other-data", tracks[1], 9)
    results_card(root / "said", tracks[0], 8)
    write_submission(root / "no-labels", tracks[2], 7)
    shutil.copytree(PAPER, root / PAPER.name)
    return root


def results_card(folder: Path, drawn: Drawn, seed: int) -> None:
    figures = claims(predictions_of(drawn, seed), drawn.reference)
    write_files(folder, drawn, None, figures, Method(name="said", baseline="m", init="random"))


@pytest.fixture
def root(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "submissions")


@pytest.fixture(scope="module")
def kept(made) -> Path:
    """A cache that more than one test may fill."""
    return made.parent / "cache"


def rows_of(board, track=0):
    return {row.entry.submission: row for row in board.tracks[track].rows}


def test_each_track_is_a_table_and_each_row_bears_how_far_it_was_checked(made, kept):
    board = build_board(made, kept, QUIET)
    first, second, third, paper = board.tracks
    assert [len(track.rows) for track in board.tracks] == [6, 1, 1, 12]
    statuses = {row.entry.submission: row.entry.status for row in first.rows}
    assert statuses == dict.fromkeys(("scored-0", "scored-1", "scored-2", "scored-3", "chance"), "re-scored") | {
        "said": "reported"
    }
    assert rows_of(board, 2)["no-labels"].entry.status == "reported"
    assert all(row.rank is None for row in (*third.rows, *paper.rows, rows_of(board)["said"]))
    assert [row.entry.kind for row in paper.rows] == ["method"] * 7 + ["ablation"] * 5
    assert first.rows[-1].entry.submission == "said"
    assert second.rows[0].rank == 1


def test_a_re_scored_row_has_figures_curves_and_cost_a_reported_one_what_was_claimed(made, kept):
    rows = rows_of(build_board(made, kept, QUIET))
    scored, said = rows["scored-3"].entry, rows["said"].entry
    results = {one.name: one.results for one in verify_all(made)}
    assert scored.averaged["roc_auc"].value == pytest.approx(results["scored-3"].averaged.metrics["roc_auc"].value)
    assert said.averaged["roc_auc"].value == round(results["said"].averaged.metrics["roc_auc"].value, 9)
    assert scored.averaged["roc_auc"].low is not None
    assert scored.averaged["brier"].mark == "~"
    assert sorted(scored.per_shot) == [2, 3, 4]
    assert (scored.cost_s, scored.init, scored.random_init) == (15 / 6, "none", False)
    assert (said.init, said.random_init) == ("random-init", True)
    assert len(scored.plots.patients) == 12
    assert (said.plots, said.worst_patient) == (None, None)


def test_a_row_is_reproduced_while_the_list_names_its_very_predictions(root, kept):
    card = {one.name: one.card for one in verify_all(root)}["scored-1"]
    lines = ["submission,predictions,max_difference,tolerance", f"scored-1,{card.hashes.predictions},1e-7,1e-6", ""]
    (root / "reproduced.csv").write_text("\n".join(lines))
    assert rows_of(build_board(root, kept, QUIET))["scored-1"].entry.status == "reproduced"
    (root / "reproduced.csv").write_text("\n".join(lines).replace(card.hashes.predictions, "0" * 64))
    assert rows_of(build_board(root, kept, QUIET))["scored-1"].entry.status == "re-scored"


def test_ranks_are_of_the_paired_test_over_all_pairs(made, kept):
    board = build_board(made, kept, QUIET)
    rows = rows_of(board)
    scored = {one.name: one for one in verify_all(made) if one.name in rows and one.status != "reported"}
    reference = scored["chance"].reference
    scores = {name: submitted.clip_scores(one, reference) for name, one in scored.items()}
    labels, patients = reference.clips["label"].to_numpy(dtype=float), list(reference.clips["patient"])
    names = sorted(scores)
    raw = {
        (a, b): paired_test(contributions("roc_auc", scores[a], scores[b], labels, patients))
        for place, a in enumerate(names)
        for b in names[place + 1 :]
    }
    ordered, lost = sorted(raw, key=lambda pair: raw[pair].p), dict.fromkeys(names, 0)
    for place, pair in enumerate(ordered):  # Holm, by hand
        if raw[pair].p * (len(ordered) - place) > 0.05:
            break
        lost[pair[1] if raw[pair].difference > 0 else pair[0]] += 1
    assert {name: rows[name].rank for name in names} == {name: 1 + count for name, count in lost.items()}
    assert max(lost.values()) > 0
    assert {of.shape for of in scores.values()} == {(3, 1, 48)}


def test_warnings_of_pre_training_go_with_the_row(made):
    found = {one.name: one.card for one in verify_all(made)}
    stage = Pretraining(what="six mice", rendered=True, test_patients=2)
    card = found["scored-0"].model_copy(update={"pretraining": (stage,)})
    assert submitted._warnings(card) == ("PRE-TRAINED ON 2 TEST PATIENTS",)
    assert submitted._pretraining(card) == "six mice [rendered video]"
    real = card.track.data.model_copy(update={"rendered": False})
    card = card.model_copy(update={"track": card.track.model_copy(update={"data": real})})
    assert "PRE-TRAINED ON RENDERED VIDEO" in submitted._warnings(card)
    assert submitted._warnings(found["scored-0"]) == ()


def test_the_floor_is_chance_simple_cues_and_probes():
    assert {name for name in registered() if is_trivial(name)} == {
        *("chance", "clip_metadata", "motion_energy", "motion_features"),
        *("probe_background", "probe_first_frame", "probe_shuffled_time"),
    }


def test_dates_are_the_maintainers_and_may_be_absent(root, kept):
    assert {row.entry.date for row in build_board(root, kept, QUIET).tracks[0].rows} == {None}
    (root / "joined.csv").write_text("submission,date\nscored-1,2026-03-31\n")
    rows = rows_of(build_board(root, kept, QUIET))
    assert (rows["scored-1"].entry.date, rows["scored-2"].entry.date) == ("2026-03-31", None)
    for text, said in (
        ("nobody,2026-03-31", "no submission nobody"),
        ("scored-1,2026-02-31", "is no day"),
        ("scored-1,31.3.2026", "joined.csv"),
        ("scored-1,2026-03-31\nscored-1,2026-03-31", "twice"),
    ):
        (root / "joined.csv").write_text(f"submission,date\n{text}\n")
        with pytest.raises(BadInput, match=said):
            build_board(root, kept, QUIET)


def test_two_builds_in_two_places_in_any_order_of_files_make_the_same_bytes(made, tmp_path, monkeypatch):
    """Own caches; the second root is written in another order, and every listing of a folder is shuffled."""
    monkeypatch.chdir(made.parent)
    expected = publish.board_files(build_board(Path("submissions"), tmp_path / "cache-a", QUIET))
    elsewhere = tmp_path / "far" / "away"
    elsewhere.mkdir(parents=True)
    for folder in sorted(made.iterdir(), reverse=True):
        shutil.copytree(folder, elsewhere / folder.name) if folder.is_dir() else shutil.copy(folder, elsewhere)
    shuffle_listings(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert len({tuple(os.listdir(elsewhere)) for _ in range(9)}) > 1
    found = publish.board_files(build_board(elsewhere, tmp_path / "cache-b", QUIET))
    assert found == expected
    again = publish.board_files(build_board(elsewhere, tmp_path / "cache-b", QUIET))
    assert again == expected
    assert not [name for name, text in expected.items() if str(tmp_path) in text or str(made) in text]


def shuffle_listings(monkeypatch) -> None:
    dice, listdir, scandir = random.Random(5), os.listdir, os.scandir

    class Shuffled:
        def __init__(self, *place):
            with scandir(*place) as found:
                entries = list(found)
            self.entries = iter(dice.sample(entries, len(entries)))

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return self.entries

        def __next__(self):
            return next(self.entries)

        def close(self):
            pass

    def shuffled(*place):
        names = listdir(*place)
        return dice.sample(names, len(names))

    monkeypatch.setattr(os, "listdir", shuffled)
    monkeypatch.setattr(os, "scandir", Shuffled)


def test_a_second_board_scores_and_ranks_nothing(root, tmp_path, monkeypatch):
    board = build_board(root, tmp_path / "cache", QUIET)

    def fail(*_, **__):
        pytest.fail("it was computed again")

    monkeypatch.setattr("benchmark.submission.rescore.scored", fail)
    monkeypatch.setattr("benchmark.board.ranking.rank", fail)
    assert build_board(root, tmp_path / "cache", QUIET) == board


def test_another_row_ranks_anew_and_leaves_other_tracks_alone(root, kept):
    before = build_board(root, kept, QUIET)
    shutil.rmtree(root / "scored-3")
    after = build_board(root, kept, QUIET)
    assert "scored-3" not in rows_of(after)
    assert after.tracks[1:] == before.tracks[1:]
    assert rows_of(after)["scored-0"].rank <= rows_of(before)["scored-0"].rank


def test_a_fault_in_one_submission_stops_the_board_and_names_it(root, kept):
    (root / "scored-2" / "episodes.csv").write_text("")
    with pytest.raises(BadInput, match=r"scored-2.*episodes\.csv"):
        build_board(root, kept, QUIET)


def test_out_writes_all_formats_and_the_page_and_check_names_what_differs(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "board"

    def call(words):
        capsys.readouterr()
        code = run_cli(f"leaderboard {root} --quiet {words}")
        return code, capsys.readouterr().out

    assert call(f"--check {out}")[0] == 1
    code, said = call(f"--out {out}")
    assert code == 0
    names = {str(Path(line).relative_to(out)) for line in said.splitlines()}
    assert names == {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tex", "index.html"} < names
    assert "submissions/scored-1.html" in names
    assert call(f"--check {out}")[0] == 0
    assert call("")[1] == (out / "leaderboard.md").read_text()
    assert call("--format json")[1] == (out / "leaderboard.json").read_text()
    first, second = out / "leaderboard.csv", out / "leaderboard.md"
    second.write_text(second.read_text().replace("re-scored", "reproduced"))
    assert call(f"--check {out}") == (1, f"{second}: stale; `seizure-bench leaderboard {root} --out {out}` renews it\n")
    first.unlink()
    assert call(f"--check {out}")[1].startswith(f"{first}: missing")
    call(f"--out {out}")
    (out / "extra.txt").write_text("x")
    assert call(f"--check {out}")[1].startswith(f"{out / 'extra.txt'}: extra")
    assert call(f"--out {out}")[0] == 2
    (out / "extra.txt").unlink()
    shutil.rmtree(root / "scored-1")
    assert call(f"--check {out}")[0] == 1
    call(f"--out {out}")
    assert not (out / "submissions" / "scored-1.html").exists()
    assert call(f"--check {out}")[0] == 0


def test_the_papers_hash_is_that_of_its_rows():
    (paper,) = [one for one in verify_all(PAPER.parent) if one.name == PAPER.name]
    assert paper.card.reported == hashlib.sha256((PAPER / "reported.yaml").read_bytes()).hexdigest()
    assert paper.status == "reported"
