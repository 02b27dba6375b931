"""An ablation in this process and in killed ones: what is planned, shared, kept, refused and written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from benchmark import registry
from benchmark.baseline import BaselineSettings, Scale
from benchmark.board.ablation import read_results, render_results, write_results
from benchmark.data.mixes import mix_names
from benchmark.progress import Progress
from benchmark.run.ablate import AXES, ablation_plan, ablation_summary, open_ablation, run_ablation
from benchmark.run.execute import Machine
from benchmark.run.plan import Method, plan_units
from benchmark.run.session import Request
from benchmark.weights.catalogue import catalogue
from tasks.errors import BadInput

QUIET = Progress(quiet=True)
QUICK = ("epochs=1", "stage1_epochs=1")
ONCE = "only-missing"


@pytest.fixture
def plan(data_set, short_task, cache, tmp_path):
    """Open an ablation on the small data set; fields of the request can be changed."""

    def open_(axis="pool", values=(), model="linear_probe", where=cache, **changes):
        request = Request([model], (1, 2), short_task, "patient_disjoint", data_set, tmp_path / "out", episodes=2)
        return open_ablation(axis, values, replace(request, **{"size": "tiny", **changes}), where, QUIET)

    return open_


@pytest.fixture
def horizons(short_task, tmp_path):
    """Two tasks that fit the small data set: an onset within 5 s, or within 8 s."""
    fields = yaml.safe_load(Path(short_task).read_text())
    paths = []
    for sop_s in (5, 8):
        path = tmp_path / f"h{sop_s}.yaml"
        path.write_text(yaml.safe_dump({**fields, "name": f"h{sop_s}", "sop_s": sop_s, "min_gap_s": 11.0}))
        paths.append(str(path))
    return paths


def machine(cache):
    return Machine(device="cpu", threads=1, cache=cache)


def values_of(ablation):
    return [point.value for point in ablation.points]


def unit_files(ablation):
    """Finished units: inode and time of change tell whether one was ever written again."""
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in ablation.folder.glob("*/units/[!.]*.json")}


def test_values_of_a_setting_share_one_run_folder_and_the_same_episodes(plan, cache, tmp_path):
    ablation = plan()
    assert values_of(ablation) == ["mean", "first"]
    outcome = run_ablation(ablation, machine(cache), ONCE, QUIET)
    assert (outcome.done, outcome.skipped, outcome.failed) == (8, 0, {})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ablation.json", "short"]
    records = ablation.points[0].session.folder.records()
    episodes = {
        value: {
            (r.unit.shots, r.unit.episode, r.unit.episode_digest) for r in records if r.unit.settings["pool"] == value
        }
        for value in ("mean", "first")
    }
    assert len(episodes["mean"]) == 4
    assert episodes["mean"] == episodes["first"]


def test_every_value_has_its_row_also_the_methods_own(plan, cache):
    ablation = plan()
    run_ablation(ablation, machine(cache), ONCE, QUIET)
    results = read_results(ablation)
    assert results.default == "mean"
    assert [(r.value, r.row.method, r.row.pool) for r in results.rows] == [
        ("mean", "linear_probe", "mean"),
        ("first", "linear_probe(pool=first)", "first"),
    ]


def test_a_second_call_computes_nothing_and_writes_the_same_table(plan, cache):
    first, again = plan(), plan()
    run_ablation(first, machine(cache), ONCE, QUIET)
    before = {path.name: path.read_bytes() for path in write_results(read_results(first), first.folder)}
    units = unit_files(first)
    outcome = run_ablation(again, machine(cache), ONCE, QUIET)
    assert (outcome.done, outcome.skipped, outcome.decoded) == (0, 8, 0)
    assert unit_files(again) == units
    assert {path.name: path.read_bytes() for path in write_results(read_results(again), again.folder)} == before


def test_a_new_value_is_added_to_what_is_there(plan, cache):
    run_ablation(plan(values=["mean"]), machine(cache), ONCE, QUIET)
    outcome = run_ablation(plan(), machine(cache), ONCE, QUIET)
    assert (outcome.done, outcome.skipped) == (4, 4)


def test_horizons_are_tasks_each_in_its_own_run_folder_to_scale(plan, cache, horizons, tmp_path):
    ablation = plan("horizon", horizons, "motion_energy", task="forecast_5s")
    assert [(point.value, point.x) for point in ablation.points] == [("h5", 5.0), ("h8", 8.0)]
    assert run_ablation(ablation, machine(cache), ONCE, QUIET).done == 8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ablation.json", "h5", "h8"]
    results = read_results(ablation)
    assert [result.row.task.partition(",")[0] for result in results.rows] == ["h5", "h8"]
    assert results.default is None


def test_heads_share_one_stage_1_and_mask_ratios_have_one_each(plan, tmp_path):
    where = tmp_path / "cache"
    heads = plan("head", (), "xspecies_videomae", where=where, changes=QUICK, shots=(1,))
    assert values_of(heads) == ["linear", "temporal-attention"]
    run_ablation(heads, machine(where), ONCE, QUIET)
    assert len(list((where / "stage1").glob("*/model.safetensors"))) == 1
    assert [result.row.method for result in read_results(heads).rows] == [
        "xspecies_videomae(epochs=1, stage1_epochs=1)",
        "xspecies_videomae(epochs=1, head=temporal-attention, stage1_epochs=1)",
    ]
    ratios = plan(
        "mask-ratio", ["0.3", "0.75"], "xspecies_videomae", where=where, changes=QUICK, shots=(1,), out=tmp_path / "b"
    )
    assert [(point.value, point.x) for point in ratios.points] == [("0.3", 0.3), ("0.75", 0.75)]
    run_ablation(ratios, machine(where), ONCE, QUIET)
    assert len(list((where / "stage1").glob("*/model.safetensors"))) == 2


def test_axes_have_the_papers_values_by_default(plan):
    ratios = plan("mask-ratio", (), "xspecies_videomae")
    assert [point.x for point in ratios.points] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert ratios.default == "0.3"
    assert values_of(plan("mix", ["base", "+R(Y)"], "xspecies_videomae")) == ["base", "+R(Y)"]
    assert values_of(plan("head", (), "human_only")) == ["linear", "temporal-attention"]
    assert AXES["horizon"].values == ("forecast_5s", "forecast_10s", "forecast_30s", "forecast_60s")


def test_the_mixes_stand_in_the_papers_order():
    known = get_args(registry.load("xspecies_videomae").Settings.model_fields["mix"].annotation)
    assert (AXES["mix"].values or known) == mix_names() == ("base", "+H", "+R(Y)", "+R(N)", "+R(Y/N)", "+R(Y/N)+H")


def test_a_value_written_in_two_ways_is_one(plan):
    assert values_of(plan("mask-ratio", ["0.3", "0.30", "3e-1"], "zero_shot")) == ["0.3"]


def test_a_mix_without_any_clip_is_refused_before_anything_runs(plan, tmp_path):
    """The small data set has rats of both kinds, and no human is set aside."""
    with pytest.raises(BadInput, match=r"--values \+H: .* has no clip of mix \+H's kinds; leave it out"):
        plan("mix", ["+R(Y)", "+H"], "xspecies_videomae")
    assert not (tmp_path / "out").exists()


def test_a_mix_that_lacks_a_part_is_told(plan):
    notices = plan("mix", ["+R(Y/N)+H"], "xspecies_videomae").notices
    assert "mix +R(Y/N)+H: 0 of 1,870 human normal clips" in notices


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"axis": "depth"}, r"--axis depth: .* use one of mix, mask-ratio, head"),
        ({"values": ["median"]}, r"--values median: pool: .*'mean' or 'first'"),
        ({"axis": "mask-ratio", "values": ["0.5", "1.5"], "model": "zero_shot"}, r"--values 1\.5: mask_ratio: .*less"),
        ({"axis": "mask-ratio", "values": ["much"], "model": "zero_shot"}, r"--values much: mask_ratio: .*number"),
        (
            {"axis": "mask-ratio"},
            r"--axis mask-ratio: linear_probe has no setting 'mask_ratio'; choose another --model",
        ),
        ({"axis": "mix", "values": ["+R"], "model": "zero_shot"}, r"--values \+R: mix"),
        ({"axis": "horizon", "values": ["forecast_6s"], "task": "forecast_5s"}, "forecast_6s.*did you mean"),
        ({"axis": "horizon"}, r"--task .*short.yaml: --axis horizon changes it; name its tasks by --values"),
        ({"axis": "init", "model": "motion_energy"}, "--axis init: motion_energy has no network"),
        ({"axis": "init", "values": ["k401"]}, "--values k401: no such initial weights; use some of random, k400-ssl"),
        ({"axis": "init", "values": ["k400"]}, "--init k400: there are no published weights of the tiny size"),
        ({"axis": "init", "init": "random"}, "--init random: --axis init changes it"),
        ({"changes": ("pool=first",)}, "--set pool=first: --axis pool changes this setting"),
        ({"changes": ("linear_probe.pool=first",)}, r"--set linear_probe\.pool=first: --axis pool changes"),
        ({"model": "human_only", "changes": ("head=temporal-attention",)}, "leave pool at mean"),
        ({"models": ("linear_probe", "chance")}, "--model linear_probe,chance: an ablation is of one method"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(plan, tmp_path, changes, sentence):
    with pytest.raises(BadInput, match=sentence) as refused:
        plan(**changes)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_two_tasks_of_one_name_are_refused(plan, horizons, tmp_path):
    twin = tmp_path / "twin.yaml"
    twin.write_text(Path(horizons[0]).read_text())
    with pytest.raises(BadInput, match="two tasks are named h5"):
        plan("horizon", [horizons[0], str(twin)], "motion_energy", task="forecast_5s")


def test_at_tiny_only_random_weights_exist_and_that_is_said(plan):
    ablation = plan("init", (), "human_only")
    assert values_of(ablation) == ["random"]
    assert any("only random weights exist at --size tiny" in line for line in ablation.notices)
    assert any("one row compares nothing" in line for line in ablation.notices)


def test_at_base_weights_that_are_not_here_are_left_out_by_name_and_those_here_are_used(plan, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    ablation = plan("init", (), "human_only", size="base", weights=weights)
    assert values_of(ablation) == ["random"]
    assert any("k400-ssl is left out" in line and "fetch videomae-base" in line for line in ablation.notices)
    assert any("k400 is left out" in line for line in ablation.notices)
    for file in catalogue()["videomae-base"].files:
        (weights / file.path).parent.mkdir(parents=True, exist_ok=True)
        (weights / file.path).write_bytes(b"no checkpoint")
    with pytest.raises(BadInput, match=r"videomae-base.*fetch it again"):
        plan("init", (), "human_only", size="base", weights=weights)


def test_another_ablation_or_a_strangers_folder_is_not_written_into(plan, cache, tmp_path):
    run_ablation(plan(), machine(cache), ONCE, QUIET)
    with pytest.raises(BadInput, match="holds another ablation"):
        plan("mask-ratio", ["0.5"], "zero_shot")
    with pytest.raises(BadInput, match=r"holds another ablation \(its seed differs\)"):
        plan(seed=1)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_mother.txt").touch()
    with pytest.raises(BadInput, match=r"is neither empty nor an ablation \(to_mother.txt is there\)"):
        plan(out=tmp_path / "letters")
    with pytest.raises(BadInput, match=r"to_mother\.txt: is a file; name a folder"):
        plan(out=tmp_path / "letters" / "to_mother.txt")


def test_without_out_the_folder_follows_from_what_is_asked(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = plan(out=None).folder
    assert str(name).startswith("runs/ablate-pool-linear_probe-small-short-")
    assert plan(out=None, values=["mean"], shots=(2,)).folder == name
    assert plan(out=None, seed=1).folder != name
    assert plan(out=None, changes=("place=centre",)).folder != name
    assert not (tmp_path / "runs").exists()


def test_the_plan_tells_units_and_cost_of_each_value_and_writes_nothing(plan, tmp_path, cache):
    ablation = plan()
    text = ablation_plan(ablation, ONCE, as_json=False)
    assert text.startswith("pool of linear_probe (tiny, random) on small, 4 patients; into ")
    assert "\n  mean: 4 units, about" in text
    assert "\n8 units to compute, 0 present; about" in text
    assert not (tmp_path / "out").exists()
    run_ablation(plan(values=["mean"]), machine(cache), ONCE, QUIET)
    content = json.loads(ablation_plan(plan(), ONCE, as_json=True))
    assert [(line["value"], line["units"], line["present"]) for line in content["values"]] == [
        ("mean", 0, 4),
        ("first", 4, 0),
    ]
    assert content["units"] == 4
    assert content["values"][0]["seconds"] == 0


@pytest.mark.parametrize(("axis", "values", "shared"), [("head", (), True), ("mask-ratio", ("0.2", "0.3"), False)])
def test_a_stage_1_that_all_values_share_is_counted_once(plan, axis, values, shared):
    ablation = plan(axis, values, "xspecies_videomae", changes=("stage1_epochs=5000", "epochs=1"))
    first, second = (line["seconds"] for line in json.loads(ablation_plan(ablation, ONCE, True))["values"])
    assert first > 0
    assert (second < 0.05 * first) is shared


class Sometimes:
    """Gives NaN in the second episode of each shot."""

    Settings, inits, input = BaselineSettings, (), None

    def __init__(self, settings, scale):
        self.fits = 0

    def setup(self, context):
        pass

    def fit(self, support):
        self.fits += 1

    def predict(self, query):
        return np.full(len(query), np.nan if self.fits % 2 == 0 else 0.5)


def with_broken_first_value(ablation, adapter):
    point = ablation.points[0]
    method = Method("sometimes", adapter, BaselineSettings(), Scale("tiny", "random", 3.0))
    session = replace(point.session, pairs=plan_units([method], point.session.episodes, point.session.card))
    return replace(ablation, points=(replace(point, session=session), *ablation.points[1:]))


def test_a_failed_unit_is_named_and_the_other_values_go_on(plan, cache):
    ablation = with_broken_first_value(plan(), Sometimes)
    outcome = run_ablation(ablation, machine(cache), ONCE, QUIET)
    assert (outcome.done, len(outcome.failed)) == (6, 2)
    assert "sometimes-1shot-e001" in outcome.in_words(ablation.folder)
    assert set(json.loads(ablation_summary(ablation, outcome, []))["failed"]) == set(outcome.failed)
    text = render_results(read_results(ablation), "markdown")
    assert r"| mean \* ‡ |" in " ".join(text.split())  # four patients, a unit missing
    assert "predictions are missing (failed units: 2)" in text


def test_a_value_of_which_nothing_can_be_set_up_is_an_empty_row(plan, cache):
    class Broken(Sometimes):
        def setup(self, context):
            raise RuntimeError("no such layer")

    ablation = with_broken_first_value(plan(), Broken)
    assert len(run_ablation(ablation, machine(cache), ONCE, QUIET).failed) == 4
    results = read_results(ablation)
    assert [result.row is None for result in results.rows] == [True, False]
    assert len(write_results(results, ablation.folder)) == 5


def test_bad_input_in_the_first_value_leaves_no_trace(plan, cache, tmp_path):
    class Refusing(Sometimes):
        def setup(self, context):
            raise BadInput("weights.bin: missing; get it")

    with pytest.raises(BadInput, match="get it"):
        run_ablation(with_broken_first_value(plan(), Refusing), machine(cache), ONCE, QUIET)
    assert not (tmp_path / "out").exists()


SCRIPT = """
import sys
from pathlib import Path
from benchmark.board.ablation import read_results, write_results
from benchmark.progress import Progress
from benchmark.run.ablate import open_ablation, run_ablation
from benchmark.run.execute import Machine
from benchmark.run.session import Request
data, task, out, cache = sys.argv[1:]
request = Request(["human_only"], (1, 2), task, "patient_disjoint", Path(data), Path(out), episodes=4, size="tiny",
                  changes=("epochs=1",))
ablation = open_ablation("head", (), request, Path(cache), Progress(quiet=True))
outcome = run_ablation(ablation, Machine("cpu", 1, Path(cache)), "only-missing", Progress(quiet=True))
write_results(read_results(ablation), ablation.folder)
print(outcome.done, outcome.skipped)
"""


def start(data_set, task, out, cache):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data_set), task, str(out), str(cache)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_in_either_value_it_goes_on_where_it_stopped_and_ends_with_the_same_bytes(
    data_set, short_task, tmp_path
):
    undisturbed = start(data_set, short_task, tmp_path / "whole", tmp_path / "cache")
    said, err = undisturbed.communicate(timeout=300)
    assert (undisturbed.returncode, said) == (0, "16 0\n"), err
    out, finished = tmp_path / "out", {}
    for target in (2, 10):  # the first value has 8 units
        process = start(data_set, short_task, out, tmp_path / "cache")
        while len(units_below(out)) < target:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        now = units_below(out)
        assert all(now[path] == stamp for path, stamp in finished.items())
        finished = now
    last = start(data_set, short_task, out, tmp_path / "cache")
    said, err = last.communicate(timeout=300)
    assert (last.returncode, said) == (0, f"{16 - len(finished)} {len(finished)}\n"), err
    assert {path: units_below(out)[path] for path in finished} == finished
    for name in ("table.md", "plot.png", "plot.svg", "short/predictions.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert figures(out) == figures(tmp_path / "whole")


def figures(folder):
    """All of table.json but the commit, which a maintainer at work may change between two processes."""
    content = json.loads((folder / "table.json").read_text())
    for result in content["rows"]:
        del result["row"]["commit"]
    return content


def units_below(out):
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in out.glob("*/units/[!.]*.json")}
