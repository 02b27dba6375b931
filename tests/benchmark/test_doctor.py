"""`doctor` on this machine, and on machines that are really broken: it says what, and looks at all the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import doctor, registry
from benchmark.progress import Progress
from benchmark.weights.catalogue import catalogue
from tasks.errors import BadInput
from tests.benchmark.conftest import run_cli

ROOT = Path(doctor.__file__).parents[1]


@pytest.fixture(autouse=True)
def no_hub_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def start(*words: str, ahead: Path | None = None) -> tuple[int, dict[str, dict[str, str]], str]:
    """`doctor --json` in a process of its own, with a folder ahead of all others on its path."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", "doctor", "--json", "--quiet", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ahead or ""), "HF_HUB_CACHE": os.devnull},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    return done.returncode, found, done.stderr


def broken(found: dict[str, dict[str, str]]) -> set[str]:
    return {what for what, finding in found.items() if finding["state"] == "broken"}


def break_library(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise RuntimeError('operator does not exist')\n")
    return folder


@pytest.fixture(scope="module")
def here() -> tuple[int, dict[str, dict[str, str]], str]:
    return start()


def test_on_a_good_machine_only_weights_are_missing_and_the_exit_code_is_0(here):
    code, found, err = here
    assert code == 0, err
    states = {what: finding["state"] for what, finding in found.items() if what not in ("libraries", "cache")}
    assert {what for what, state in states.items() if state != "ok"} == {f"weights {name}" for name in catalogue()}
    assert set(states.values()) == {"ok", "missing"}
    assert {what.split()[1] for what in found if what.startswith("method ")} == set(registry.entries())
    assert found["device cpu"]["detail"].endswith("fine-tuning in fp32")
    assert "120 of 120 frames" in found["decoder"]["detail"]
    assert all(finding["remedy"] for finding in found.values() if finding["state"] != "ok")


def test_a_broken_library_disables_its_adapters_alone(here, tmp_path):
    code, found, err = start(ahead=break_library(tmp_path, "pytorchvideo"))
    assert code == 1, err
    users = {
        name
        for name, entry in registry.entries().items()
        if "pytorchvideo" in (ROOT / f"{entry.module.replace('.', '/')}.py").read_text()
    }
    assert {what.split()[1] for what in broken(found)} == users
    assert broken(found) < {what for what in found if what.startswith("method ")}
    for what in broken(found):
        assert "pytorchvideo" in found[what]["detail"]
        assert found[what]["remedy"]
    assert found["method csn variant=r101"]["state"] == "broken"
    assert found["method csn variant=ip152"]["state"] == "ok"
    assert found.keys() == here[1].keys()


def test_without_a_decoder_all_the_rest_is_still_looked_at(here, tmp_path):
    """A library that is absent is told by the package's own list of what it needs."""
    info = break_library(tmp_path, "av") / "seizure_bench-9.dist-info"
    info.mkdir()
    wants = "Requires-Dist: no-such-library\nRequires-Dist: numpy<1\nRequires-Dist: torch\n"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: seizure-bench\nVersion: 9\n{wants}")
    code, found, _ = start(ahead=tmp_path)
    assert code == 1
    assert found.keys() == here[1].keys()
    assert found["decoder"]["state"] == "broken"
    assert "RuntimeError: operator does not exist" in found["decoder"]["detail"]
    assert "make setup" in found["decoder"]["remedy"]
    assert found["cache"]["state"] == here[1]["cache"]["state"]
    assert found["libraries"]["state"] == "missing"
    assert "no-such-library is absent; numpy is " in found["libraries"]["detail"]
    assert "torch" not in found["libraries"]["detail"]


def check_weights(name: str, folder: Path) -> doctor.Finding:
    return doctor._guarded(f"weights {name}", doctor._weights_check(catalogue()[name], folder))


def published_x3d(path: Path, **changes: object) -> None:
    """A file as its publisher lays it out: the whole network, classifier included, under `model_state`."""
    import torch
    from pytorchvideo.models import hub

    state = {**hub.x3d_s(pretrained=False).state_dict(), **changes}
    torch.save({"model_state": {name: tensor for name, tensor in state.items() if tensor is not None}}, path)


def test_weights_that_are_there_are_loaded_to_the_last_tensor(tmp_path):
    path = tmp_path / catalogue()["x3d_s"].files[0].path
    assert check_weights("x3d_s", tmp_path).state == "missing"
    published_x3d(path)
    finding = check_weights("x3d_s", tmp_path)
    assert finding.state == "ok"
    assert finding.detail == f"{path}: whole, as far as can be told without a published hash; x3d loads every tensor"
    published_x3d(path, **{"blocks.0.conv.conv_t.weight": None})
    finding = check_weights("x3d_s", tmp_path)
    assert finding.state == "broken"
    assert "1 tensors are missing (first: blocks.0.conv.conv_t.weight)" in finding.detail
    assert "fetch" in finding.remedy


def test_damaged_weights_are_named_and_the_exit_code_is_1(tmp_path, capsys):
    path = tmp_path / catalogue()["resnet18"].files[0].path
    path.write_bytes(b"half a file")
    assert run_cli(f"doctor --quiet --weights {tmp_path}") == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("broken"))
    assert "weights resnet18" in lines[at]
    assert f"{path}: its sha256" in lines[at]
    assert f"weights fetch resnet18 --weights {tmp_path}" in lines[at + 1]
    assert lines[-1].endswith(", 1 broken")


def test_a_folder_of_weights_that_is_not_there_is_bad_input(tmp_path, capsys):
    assert run_cli(f"doctor --weights {tmp_path / 'no'}") == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_cache_that_cannot_be_used_is_a_finding(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    finding = doctor._guarded("cache", doctor._cache)
    assert (finding.state, finding.remedy) == ("broken", "set SEIZURE_BENCH_CACHE")
    assert str(tmp_path / "file" / "cache") in finding.detail


def test_an_adapter_with_a_syntax_error_is_a_finding(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text('@register("mine")\nclass Mine(:\n')
    monkeypatch.setattr(registry, "baselines_folder", lambda: tmp_path)
    found = {finding.what: finding for finding in doctor.examine(None, Progress(quiet=True))}
    assert found["methods"].state == "broken"
    assert "mine.py line 2: not valid Python" in found["methods"].detail
    assert found["decoder"].state == "ok"
    assert found["device cpu"].state == "ok"


def test_an_adapter_that_ends_the_process_at_its_import_is_a_finding(tmp_path, monkeypatch):
    (tmp_path / "quitter.py").write_text('import sys\nsys.exit("no")\n@register("mine")\nclass Mine:\n    pass\n')
    entry = registry.Entry("mine", "quitter", "Mine", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "entries", lambda: {"mine": entry})
    found = {finding.what: finding for finding in doctor.examine(None, Progress(quiet=True))}
    assert (found["method mine"].state, found["method mine"].detail) == ("broken", "SystemExit: no")


def test_the_self_test_of_the_decoder_sees_one_wrong_frame_and_a_missing_one(tmp_path):
    numbers = [(7 * index + 3) % 256 for index in range(doctor.FRAMES)]
    doctor.write_numbered(tmp_path / "good.mp4", numbers)
    assert doctor.misread(tmp_path / "good.mp4", numbers) == []
    swapped = [*numbers[:60], numbers[61], numbers[60], *numbers[62:]]
    doctor.write_numbered(tmp_path / "swapped.mp4", swapped)
    assert doctor.misread(tmp_path / "swapped.mp4", numbers) == [60, 61]
    doctor.write_numbered(tmp_path / "short.mp4", numbers[:-1])
    with pytest.raises(BadInput, match=r"no frame at 4\.780 s"):
        doctor.misread(tmp_path / "short.mp4", numbers)


def test_every_number_can_be_read_back(tmp_path):
    doctor.write_numbered(tmp_path / "all.mp4", range(256))
    assert doctor.misread(tmp_path / "all.mp4", range(256)) == []
    assert doctor.misread(tmp_path / "all.mp4", [*range(255), 254]) == [255]


@pytest.mark.gpu
def test_a_gpu_is_named_with_its_memory_and_precision(here):
    import torch

    finding = here[1]["device cuda:0"]
    assert finding["state"] == "ok"
    assert torch.cuda.get_device_name(0) in finding["detail"]
    assert finding["detail"].endswith(
        "fine-tuning in bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "in fp16"
    )


def test_the_precision_is_that_of_a_method_that_works():
    """The first methods in the alphabet may have none, or be broken."""
    assert doctor._precision("cpu", ["no_such_method", "chance", "human_only"]) == "fine-tuning in fp32"
    assert doctor._precision("cpu", ["chance"]) == "no method is fine-tuned"
    with pytest.raises(BadInput, match="no_such_method"):
        doctor._precision("cpu", ["no_such_method", "chance"])
