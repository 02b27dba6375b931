"""A run in this process: what is planned, what is kept, what a failure costs, and what changes no prediction."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmark.baseline import BaselineSettings, Scale
from benchmark.board.rows import board_rows, score_folder
from benchmark.data.manifest import read_manifest, write_manifest
from benchmark.progress import Progress
from benchmark.run.execute import Machine, execute
from benchmark.run.plan import Method, plan_units, select
from benchmark.run.session import Request, open_session, plan_text, run_session
from benchmark.run.units import Record
from tasks.errors import BadInput

QUIET = Progress(quiet=True)
QUICK = ("epochs=1", "stage1_epochs=1")


@pytest.fixture
def ask(data_set, short_task, cache, tmp_path):
    """Open a session on the small data set; fields of the request can be changed."""

    def open_(models=("chance", "motion_energy"), shots=(1, 2), out="run", **changes):
        request = Request(models, shots, short_task, "patient_disjoint", data_set, tmp_path / out, episodes=4)
        return open_session(replace(request, **changes), cache, QUIET)

    return open_


@pytest.fixture
def machine(cache):
    return Machine(device="cpu", threads=1, cache=cache)


def predictions(session):
    return (session.folder.path / "predictions.csv").read_text().splitlines()


def test_plan_is_the_product_of_methods_shots_and_episodes(ask):
    session = ask()
    assert [(u.baseline, u.shots, u.episode) for _, u in session.pairs] == [
        (m, s, e) for m in ("chance", "motion_energy") for s in (1, 2) for e in range(4)
    ]
    assert len({u.key for _, u in session.pairs}) == 16


def test_second_run_computes_nothing_and_always_computes_all_without_decoding(ask, machine):
    session = ask(models=("motion_energy", "linear_probe"))
    first = run_session(session, machine, "only-missing", QUIET)
    before = predictions(session)
    assert (first.done, first.skipped) == (16, 0)
    second = run_session(ask(models=("motion_energy", "linear_probe")), machine, "only-missing", QUIET)
    assert (second.done, second.skipped, second.decoded) == (0, 16, 0)
    third = run_session(ask(models=("motion_energy", "linear_probe")), machine, "always", QUIET)
    assert (third.done, third.decoded) == (16, 0)
    assert predictions(session) == before


def test_policy_never_computes_nothing(ask, machine, tmp_path):
    before = run_session(ask(), machine, "never", QUIET)
    assert (before.done, before.skipped, before.absent) == (0, 0, 16)
    assert "0 left as they were, 16 not there" in before.in_words(tmp_path)
    run_session(ask(), machine, "only-missing", QUIET)
    after = run_session(ask(), machine, "never", QUIET)
    assert (after.done, after.skipped, after.absent) == (0, 16, 0)


def test_weights_that_no_method_starts_from_are_told(ask, tmp_path):
    assert any("not used by these methods" in line for line in ask(weights=tmp_path).notices)
    assert not any("not used" in line for line in ask().notices)


def test_stage_1_is_trained_once_and_found_by_the_next_run(ask, machine, cache):
    run_session(ask(models=("xspecies_videomae",), changes=(*QUICK, "stage1_lr=3e-4")), machine, "only-missing", QUIET)
    stages = {path: path.stat().st_mtime_ns for path in (cache / "stage1").glob("*/model.safetensors")}
    again = ask(models=("xspecies_videomae", "zero_shot"), out="other", changes=(*QUICK, "stage1_lr=3e-4"))
    outcome = run_session(again, machine, "always", QUIET)
    assert outcome.done == 16
    assert {p: p.stat().st_mtime_ns for p in (cache / "stage1").glob("*/model.safetensors")} == stages


def test_reordering_rows_units_or_running_one_episode_alone_changes_no_prediction(ask, machine, data_set, tmp_path):
    session = ask(models=("human_only", "motion_features"), changes=("epochs=2",))
    run_session(session, machine, "only-missing", QUIET)
    whole = predictions(session)

    shuffled = tmp_path / "shuffled"
    shutil.copytree(data_set, shuffled)
    manifest = read_manifest(data_set)
    write_manifest(
        shuffled,
        manifest.recordings[::-1],
        manifest.events.sample(frac=1, random_state=1),
        manifest.annotated_intervals[::-1],
    )
    other = ask(models=("motion_features", "human_only"), shots=(2, 1), out="b", data=shuffled, changes=("epochs=2",))
    run_session(replace(other, pairs=other.pairs[::-1]), machine, "only-missing", QUIET)
    assert sorted(predictions(other)) == sorted(whole)

    alone = ask(models=("human_only",), out="c", changes=("epochs=2",))
    run_session(replace(alone, pairs=alone.pairs[5:6]), machine, "only-missing", QUIET)
    assert set(predictions(alone)) < set(whole)
    assert len(predictions(alone)) > 1


def test_one_failing_unit_is_recorded_and_the_rest_go_on(ask, machine, data_set):
    session = ask(models=("chance",))
    method = Method("sometimes", Sometimes, BaselineSettings(), Scale("tiny", "random", 3.0))
    session = replace(session, pairs=plan_units([method], session.episodes, session.card))
    outcome = run_session(session, machine, "only-missing", QUIET)
    assert (outcome.done, len(outcome.failed)) == (6, 2)
    assert all("not finite numbers in [0, 1]" in error for error in outcome.failed.values())
    assert "sometimes-1shot-e002" in outcome.in_words(session.folder.path)
    assert "and 1 like it: episode: ValueError" in outcome.in_words(session.folder.path)
    failed = [r for r in session.folder.records() if r.status == "failed"]
    assert {(r.unit.shots, r.unit.episode) for r in failed} == {(1, 2), (2, 2)}
    scores, _, _ = score_folder(session.folder.path)
    assert scores.methods[0].averaged.counts.missing_units == 2

    retried = select(session.pairs, session.folder.is_done, "only-missing")
    assert {u.episode for _, u in retried} == {2}


class Sometimes:
    """Gives NaN in the third episode of each shot."""

    Settings, inits, input = BaselineSettings, (), None

    def __init__(self, settings, scale):
        self.fits = 0

    def setup(self, context):
        pass

    def fit(self, support):
        self.fits += 1

    def predict(self, query):
        return np.full(len(query), np.nan if self.fits % 4 == 3 else 0.5)


def test_failing_setup_fails_its_own_method_alone(ask, machine):
    session = ask(models=("chance",))

    class Broken(Sometimes):
        def setup(self, context):
            raise RuntimeError("no such layer")

    broken = Method("broken", Broken, BaselineSettings(), Scale("tiny", "random", 3.0))
    pairs = plan_units([broken, *session.methods], session.episodes, session.card)
    outcome = run_session(replace(session, pairs=pairs), machine, "only-missing", QUIET)
    assert (outcome.done, len(outcome.failed)) == (8, 8)
    assert set(outcome.failed.values()) == {"setup: RuntimeError: no such layer"}


def test_record_holds_whatever_can_change_a_number(ask, machine):
    session = ask(models=("linear_probe",), shots=(2,))
    run_session(session, machine, "only-missing", QUIET)
    record = session.folder.records()[0]
    assert {"commit", "dirty", "versions", "device", "threads", "seed", "decoder", "python"} <= set(record.provenance)
    assert {"torch", "transformers", "numpy", "av"} <= set(record.provenance["versions"])
    assert (record.unit.size, record.unit.init) == ("tiny", "random")
    assert record.card["pool"] == "mean"
    assert len(record.card["start_sha256"]) == 64
    assert record.checks == {"shared_clips": 0, "shared_patients": 0}
    assert record.unit.run == session.card.digest
    assert json.loads(record.model_dump_json()) == record.model_dump(mode="json")


def test_nan_never_reaches_a_record(ask, machine):
    session = ask(models=("chance",), shots=(1,))
    run_session(session, machine, "only-missing", QUIET)
    content = session.folder.records()[0].model_dump()
    content["predictions"]["scores"] = ((float("nan"),),)
    with pytest.raises(ValueError, match="finite"):
        Record.model_validate(content)


def test_scores_need_neither_video_nor_model(ask, machine, tmp_path):
    session = ask()
    run_session(session, machine, "only-missing", QUIET)
    moved = tmp_path / "elsewhere"
    shutil.copytree(session.folder.path, moved)
    shutil.rmtree(session.folder.path)
    scores, card, _ = score_folder(moved)
    assert [m.method for m in scores.methods] == ["chance", "motion_energy"]
    assert card.data.name == "small"


def test_seeds_and_settings_make_other_units_in_the_same_or_another_folder(ask, machine):
    session = ask(models=("linear_probe",))
    run_session(session, machine, "only-missing", QUIET)
    first = ask(models=("linear_probe",), changes=("pool=first",))
    assert run_session(first, machine, "only-missing", QUIET).done == 8
    scores, _, _ = score_folder(session.folder.path)
    assert [m.method for m in scores.methods] == [
        "linear_probe [tiny, random]",
        "linear_probe(pool=first) [tiny, random]",
    ]
    with pytest.raises(BadInput, match=r"holds another run .*seed"):
        run_session(ask(models=("chance",), seed=1), machine, "only-missing", QUIET)


def test_damaged_record_is_computed_again(ask, machine):
    session = ask(models=("chance",))
    run_session(session, machine, "only-missing", QUIET)
    before = predictions(session)
    path = next((session.folder.path / "units").glob("*.json"))
    path.write_text(path.read_text()[:-40])
    assert run_session(session, machine, "only-missing", QUIET).done == 1
    assert predictions(session) == before


def test_dry_run_tells_units_and_time_and_makes_no_folder(ask):
    session = ask(models=("chance", "human_only"))
    text = plan_text(session, "only-missing", as_json=False)
    assert "chance: 8 units" in text
    assert "16 units to compute, 0 present" in text
    plan = json.loads(plan_text(session, "only-missing", as_json=True))
    assert plan["units"] == {"chance": 8, "human_only": 8}
    assert 0 < plan["seconds"]["chance"] < plan["seconds"]["human_only"]
    assert not session.folder.path.exists()


def test_units_of_one_method_share_one_setup(ask, machine):
    session = ask(models=("chance",))
    setups = []

    class Counting(Sometimes):
        def setup(self, context):
            setups.append(context.seed)

        def predict(self, query):
            return np.full(len(query), 0.5)

    method = Method("counting", Counting, BaselineSettings(), Scale("tiny", "random", 3.0))
    session = replace(session, pairs=plan_units([method], session.episodes, session.card))
    with session.folder.locked():
        session.folder.claim(session.card, session.data.pool)
        execute(session.pairs, session.episode_of, session.data, session.folder, machine, QUIET)
    assert setups == [0]


def test_other_code_or_defaults_replace_the_old_units_and_stand_beside_none(ask, machine):
    session = ask(models=("chance",))
    run_session(session, machine, "only-missing", QUIET)
    edited = [
        (method, unit.model_copy(update={"code": "edited", "settings": {"seeds": 21}}))
        for method, unit in session.pairs
    ]
    assert run_session(replace(session, pairs=edited[:5]), machine, "only-missing", QUIET).done == 5
    assert len(session.folder.records()) == 8
    (row,) = board_rows([session.folder.path])
    assert row.versions == 2
    assert run_session(replace(session, pairs=edited), machine, "only-missing", QUIET).done == 3
    assert board_rows([session.folder.path])[0].versions == 1


def test_develop_patients_are_asked_about_only_by_name_and_then_every_row_says_so(ask, machine, data_set, tmp_path):
    copy = shutil.copytree(data_set, tmp_path / "split")
    table = pd.read_csv(copy / "recordings.tsv", sep="\t", dtype=str, keep_default_na=False)
    table["split"] = [
        "evaluate" if s == "p3" else "develop" if s[0] == "p" else "pretrain" for s in table["subject_id"]
    ]
    table.to_csv(copy / "recordings.tsv", sep="\t", index=False)
    asked = {"data": copy, "models": ("chance",), "shots": (1,)}
    session = ask(**asked, split="develop")
    assert set(session.data.pool["subject_id"]) == {"p0", "p1", "p2"}
    run_session(session, machine, "only-missing", QUIET)
    assert [row.data for row in board_rows([session.folder.path])] == ["split (develop patients)"]
    with pytest.raises(BadInput, match="another run"):
        run_session(ask(**asked, protocol="paper"), machine, "only-missing", QUIET)
    assert set(ask(**asked, protocol="paper").data.pool["subject_id"]) == {"p3"}
