"""Permuted labels and repeated trainings: what they change in a run, and that runs without them are as they were."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from benchmark.baseline import BaselineSettings, Scale
from benchmark.board.control import control_of, read_control
from benchmark.board.rows import board_rows, score_folder
from benchmark.data.manifest import read_manifest, write_manifest
from benchmark.progress import Progress
from benchmark.run.execute import Machine
from benchmark.run.plan import Method, plan_units
from benchmark.run.session import Request, open_session, plan_text, run_session
from benchmark.run.units import RunCard, WorkUnit, digest_of
from tasks.errors import BadInput

QUIET = Progress(quiet=True)


@pytest.fixture
def ask(data_set, short_task, cache, tmp_path):
    """Open a session on the small data set; fields of the request can be changed."""

    def open_(models=("chance",), shots=(1, 2), out="run", **changes):
        folder = tmp_path / out if out else None
        request = Request(models, shots, short_task, "patient_disjoint", data_set, folder, episodes=4)
        return open_session(replace(request, **changes), cache, QUIET)

    return open_


@pytest.fixture
def run(cache):
    return lambda session: run_session(session, Machine("cpu", 1, cache), "only-missing", QUIET)


def predictions(session):
    return (session.folder.path / "predictions.csv").read_text().splitlines()


def clips_of(session):
    return pd.read_csv(session.folder.path / "clips.csv", index_col="clip_id")


# Permuted labels


def test_a_control_keeps_the_clips_and_saves_the_labels_that_each_episode_dealt(ask, run):
    plain, control = ask(out="plain"), ask(out="control", permute_labels=True)
    run(plain)
    run(control)
    assert clips_of(plain).equals(clips_of(control))
    saved = json.loads((control.folder.path / "episodes.json").read_text())
    assert [tuple(one["dealt_positives"]) for one in saved] == [one.dealt_positives for one in control.episodes]
    assert len({one.dealt_positives for one in control.episodes}) == len(control.episodes)
    assert "dealt_positives" not in (plain.folder.path / "episodes.json").read_text()


def test_support_and_query_of_a_control_follow_the_dealt_labels(ask):
    control = ask(permute_labels=True)
    for episode in control.episodes:
        dealt = control.data.label_in(episode)
        labels = control.data.support(episode, None).labels
        assert labels.tolist() == [dealt[clip] for clip in episode.support]
        assert labels.sum() == episode.shots
        assert dealt != control.data.label_of
        assert not {clip.split("@")[0] for clip in episode.support} & {clip.split("@")[0] for clip in episode.query}


def test_a_control_says_so_wherever_it_is_shown(ask, run):
    control = ask(permute_labels=True)
    run(control)
    path = control.folder.path
    with pytest.raises(BadInput, match="a control with permuted labels, which has no result"):
        board_rows([path])
    with pytest.raises(BadInput, match="cannot be scored beside other runs"):
        control_of([path, path], None)
    with pytest.raises(BadInput, match="cannot be scored with --plots"):
        control_of([path], path)
    shown = control_of([path], None)
    assert shown.text.startswith("### Control, labels permuted: ")
    assert "No figure here is a result" in shown.text
    assert json.loads(shown.to_json)["run"]["permuted_labels"] is True
    assert "small, labels permuted: 16 positive and 16 negative clips" in plan_text(control, "only-missing", False)
    assert json.loads(plan_text(control, "only-missing", True))["run"]["permuted_labels"] is True
    assert "-permuted-labels-" in ask(out=None, permute_labels=True).folder.path.name
    assert "permuted" not in ask(out=None).folder.path.name
    assert [text for text in control.notices if "a control, no result" in text]
    assert not [text for text in ask().notices if "permuted" in text]


def test_a_permuted_run_resumes_and_shares_no_folder_with_a_result(ask, run):
    control = ask(permute_labels=True)
    assert run(control).done == 8
    before = predictions(control)
    assert run(ask(permute_labels=True)).done == 0
    with pytest.raises(BadInput, match=r"holds another run \(its permuted_labels is True, this one's False\)"):
        run(ask())
    assert predictions(control) == before


def test_other_models_settings_and_orders_of_rows_meet_the_same_permutation(ask, data_set, tmp_path):
    control = ask(permute_labels=True)
    manifest = read_manifest(data_set)
    tables = (manifest.recordings[::-1], manifest.events[::-1], manifest.annotated_intervals[::-1])
    shutil.copytree(data_set, tmp_path / "small")
    write_manifest(tmp_path / "small", *tables)
    other = ask(("linear_probe",), permute_labels=True, data=tmp_path / "small", changes=("pool=first",))
    assert other.episodes == control.episodes
    assert ask(permute_labels=True, seed=1).episodes[0].dealt_positives != control.episodes[0].dealt_positives


def test_a_control_of_an_earlier_version_is_named(ask, run):
    control = ask(permute_labels=True)
    run(control)
    path = control.folder.path
    plain = [replace(episode, dealt_positives=None) for episode in control.episodes]
    for file in (path / "units").iterdir():
        file.unlink()
    (path / "episodes.json").unlink()
    control.folder.save_episodes(plain)
    old = replace(control, episodes=plain, pairs=plan_units(control.methods, plain, control.card))
    run(old)
    with pytest.raises(BadInput, match="does not say which labels its episodes dealt"):
        read_control(path)


def test_patients_whose_labels_cannot_move_are_counted_and_a_set_of_such_patients_is_refused(ask, data_set, tmp_path):
    """p0 and p1 have no seizure, and of p2, then of p3 as well, only the time before its seizures is watched."""
    manifest = read_manifest(data_set)
    shutil.copytree(data_set, tmp_path / "small")
    calm = manifest.events[~manifest.events["recording_id"].str.match("p[01]")]

    def asked(only_before_seizures):
        watched = manifest.annotated_intervals.copy()
        watched.loc[watched["recording_id"].str.match(only_before_seizures), ["start_s", "end_s"]] = (12.0, 21.0)
        write_manifest(tmp_path / "small", manifest.recordings, calm, watched)
        return ask(permute_labels=True, data=tmp_path / "small", shots=(1,), protocol="paper")

    assert asked("p2").notices[-1].endswith("; 3 of 4 patients have clips of one class and keep theirs")
    with pytest.raises(BadInput, match="--permute-labels: none of the 4 patients has clips of both classes"):
        asked("p[23]")


def test_cards_and_units_of_before_are_what_they_were(ask, run):
    session = ask()
    old = session.card.model_dump(mode="json", exclude={"permuted_labels"})
    assert session.card.digest == digest_of(old)
    assert RunCard.model_validate(old) == session.card
    assert ask(permute_labels=True).card.digest != replace_labels_only(ask(permute_labels=True).card).digest
    unit = session.pairs[0][1]
    before = unit.model_dump(mode="json", exclude={"train_seed"})
    assert WorkUnit.model_validate(before) == unit
    place = {key: before[key] for key in before.keys() - {"code", "settings", "weights", "stage1"}}
    assert unit.key == f"chance-1shot-e000-{digest_of(place)[:16]}"


def replace_labels_only(card: RunCard) -> RunCard:
    return card.model_copy(update={"permuted_labels": False})


# Repeated trainings

QUICK = ("epochs=1", "lr=0.01")


def test_each_method_is_trained_so_often_on_each_episode_its_units_together(ask):
    session = ask(("chance", "motion_energy"), train_seeds=3)
    assert [(u.baseline, u.train_seed, u.shots, u.episode) for _, u in session.pairs] == [
        (m, k, s, e) for m in ("chance", "motion_energy") for k in range(3) for s in (1, 2) for e in range(4)
    ]
    assert len({u.key for _, u in session.pairs}) == 48
    assert [u.key for _, u in session.pairs if u.train_seed == 0] == [
        u.key for _, u in ask(("chance", "motion_energy")).pairs
    ]


def test_more_trainings_are_added_to_those_that_are_there_and_change_none(ask, run):
    first = ask(("human_only",), shots=(2,), changes=QUICK)
    assert run(first).done == 4
    once = predictions(first)
    assert once[0] == "method,size,init,shots,episode,replicate,clip_id,score"
    more = ask(("human_only",), shots=(2,), changes=QUICK, train_seeds=3)
    outcome = run(more)
    assert (outcome.done, outcome.skipped) == (8, 4)
    table = pd.read_csv(more.folder.path / "predictions.csv")
    assert list(table.columns[4:7]) == ["episode", "train_seed", "replicate"]
    without = table[table["train_seed"] == 0].drop(columns="train_seed")
    pd.testing.assert_frame_equal(without.reset_index(drop=True), pd.read_csv(io.StringIO("\n".join(once))))
    scores = table.groupby("train_seed")["score"].apply(tuple)
    assert len(set(scores)) == 3


def test_a_method_that_draws_nothing_in_training_repeats_itself(ask, run):
    session = ask(("motion_energy",), train_seeds=2)
    run(session)
    table = pd.read_csv(session.folder.path / "predictions.csv")
    first, second = (table.loc[table["train_seed"] == k, "score"].tolist() for k in (0, 1))
    assert first == second


def test_replicates_are_numbered_by_training_and_then_by_score(ask, run):
    session = ask(shots=(1,))
    method = Method("twice", Twice, BaselineSettings(), Scale("tiny", "random", 3.0))
    session = replace(session, pairs=plan_units([method], session.episodes, session.card, train_seeds=3))
    run(session)
    scores, _, records = score_folder(session.folder.path)
    labels = session.folder.clips().set_index("clip_id")["label"]
    assert len(records) == 12
    # Six replicates, each a constant: the Brier score of the row is the mean of theirs.
    constants = [0.1 * k + r for k in range(3) for r in (0.0, 0.5)]
    expected = np.mean([np.mean((constant - labels) ** 2) for constant in constants])
    assert scores.methods[0].averaged.metrics["brier"].per_clip.value == pytest.approx(expected)
    assert scores.methods[0].averaged.counts.missing_units == 0


class Twice:
    """Two constant scores, 0.5 apart, of a constant that each training moves by 0.1."""

    Settings, inits, input = BaselineSettings, (), None

    def __init__(self, settings, scale):
        self.seeds = {}

    def setup(self, context):
        pass

    def fit(self, support):
        trainings = self.seeds.setdefault(support.ids, [])
        trainings.append(support.seed)
        self.constant = 0.1 * (len(trainings) - 1)

    def predict(self, query):
        return np.array([np.full(len(query), self.constant), np.full(len(query), self.constant + 0.5)])


def test_a_training_that_fails_is_recorded_counted_and_tried_again_alone(ask, run):
    session = ask(shots=(1,))
    method = Method("unlucky", Unlucky, BaselineSettings(), Scale("tiny", "random", 3.0))
    session = replace(session, pairs=plan_units([method], session.episodes, session.card, train_seeds=2))
    Unlucky.unlucky = {session.data.support(session.episodes[2], None, 1).seed}
    outcome = run(session)
    assert (outcome.done, len(outcome.failed)) == (7, 1)
    assert next(iter(outcome.failed)).startswith("unlucky-1shot-e002-s01-")
    counts = score_folder(session.folder.path)[0].methods[0].averaged.counts
    assert (counts.missing_units, counts.predictions, counts.missing_predictions) == (1, 7 * 24, 24)
    Unlucky.unlucky = set()
    again = run(session)
    assert (again.done, again.skipped) == (1, 7)
    assert score_folder(session.folder.path)[0].methods[0].averaged.counts.missing_units == 0


class Unlucky(Twice):
    """Fails for some seeds."""

    unlucky: ClassVar[set[int]] = set()

    def fit(self, support):
        if support.seed in self.unlucky:
            raise RuntimeError("it did not converge")

    def predict(self, query):
        return np.full(len(query), 0.5)


def test_the_plan_counts_every_training(ask):
    one, three = (ask(("human_only",), train_seeds=k) for k in (1, 3))
    plans = [json.loads(plan_text(session, "only-missing", True)) for session in (one, three)]
    assert [plan["units"] for plan in plans] == [{"human_only": 8}, {"human_only": 24}]
    # Seconds follow the machine's speed, measured anew each time: the ratio is 3, give or take.
    assert plans[1]["seconds"]["human_only"] > 1.5 * plans[0]["seconds"]["human_only"]
