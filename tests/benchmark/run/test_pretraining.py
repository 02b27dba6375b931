"""`seizure-bench pretrain` and `run --stage1`: real commands, real processes, and who was pre-trained on."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from transformers import VideoMAEForPreTraining

from benchmark import cli, registry
from benchmark.baseline import Scale
from benchmark.files import sha256_of
from benchmark.run.stage1 import OPEN_LICENCE, adopt, read_given

ROOT = Path(__file__).parents[3]
QUICK = "--set stage1_epochs=2 --set stage1_batch_size=3 --threads 1 --device cpu --quiet"
RUN = "run --model xspecies_videomae --shots 1 --episodes 2 --set epochs=1 --threads 1 --device cpu --quiet"


def call(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The program in this process."""
    capsys.readouterr()
    sys.argv = ["seizure-bench", *command.split()]
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def pretrain(data: Path, out: Path, more: str = "", mix: str = "+R(Y/N)") -> str:
    return f"pretrain --mix {mix} --data {data} --size tiny --out {out} {QUICK} {more}"


def losses(folder: Path) -> list[float]:
    with (folder / "losses.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


@pytest.fixture(scope="module")
def checkpoint(data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs on all four windows of the two rats."""
    out = tmp_path_factory.mktemp("checkpoint") / "rats"
    command = [sys.executable, "-m", "benchmark.cli", *pretrain(data_set, out).split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"seizure-bench run --model xspecies_videomae --stage1 {out}" in done.stdout
    return out


def test_checkpoint_says_what_it_is_and_on_whom_it_was_trained_and_anyone_can_load_it(checkpoint: Path) -> None:
    card = json.loads((checkpoint / "stage1.json").read_text())
    assert card["settings"]["mix"] == "+R(Y/N)"
    assert (card["size"], card["init"], card["rendered"], card["seed"]) == ("tiny", "random", False, 0)
    assert [(c["species"], c["seizure"], c["asked"], c["drawn"]) for c in card["counts"]] == [
        ("rodent", True, 2952, 2),
        ("rodent", False, 3000, 2),
    ]
    assert [subject for _, _, subject in card["declaration"]["subjects"]] == ["m0", "m1"]
    assert card["weights"] == sha256_of(checkpoint / "model.safetensors")
    with (checkpoint / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == card["clips"]
    assert [(row["subject_id"], row["seizure"]) for row in rows] == [("m0", "0"), ("m0", "1"), ("m1", "0"), ("m1", "1")]
    assert len(losses(checkpoint)) == 4
    assert {path.name for path in checkpoint.iterdir()} == {
        *("stage1.json", "request.json", "clips.csv", "losses.csv", "losses.png", "reconstruction.png"),
        *("model.safetensors", "config.json", ".lock"),
    }
    assert VideoMAEForPreTraining.from_pretrained(checkpoint).config.hidden_size == 192


def test_the_same_command_again_trains_nothing(checkpoint: Path, data_set: Path, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in checkpoint.glob("*.safetensors")}
    code, out, _ = call(pretrain(data_set, checkpoint), capsys)
    assert code == 0
    assert "loss" in out
    assert before == {path: path.stat().st_mtime_ns for path in checkpoint.glob("*.safetensors")}


def test_two_gloo_processes_give_the_curve_of_one_within_1e_5(data_set: Path, tmp_path: Path, capsys) -> None:
    """Steps of 2 clips and of 1, whose second process has none; one clip is held out."""
    more = "--set stage1_epochs=10 --set stage1_held_out=0.25 --set stage1_batch_size=2"
    assert call(pretrain(data_set, tmp_path / "one", more), capsys)[0] == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "benchmark.cli", *pretrain(data_set, tmp_path / "two", more).split()],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "two" / "stage1.json").read_text())["training"]["processes"] == 2
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 20
    np.testing.assert_allclose(two, one, atol=1e-5)
    assert done.stdout.count("seizure-bench run") == 1  # one of the two speaks


def test_killed_by_kill_9_the_same_command_goes_on_and_ends_with_the_same_weights(
    data_set: Path, tmp_path: Path, capsys
) -> None:
    more = "--set stage1_epochs=40 --save-every 0"
    assert call(pretrain(data_set, tmp_path / "undisturbed", more), capsys)[0] == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "benchmark.cli", *pretrain(data_set, out, more).split()]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    while process.poll() is None and not list((out / "checkpoints").glob("step-*[1-9]?")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "stage1.json").exists()
    reached = max(int(path.name[5:]) for path in (out / "checkpoints").glob("step-*"))
    assert 10 <= reached < 80
    assert call(pretrain(data_set, out, more), capsys)[0] == 0
    assert sha256_of(out / "model.safetensors") == sha256_of(tmp_path / "undisturbed" / "model.safetensors")


def test_a_run_with_a_given_checkpoint_says_by_what_it_was_made(
    checkpoint: Path, data_set: Path, short_task: str, tmp_path: Path, capsys
) -> None:
    command = f"{RUN} --data {data_set} --task {short_task} --out {tmp_path / 'run'} --stage1 {checkpoint}"
    code, out, err = call(command, capsys)
    assert code == 0, err
    weights = sha256_of(checkpoint / "model.safetensors")
    assert f"mix=+R(Y/N), stage1_batch_size=3, stage1_epochs=2, stage1={weights[:8]})" in out
    (unit, *_) = (json.loads(path.read_text()) for path in (tmp_path / "run" / "units").glob("[!.]*.json"))
    assert unit["unit"]["stage1"] == sha256_of(checkpoint / "model.safetensors")
    assert unit["unit"]["settings"]["stage1_batch_size"] == 3
    assert unit["checks"]["pretrained_patients"] == 0


def test_two_checkpoints_stand_in_two_rows_of_one_run(
    checkpoint: Path, data_set: Path, short_task: str, tmp_path: Path, capsys
) -> None:
    other = tmp_path / "other"
    assert call(pretrain(data_set, other, "--seed 1"), capsys)[0] == 0
    for given in (checkpoint, other):
        command = f"{RUN} --data {data_set} --task {short_task} --out {tmp_path / 'run'} --stage1 {given}"
        code, out, err = call(command, capsys)
        assert code == 0, err
    assert [out.count(f"stage1={sha256_of(f / 'model.safetensors')[:8]}") for f in (checkpoint, other)] == [1, 1]


@pytest.mark.parametrize("bad", ["--set stage1_held_out=0.99", "--track wandb", "--set stage1_precision=fp16"])
def test_what_is_refused_leaves_no_folder_to_stand_in_the_way(bad: str, data_set: Path, tmp_path: Path, capsys) -> None:
    code, _, err = call(pretrain(data_set, tmp_path / "out", bad), capsys)
    assert code == 2, err
    assert not (tmp_path / "out").exists()


def test_a_row_says_that_its_stage_1_saw_rendered_video(
    checkpoint: Path, data_set: Path, short_task: str, tmp_path: Path, capsys
) -> None:
    shutil.copytree(checkpoint, tmp_path / "drawn")
    card = json.loads((tmp_path / "drawn" / "stage1.json").read_text())
    (tmp_path / "drawn" / "stage1.json").write_text(json.dumps(card | {"rendered": True}))
    where = f"--data {data_set} --task {short_task}"
    for given, said in ((checkpoint, False), (tmp_path / "drawn", True)):
        code, out, _ = call(f"{RUN} {where} --out {tmp_path / str(said)} --stage1 {given}", capsys)
        assert code == 0
        assert ("STAGE 1 ON RENDERED VIDEO" in out) == said


def test_a_folder_that_another_process_holds_is_left_as_it_is(data_set: Path, tmp_path: Path, capsys) -> None:
    """Also in the moment before the other has written anything."""
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        code, _, err = call(pretrain(data_set, tmp_path / "out"), capsys)
        assert code == 2
        assert "another process is training here" in err
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_full_disk_is_a_sentence(checkpoint: Path, data_set: Path, tmp_path: Path) -> None:
    """A limit on the size of a file stands for it: the weights are some 9 MB."""
    words = " ".join(shlex.quote(word) for word in pretrain(data_set, tmp_path / "out").split())
    shell = f"ulimit -f 2000; exec {sys.executable} -m benchmark.cli {words}"  # in KiB
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "weights cannot be written" in done.stderr


def test_a_run_on_pretrained_patients_is_refused_unless_asked_for_by_name_and_then_marked(
    data_set: Path, short_task: str, tmp_path: Path, capsys
) -> None:
    """In one laboratory's set p0 was set aside for stage 1; in the other, which is tested on, the same p0 was not."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(data_set, elsewhere)
    table = pd.read_csv(elsewhere / "recordings.tsv", sep="\t", keep_default_na=False)
    table["split"] = np.where((table["species"] == "rat") | (table["subject_id"] == "p0"), "pretrain", "evaluate")
    table.to_csv(elsewhere / "recordings.tsv", sep="\t", index=False)
    trained = tmp_path / "people"
    assert call(pretrain(elsewhere, trained, mix="+H"), capsys)[0] == 0
    where = f"--data {data_set} --task {short_task} --out {tmp_path / 'run'}"
    code, _, err = call(f"{RUN} {where} --stage1 {trained}", capsys)
    assert code == 2
    assert "'p0'" in err
    assert "--allow-pretrained-patients" in err
    assert not (tmp_path / "run").exists()
    code, out, _ = call(f"{RUN} {where} --stage1 {trained} --allow-pretrained-patients", capsys)
    assert code == 0
    assert "PRE-TRAINED ON 1 TEST PATIENTS" in out
    code, out, _ = call(f"score {tmp_path / 'run'}", capsys)
    assert "PRE-TRAINED ON 1 TEST PATIENTS" in out


def test_kept_checkpoints_stay(data_set: Path, tmp_path: Path, capsys) -> None:
    assert call(pretrain(data_set, tmp_path / "out", "--save-every 0 --keep 2"), capsys)[0] == 0
    assert [path.name for path in sorted((tmp_path / "out" / "checkpoints").iterdir())] == [
        "step-00000002",
        "step-00000003",
    ]


def test_dry_run_tells_clips_and_cost_and_writes_nothing(data_set: Path, tmp_path: Path, capsys) -> None:
    code, out, _ = call(pretrain(data_set, tmp_path / "out", "--dry-run"), capsys)
    assert code == 0
    assert "2 of 2,952 rodent seizure clips; 2 of 3,000 rodent normal clips" in out
    assert "on 4 clips" in out
    assert list(tmp_path.iterdir()) == []


def damaged(folder: Path, checkpoint: Path) -> Path:
    """A copy with one byte of its weights changed."""
    shutil.copytree(checkpoint, folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    return folder


@pytest.mark.parametrize(
    ("licence", "shown"),
    [
        *[(name, True) for name in ("CC0", "CC-BY-4.0", "cc by-nc 4.0", "MIT", "Apache-2.0 repository", "LGPL-3.0")],
        *[(name, False) for name in ("n/a", "mit Einwilligung der Patienten", "internal", "Apache hospital", "")],
    ],
)
def test_pictures_are_made_of_openly_licensed_video_alone(licence: str, shown: bool) -> None:
    assert bool(OPEN_LICENCE.match(licence)) == shown


def test_a_card_decides_on_stage_1_alone_and_not_on_what_it_may_not_hold(
    checkpoint: Path, data_set: Path, short_task: str, tmp_path: Path, capsys
) -> None:
    where = f"--data {data_set} --task {short_task} --out {tmp_path / 'run'} --dry-run --json"

    def with_settings(name: str, **changes: object) -> str:
        shutil.copytree(checkpoint, tmp_path / name)
        card = json.loads((tmp_path / name / "stage1.json").read_text())
        card["settings"] |= changes
        (tmp_path / name / "stage1.json").write_text(json.dumps(card))
        return f"{RUN} {where} --stage1 {tmp_path / name}".replace("--set epochs=1", "")

    given = read_given(Path(with_settings("foreign", epochs=9999, lr=0.5).split()[-1]))
    adapter = registry.load("xspecies_videomae")
    taken = adopt(adapter(adapter.Settings(), Scale("tiny", "random", 3.0)), {}, given)
    assert (taken.epochs, taken.lr, taken.stage1_batch_size) == (20, None, 3)
    for name, changes in {"ratio": {"mask_ratio": "much"}, "mix": {"mix": "<b>|"}}.items():
        code, _, err = call(with_settings(name, **changes), capsys)
        assert code == 2
        assert "stage1.json: settings:" in err


REFUSED = {
    "pretrain --mix base --data {data}": "trains nothing",
    "pretrain --mix +RN --data {data}": "unknown mix",
    "pretrain --mix +H --data {data} --out {tmp}/x": "stage 1 has nothing to train on",
    "pretrain --mix +R(Y) --data {data} --model human_only --size tiny": "--model human_only: has no first stage",
    "pretrain --mix +R(Y) --data {data} --size tiny --set mask_ratio=1.5": "mask_ratio",
    "pretrain --mix +R(Y) --data {data} --size tiny --out {checkpoint}": "holds another training",
    "pretrain --mix +R(Y) --data {data} --size tiny --out {data}": "is neither empty nor a stage 1",
    RUN + " --data {data} --task {task} --stage1 {tmp}": "holds no finished stage 1",
    RUN + " --data {data} --task {task} --stage1 {damaged}": "not the weights that stage1.json beside it speaks of",
    RUN + " --data {data} --task {task} --stage1 {checkpoint} --size base": "is tiny; leave one of them out",
    RUN + " --data {data} --task {task} --stage1 {checkpoint} --set mask_ratio=0.5": "was trained with 0.3",
    "run --model chance --data {data} --task {task} --stage1 {checkpoint}": "none of chance has a first stage",
}


@pytest.mark.parametrize("command", REFUSED)
def test_bad_input_is_one_sentence(
    command: str, checkpoint: Path, data_set: Path, short_task: str, tmp_path: Path, capsys
) -> None:
    places = {"data": data_set, "task": short_task, "checkpoint": checkpoint, "tmp": tmp_path / "empty"}
    (tmp_path / "empty").mkdir()
    if "{damaged}" in command:
        places["damaged"] = damaged(tmp_path / "damaged", checkpoint)
    before = sorted(path for path in data_set.rglob("*"))
    code, _, err = call(command.format(**places), capsys)
    assert code == 2, err
    assert err.count("error:") == 1
    assert REFUSED[command] in err
    assert sorted(path for path in data_set.rglob("*")) == before
