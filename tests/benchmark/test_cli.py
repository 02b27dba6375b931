"""The command line: what it prints, what it exits with, and how soon `list` and `--help` answer."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import cli, registry
from tests.benchmark.conftest import RUN, assert_one_sentence, content_of, run_cli

ROOT = Path(cli.__file__).parents[1]
ANSWER_WITHIN_S = 0.5
HEAVY = {"torch", "pandas", "numpy", "transformers", "sklearn", "av"}


def start(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """`seizure-bench` in a process of its own."""
    command = [sys.executable, "-m", "benchmark.cli", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def say(data_set, short_task, tmp_path, monkeypatch, capsys):
    """Give a command; its code and what it says."""
    monkeypatch.chdir(tmp_path)

    def say_(command: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_cli(command.format(data=data_set, task=short_task, out=tmp_path / "out"))
        return (code, *capsys.readouterr())

    return say_


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["--help"], ["run", "--help"], ["data", "--help"]])
def test_looking_around_imports_nothing_heavy(words):
    code = f"import sys\nsys.argv = ['seizure-bench', *{words}]\nfrom benchmark.cli import main\ntry:\n    main()\n"
    code += "except SystemExit as stop:\n    print(stop.code, *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    status, *modules = done.stderr.split()
    assert status == "0"
    assert "typer" in modules
    assert not HEAVY & set(modules)


@pytest.mark.parametrize("words", [["list"], ["--help"]])
def test_looking_around_takes_under_half_a_second(words):
    """The best of several: the machine may be busy, the requirement is about the program."""
    best = 60.0
    for _ in range(8):
        begun = time.perf_counter()
        assert start(*words).returncode == 0
        best = min(best, time.perf_counter() - begun)
        if best < ANSWER_WITHIN_S:
            break
    assert best < ANSWER_WITHIN_S


def test_list_names_every_method_task_and_protocol_with_a_line_each(say):
    code, out, err = say("list")
    assert (code, err) == (0, "")
    content = json.loads(say("list --json")[1])
    assert set(content["methods"]) == set(registry.entries())
    assert {"forecast_5s", "detect_ictal"} <= set(content["tasks"])
    assert set(content["protocols"]) == {"patient_disjoint", "paper"}
    for rows in content.values():
        for name, summary in rows.items():
            assert f"  {name} " in out
            assert summary in out
            assert len(summary) > 10


def test_no_command_shows_the_help(say):
    assert say("") == say("--help")
    assert say("--help")[0] == 0


def test_describe_counts_windows_by_rule(say):
    code, out, _ = say("data describe {data} --task {task} --json")
    content = json.loads(out)
    assert code == 0
    assert content["pool"] == {"patients": 4, "positives": 16, "negatives": 16}
    assert content["windows"]["pre_ictal"] == 16
    assert content["stage1_clips"] == {"rat, normal": 2, "rat, seizure": 2}
    assert [(row["species"], row["split"], row["recordings"]) for row in content["recordings"]] == [
        ("human", "evaluate", 8),
        ("rat", "pretrain", 4),
    ]
    text = say("data describe {data} --task {task}")[1]
    for rule, count in content["windows"].items():
        assert any(rule in line.split() and str(count) in line.split() for line in text.splitlines())
    assert "16 positive and 16 negative clips of 4 patients" in text


def test_describe_follows_the_window(say):
    long = json.loads(say("data describe {data} --task {task} --window 4 --json")[1])
    assert long["task"]["window_s"] == 4
    short = json.loads(say("data describe {data} --task {task} --json")[1])
    assert sum(long["windows"].values()) < sum(short["windows"].values())


def test_validate_says_sound(say, data_set):
    code, out, _ = say("data validate {data}")
    assert code == 0
    assert out == f"{data_set}: sound; 12 recordings, 0.10 h, 6 subjects\n"


def test_dry_run_computes_nothing_and_prints_units(say, tmp_path, cache):
    before = content_of(cache)
    code, out, err = say(RUN.replace("motion_energy", "chance,motion_energy") + " --dry-run")
    assert (code, err) == (0, "")
    assert "16 positive and 16 negative clips of 4 patients" in out
    assert "chance: 2 units" in out
    assert "motion_energy: 2 units" in out
    assert "4 units to compute, 0 present" in out
    assert list(tmp_path.iterdir()) == []
    assert {name for name in content_of(cache) if name not in before} <= {"sha256.json"}
    plan = json.loads(say(RUN + " --dry-run --json")[1])
    assert plan["units"] == {"motion_energy": 2}
    assert plan["run"]["data"]["positives"] == 16


def test_run_prints_the_table_and_the_same_command_again_computes_nothing(say, tmp_path):
    code, out, err = say(RUN)
    assert (code, err) == (0, "")
    assert "motion_energy" in out
    assert "2 units computed, 0 left as they were, 0 failed" in out
    assert "0 units computed, 2 left as they were, 0 failed" in say(RUN)[1]
    assert json.loads(say(RUN + " --json")[1]) | {"seconds": 0} == {
        "folder": str(tmp_path / "out"),
        "done": 0,
        "skipped": 2,
        "absent": 0,
        "failed": {},
        "decoded": 0,
        "seconds": 0,
    }


ABLATE = (
    "ablate --axis pool --model linear_probe --shots 1 --episodes 2 --size tiny --threads 1 --device cpu --quiet "
    "--data {data} --task {task} --out {out}"
)


def test_ablate_prints_a_row_a_value_writes_table_and_plot_and_then_computes_nothing(say, tmp_path):
    code, out, err = say(ABLATE)
    assert code == 0, err
    assert re.search(r"^\| mean\b.*^\| first\b", out, re.DOTALL | re.MULTILINE)
    assert "4 units computed" in out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"table.md", "table.csv", "table.json", "plot.png", "plot.svg", "short"} <= written
    code, out, _ = say(ABLATE + " --json")
    assert (code, json.loads(out)["done"], json.loads(out)["skipped"]) == (0, 0, 4)


def test_ablate_refuses_a_value_that_cannot_be_and_writes_nothing(say, tmp_path):
    code, out, err = say(ABLATE + " --values mean,median")
    assert (code, out) == (2, "")
    assert "--values median" in err
    assert not (tmp_path / "out").exists()


def test_consistency_prints_its_report_and_writes_it_by_its_ending(say, tmp_path):
    command = "consistency --permutations 19 --size tiny --threads 1 --device cpu --quiet --data {data} --task {task}"
    code, out, err = say(f"{command} --out {tmp_path / 'report.json'}")
    assert code == 0, err
    assert "random-init" in out
    assert "| compared" in out
    json.loads((tmp_path / "report.json").read_text())
    assert_one_sentence(*say(f"{command} --out {tmp_path / 'report.docx'}"))


def test_score_needs_neither_data_nor_videos(say, finished_run):
    code, out, _ = say(f"score {finished_run}")
    assert code == 0
    assert "chance" in out
    assert "2603.12887" not in out
    assert json.loads(say(f"score {finished_run} --json")[1])


def test_notices_go_to_stderr_and_quiet_says_nothing_there(say):
    loud = say(RUN.replace(" --quiet", "").replace("--size tiny", ""))
    assert "No published weights at hand" in loud[2]
    assert "No published weights" not in loud[1]
    assert say(RUN + " --policy always")[2] == ""


def test_failed_units_give_code_1_and_are_listed(say, tmp_path, monkeypatch):
    folder = copy_of_baselines(tmp_path, monkeypatch)
    breaks = (
        (folder / "chance.py")
        .read_text()
        .replace('"chance"', '"breaks"')
        .replace("return np.array(", "1 / 0\n        (")
    )
    (folder / "breaks.py").write_text(breaks)
    code, out, _ = say(RUN.replace("motion_energy", "breaks,chance"))
    assert code == 1
    assert "2 units computed, 0 left as they were, 2 failed" in out
    assert "failed: breaks-1shot-e000" in out
    assert "ZeroDivisionError" in out


def test_ctrl_c_is_a_sentence_and_keeps_finished_units(say, tmp_path, monkeypatch):
    folder = copy_of_baselines(tmp_path, monkeypatch)
    text = (
        (folder / "chance.py")
        .read_text()
        .replace('"chance"', '"stops"')
        .replace("import numpy", "import signal\n\nimport numpy")
    )
    stops = text.replace('"""A coin has nothing to learn."""', "signal.raise_signal(signal.SIGINT)")
    assert "raise_signal" in stops
    (folder / "stops.py").write_text(stops)
    code, out, err = say(RUN.replace("motion_energy", "chance,stops"))
    assert (code, out) == (130, "")
    assert err == "interrupted; what is finished is kept, the same command goes on from there\n"
    assert len(list((tmp_path / "out" / "units").iterdir())) == 2
    assert "0 units computed, 2 left as they were" in say(RUN.replace("motion_energy", "chance"))[1]


def copy_of_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the registry read and import from a copy of `baselines/`, so that tests may add files."""
    import baselines

    folder = tmp_path / "copy" / "baselines"
    shutil.copytree(registry.baselines_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(registry, "baselines_folder", lambda: folder)
    monkeypatch.setattr(baselines, "__path__", [str(folder)])
    return folder


def test_new_baseline_writes_a_file_that_loads_and_runs(say, tmp_path, monkeypatch):
    folder = copy_of_baselines(tmp_path, monkeypatch)
    code, out, _ = say("new-baseline my_method")
    assert code == 0
    assert out.splitlines()[0] == str(folder / "my_method.py")
    assert "pytest tests/contract -k my_method" in out
    ast.parse((folder / "my_method.py").read_text())
    assert registry.load("my_method").__name__ == "MyMethod"
    assert "my_method" in say("list")[1]
    ran = say(RUN.replace("motion_energy", "my_method"))
    assert ran[0] == 0
    assert "2 units computed" in ran[1]
    monkeypatch.undo()
    assert "my_method" not in registry.entries()


def test_new_baseline_never_overwrites(say, tmp_path, monkeypatch):
    folder = copy_of_baselines(tmp_path, monkeypatch)
    say("new-baseline my_method")
    (folder / "my_method.py").write_text("mine = 1\n")
    code, out, err = say("new-baseline my_method")
    assert_one_sentence(code, out, err)
    assert (folder / "my_method.py").read_text() == "mine = 1\n"


def test_refusal_in_a_process_of_its_own_is_one_line_and_code_2(tmp_path):
    done = start("run", "--model", "xspecies_videomea")
    assert_one_sentence(done.returncode, done.stdout, done.stderr)
    done = start("data", "validate", str(tmp_path))
    assert_one_sentence(done.returncode, done.stdout, done.stderr)
    done = start("run", "--shots", "2")
    assert_one_sentence(done.returncode, done.stdout, done.stderr)


def test_reader_that_leaves_early_causes_no_complaint():
    pipe = subprocess.Popen(
        [sys.executable, "-m", "benchmark.cli", "list"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert pipe.stdout is not None
    assert pipe.stderr is not None
    pipe.stdout.close()
    assert pipe.stderr.read() == b""
    assert pipe.wait() == 1


def test_disk_without_room_is_a_sentence(say, data_set):
    """/dev/full refuses every byte; the table goes there."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "benchmark.cli", "list"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
