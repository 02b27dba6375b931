"""Bad flags, specs, run folders and imports: refused with the flag or file, and with what to do (see conftest.py)."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from filelock import FileLock

from tests.benchmark.conftest import RUN, Case, run_cli
from tests.damage import (
    cell,
    column,
    cut,
    first_record,
    own_task,
    put,
    record,
    video,
    without,
)

OWN = RUN.replace("{task}", "own.yaml")
XSPECIES = RUN.replace("motion_energy", "xspecies_videomae")
BASE = RUN.replace("motion_energy", "human_only").replace("--size tiny", "--size base")


class Opens:
    """A pickle that creates a file when it is loaded without care."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("executed", "w")


def bomb() -> str:
    """A few lines of YAML that stand for 9^9 values."""
    names = "abcdefghi"
    lines = [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise(names)]
    return "\n".join([f"a: &a [{', '.join('x' * 9)}]", *lines, "name: *i"]) + "\n"


FLAGS = {
    "unknown option": Case("run --modle chance", "No such option: --modle … --model", "run --help"),
    "no model": Case("run --shots 2", "Missing option '--model'", "run --help"),
    "unknown command": Case("rnu", "'rnu'", "seizure-bench --help"),
    "no command of data": Case("data", "Missing command", "data --help"),
    "option without a value": Case("run --model", "'--model' requires an argument", "--help"),
    "near name of a model": Case(
        RUN.replace("motion_energy", "xspecies_videomea"),
        "--model xspecies_videomea",
        "did you mean xspecies_videomae?",
    ),
    "unknown model": Case(RUN.replace("motion_energy", "q"), "--model q: unknown method", "`seizure-bench list`"),
    "one of several models unknown": Case(
        RUN.replace("motion_energy", "chance,motion"), "--model motion: unknown method", "did you mean motion_energy?"
    ),
    "empty model": Case(RUN.replace("motion_energy", "''"), "--model ''", "name at least one"),
    "a comma for models": Case(RUN.replace("motion_energy", ","), "--model ','", "name at least one"),
    "a path for a model": Case(RUN.replace("motion_energy", "../../x"), "--model ../../x: unknown", "list"),
    "no shot": Case(f"{RUN} --shots 0", "--shots '0'", "from 1 on"),
    "fewer than no shots": Case(f"{RUN} --shots -1", "--shots '-1'", "from 1 on"),
    "shots in letters": Case(f"{RUN} --shots two", "--shots 'two'", "whole numbers"),
    "shots that end in a comma": Case(f"{RUN} --shots 2,", "--shots '2,'", "separated by commas"),
    "too many shots": Case(
        f"{RUN} --shots 99", "--shots 99 … the data have 0", "ask for fewer shots or add recordings"
    ),
    "too many shots without patients": Case(
        f"{RUN} --protocol paper --shots 16", "--shots 16 … at least 17 positive clips … have 16", "ask for fewer shots"
    ),
    "window too short": Case(f"{RUN} --window 2", "'--window' … greater than or equal to 3", "run --help"),
    "window too long": Case(f"{RUN} --window 11", "'--window' … less than or equal to 10", "run --help"),
    "window not a number": Case(f"{RUN} --window nan", "'--window'", "run --help"),
    "window that the task has no room for": Case(
        f"{RUN} --window 9", "min_gap_s is 9 … reaches back 14", "set min_gap_s to at least 14"
    ),
    "describe with an absurd window": Case("data describe {data} --window 1e9", "'--window'", "describe --help"),
    "no episode": Case(f"{RUN} --episodes 0", "'--episodes' … greater than or equal to 1", "run --help"),
    "set without =": Case(f"{RUN} --set lr", "--set lr", "key=value"),
    "set nothing": Case(f"{RUN} --set =3", "--set =3", "key=value"),
    "near name of a key": Case(f"{XSPECIES} --set epoch=3", "--set epoch=3 … 'epoch'", "did you mean epochs?"),
    "key that the model has not": Case(f"{RUN} --set lr=1", "--set lr=1 … motion_energy has", "known: none"),
    "key of a model not asked for": Case(
        f"{RUN} --set chance.seeds=3", "--set chance.seeds=3: 'chance' is not in --model", "name one of motion_energy"
    ),
    "value out of range": Case(f"{XSPECIES} --set mask_ratio=1.5", "mask_ratio", "should be less than 1 (given: 1.5)"),
    "value of a wrong type": Case(f"{XSPECIES} --set epochs=many", "epochs", "should be a valid integer … 'many'"),
    "value that is no number": Case(
        f"{XSPECIES} --set lr=.nan", "--set for xspecies_videomae: lr", "should be less than"
    ),
    "value that would be code": Case(
        f"{XSPECIES} --set 'pool=!!python/object/apply:os.system [ls]'", "pool", "should be 'mean' or 'first'"
    ),
    "negative seed": Case(f"{RUN} --seed -1", "'--seed' … greater than or equal to 0", "run --help"),
    "seed beyond all seeds": Case(f"{RUN} --seed {2**70}", "'--seed'", "run --help"),
    "no thread": Case(f"{RUN} --threads 0", "'--threads'", "run --help"),
    "unknown size": Case(f"{RUN} --size large", "'--size': 'large' is not one of 'tiny', 'base'", "run --help"),
    "unknown policy": Case(f"{RUN} --policy force", "'--policy': 'force' is not one of 'only-missing'", "run --help"),
    "published weights of the tiny size": Case(f"{RUN} --init k400", "--init k400", "use --size base"),
    "unknown device": Case(f"{RUN} --device gpu", "--device gpu: no such device", "use cpu, cuda"),
    "device that is not there": Case(f"{XSPECIES} --device cuda:63", "--device cuda:63", "use --device cpu"),
    "no folder of weights": Case(f"{RUN} --weights nowhere", "--weights nowhere: no such folder", "name the one"),
}

WEIGHTS = {
    "base without weights": Case(
        BASE, "weights/videomae-base/model.safetensors: missing", "seizure-bench weights fetch videomae-base"
    ),
    "folder without the checkpoint": Case(
        f"{BASE} --weights small",
        "small/videomae-base/model.safetensors: missing (videomae-base: Kinetics-400, self-supervised; CC-BY-NC 4.0)",
        "put https://huggingface.co/MCG-NJU/videomae-base/resolve/main/model.safetensors there",
    ),
    "checkpoint without its tensors": Case(
        f"{BASE} --weights w",
        "w/videomae-base/model.safetensors: missing",
        "or ask for --init random",
        put("w/videomae-base/config.json", "{}"),
    ),
    "initial weights of another method": Case(
        f"{BASE} --init imagenet", "--init imagenet: human_only has no such initial weights", "it knows k400-ssl, k400"
    ),
}

SPECS = {
    "unknown task": Case(f"{RUN} --task forecast_5", "unknown task 'forecast_5'", "did you mean forecast_5s?"),
    "unknown protocol": Case(f"{RUN} --protocol paper2", "unknown protocol 'paper2'", "did you mean paper?"),
    "task by no name": Case(f"{RUN} --task ''", "unknown task ''", "choose one of"),
    "task by a path upwards": Case(f"{RUN} --task ../specs/forecast_5s", "unknown task", "forecast_5s"),
    "task file that is not there": Case(f"{RUN} --task mine.yaml", "unknown task 'mine.yaml'", "name a .yaml file"),
    "unknown key": Case(OWN, "own.yaml: unknown field 'windows'", "did you mean window_s?", own_task(windows="3")),
    "missing key": Case(
        OWN,
        "own.yaml: field 'window_s' is missing",
        "add it",
        put("own.yaml", "name: own\ndescription: x\nkind: forecast\n"),
    ),
    "wrong type": Case(OWN, "own.yaml: sop_s", "should be a valid number … 'soon'", own_task(sop_s="soon")),
    "infinite horizon": Case(OWN, "own.yaml: sop_s", "should be a finite number", own_task(sop_s=".inf")),
    "unknown kind": Case(OWN, "own.yaml: kind", "should be 'forecast' or 'detect'", own_task(kind="guess")),
    "negatives within the horizon": Case(
        OWN, "own.yaml: min_gap_s is 2 … reaches back 8", "set min_gap_s to at least 8", own_task(min_gap_s="2")
    ),
    "windows without end": Case(
        OWN, "own.yaml: stride_s", "should be greater than or equal to 0.1", own_task(stride_s="1e-9")
    ),
    "name that is a path": Case(OWN, "own.yaml: name", "should match … '../../x'", own_task(name='"../../x"')),
    "not YAML": Case(OWN, "own.yaml: cannot be read as YAML", "as the shipped specs", put("own.yaml", "a: [1, 2\nb")),
    "a list": Case(OWN, "own.yaml: holds no mapping", "as the shipped specs", put("own.yaml", "- a\n- b\n")),
    "no byte": Case(OWN, "own.yaml: holds no mapping", "as the shipped specs", put("own.yaml", "")),
    "numbers for names": Case(OWN, "own.yaml: holds no mapping", "as the shipped specs", put("own.yaml", "1: 2\n")),
    "binary": Case(OWN, "own.yaml: cannot be read as YAML", "as the shipped specs", put("own.yaml", bytes(range(256)))),
    "code": Case(
        OWN,
        "own.yaml: cannot be read as YAML … python/object",
        "as the shipped specs",
        own_task(name="!!python/object/apply:os.system ['touch executed']"),
    ),
    "tags that break the reader": Case(
        OWN, "own.yaml: cannot be read", "shipped", put("own.yaml", "a: !!bool maybe\n")
    ),
    "a day that does not exist": Case(OWN, "own.yaml: cannot be read", "shipped", put("own.yaml", "a: 2001-99-99\n")),
    "brackets a thousand deep": Case(OWN, "own.yaml: cannot be read", "shipped", put("own.yaml", "[" * 10_000)),
    "aliases that unfold without end": Case(OWN, "own.yaml: name", "should be a valid string", put("own.yaml", bomb())),
    "a list that holds itself": Case(OWN, "own.yaml: name", "should be a valid string", own_task(name="&a [*a]")),
    "a folder for a file": Case(
        f"{RUN} --task dir.yaml", "unknown task 'dir.yaml'", "name a .yaml file", put("dir.yaml/x", "")
    ),
    "donors without patient disjointness": Case(
        f"{RUN} --protocol p.yaml",
        "protocol p.yaml: donors",
        "must be given with",
        put("p.yaml", "name: p\ndescription: x\ndisjoint: clip\nepisodes: 2\ndonors: 2\n"),
    ),
    "an infinite share of negatives": Case(
        f"{RUN} --protocol p.yaml",
        "protocol p.yaml: negatives_per_positive",
        "should be a finite number",
        put("p.yaml", "name: p\ndescription: x\ndisjoint: clip\nepisodes: 2\nnegatives_per_positive: .inf\n"),
    ),
}

FOLDERS = {
    "out below a file": Case(
        f"{RUN} --out small/events.tsv/run", "--out small/events.tsv/run: cannot be written", "choose another --out"
    ),
    "out is a file": Case(f"{RUN} --out small/events.tsv", "--out small/events.tsv", "choose another --out"),
    "out where nobody can write": Case(
        f"{RUN} --out /proc/run", "--out /proc/run: cannot be written", "choose another"
    ),
    "out holds another run": Case(
        f"{RUN} --out {{run}} --seed 1", "run: holds another run (its seed is 0, this one's 1)", "choose another --out"
    ),
    "out holds something else": Case(f"{RUN} --out {{data}}", "small: is neither empty nor a run", "choose another"),
    "out holds a broken run": Case(
        f"{RUN} --out {{run}}", "run/run.json: not a run card", "run again", put("run/run.json", "{")
    ),
    "score of nothing": Case("score", "Missing argument", "score --help"),
    "score of no folder": Case("score nowhere", "nowhere: not a run folder", "name one that `run` made"),
    "score of another folder": Case("score {data}", "small: not a run folder", "name one that `run` made"),
    "score of a run without units": Case(
        "score {run}",
        "run: no unit of this run has finished",
        "run it again",
        lambda here: [p.unlink() for p in (here / "run/units").iterdir()],
    ),
    "record cut short": Case(
        "score {run}", "run/units/chance-1shot-e000", "delete it and run again", lambda here: cut(first_record(here))
    ),
    "record without a byte": Case(
        "score {run}",
        "chance-1shot-e000 … not a record",
        "delete it and run again",
        lambda here: first_record(here).write_bytes(b""),
    ),
    "record with NaN": Case(
        "score {run}",
        "chance-1shot-e000 … not a record",
        "delete it",
        record(lambda r: r["predictions"]["scores"][0].__setitem__(0, float("nan"))),
    ),
    "record with a score of 7": Case(
        "score {run}",
        "chance-1shot-e000 … less than or equal to 1",
        "delete it",
        record(lambda r: r["predictions"]["scores"][0].__setitem__(0, 7)),
    ),
    "record with a score too many": Case(
        "score {run}",
        "chance-1shot-e000 … number of scores",
        "delete it",
        record(lambda r: r["predictions"]["scores"][0].append(0.5)),
    ),
    "record with an unknown field": Case(
        "score {run}", "chance-1shot-e000 … not a record", "delete it", record(lambda r: r.update(x=1))
    ),
    "record of another run": Case(
        "score {run}",
        "chance-1shot-e000 … another unit or run",
        "delete it",
        record(lambda r: r["unit"].update(run="0" * 64)),
    ),
    "record of a clip nobody knows": Case(
        "score {run}",
        "clip_id p9@0-3 has no labelled clip",
        "clips that the run was made from",
        record(lambda r: r["predictions"]["clip_ids"].__setitem__(0, "p9@0-3")),
    ),
    "run without its clips": Case(
        "score {run}", "run/clips.csv: cannot be read", "run again", without("run/clips.csv")
    ),
    "run whose clips are garbage": Case(
        "score {run}", "run/clips.csv: cannot be read", "run again", put("run/clips.csv", bytes(range(256)))
    ),
    "run without its episodes": Case("score {run}", "run/episodes.json", "run again", without("run/episodes.json")),
    "run whose episodes are something else": Case(
        "score {run}", "run/episodes.json: not a list of episodes", "run again", put("run/episodes.json", '[{"a": 1}]')
    ),
    "audit of a run by another task": Case(
        "audit {data} --run {run} --seed 1", "--seed with --run … the run's own counts", "leave --seed out"
    ),
    "leaderboard of an unknown format": Case(
        "leaderboard --format xml {run}", "'--format': 'xml'", "leaderboard --help"
    ),
    "leaderboard of no folder": Case("leaderboard nowhere", "nowhere: is no folder of submissions", "name one"),
    "leaderboard of a run": Case("leaderboard {run}", "is neither a submission", "take it away"),
    "leaderboard in two ways": Case(
        "leaderboard {run} --out a --check b", "--out and --check exclude each other", "take all formats"
    ),
    "leaderboard among submissions": Case(
        "leaderboard {run} --out {run}/board", "would lie among the submissions", "name another place"
    ),
}

IMPORTS = {
    "unknown kind": Case("data import excel {data} --out new", "'excel' is no kind", "choose one of tables"),
    "no such source": Case("data import tables nowhere --out new", "nowhere: no such folder", "name the folder"),
    "source without tables": Case(
        "data import tables run --out new", "run: holds no recordings.tsv", "its columns are"
    ),
    "szcore without videos": Case("data import szcore run --out new", "run: holds no video", "name the folder"),
    "rodepil without its folders": Case("data import rodepil {data} --out new", "Seizure_detection_10sec", "name"),
    "out holds something": Case(
        "data import tables {data} --out {run}", "run: exists and is not empty", "name a new folder"
    ),
    "out inside the source": Case(
        "data import tables {data} --out {data}/new", "small/new: lies inside", "name a folder elsewhere"
    ),
    "out below a file": Case("data import tables {data} --out small/events.tsv/new", "small/events.tsv", "name a"),
    "no out": Case("data import tables {data}", "Missing option '--out'", "data import --help"),
    "cut video": Case(
        "data import tables {data} --out new", "small/videos/p0r0.mp4: not a video", "give MP4", video(cut)
    ),
    "event past the end": Case(
        "data import tables {data} --out new --quiet",
        "small/events.tsv row 2 … past the end",
        "correct or shorten",
        cell("events", 2, "onset_s", "35"),
    ),
    "demo into a folder that holds something": Case(
        "data demo --out small", "small: already exists", "name another folder"
    ),
    "demo where nobody can write": Case("data demo --out /proc/demo", "/proc", "name a place that can be used"),
    "method of a bad name": Case("new-baseline My-Method", "'My-Method'", "lower-case letters"),
    "method of a name that is taken": Case("new-baseline chance", "chance: there is a method", "choose another name"),
    "method that would leave the folder": Case("new-baseline ../x", "'../x'", "lower-case letters"),
}


@pytest.mark.parametrize("case", FLAGS.values(), ids=FLAGS)
def test_bad_flag_is_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", WEIGHTS.values(), ids=WEIGHTS)
def test_bad_weights_are_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", SPECS.values(), ids=SPECS)
def test_bad_spec_is_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", FOLDERS.values(), ids=FOLDERS)
def test_bad_run_folder_is_refused(case, assert_refused):
    assert_refused(case)


@pytest.mark.parametrize("case", IMPORTS.values(), ids=IMPORTS)
def test_bad_import_is_refused(case, assert_refused):
    assert_refused(case)


def test_stage_1_without_a_recording_is_refused(assert_refused):
    said = Case(
        XSPECIES,
        "small: stage 1 has nothing to train on",
        "recordings.tsv",
        column("recordings", "split", {}, "evaluate"),
    )
    assert_refused(said)


def test_pickled_weights_are_not_executed(here, short_task):
    for name, content in (("config.json", b"{}"), ("model.safetensors", pickle.dumps(Opens(), protocol=2))):
        put(f"w/videomae-base/{name}", content)(here)
    code = run_cli(f"{BASE} --weights w".format(data="small", task=short_task, out="out"))
    assert code == 2
    assert not (here / "executed").exists()


def test_folder_in_which_another_process_writes_is_refused(here, assert_refused):
    with FileLock(here / "run" / ".lock"):
        chance = RUN.replace("motion_energy", "chance")
        assert_refused(
            Case(f"{chance} --out {{run}}", "run: another run is writing here", "wait for it or choose another")
        )


def test_unusable_cache_is_refused(assert_refused, monkeypatch):
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", "small/events.tsv/cache")
    assert_refused(Case(RUN, "small/events.tsv/cache: the cache cannot be used", "set SEIZURE_BENCH_CACHE"))


def test_blank_variable_of_weights_counts_as_unset(here, short_task, monkeypatch, capsys):
    monkeypatch.setenv("SEIZURE_BENCH_WEIGHTS", "")
    command = RUN.replace("--size tiny", "--dry-run").format(data="small", task=short_task, out="out")
    assert run_cli(command) == 0
    assert "motion_energy: 2 units" in capsys.readouterr().out


def test_sentence_stays_one_line_without_terminal_codes_whatever_it_quotes(assert_refused):
    said = assert_refused(Case("run --model 'a\nb\x1b[31m' --data {data}", "--model a b", "`seizure-bench list`"))
    assert "\x1b" not in said
