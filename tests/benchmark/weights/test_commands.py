"""`weights list` and `weights fetch`, as they are typed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from benchmark.weights import catalogue
from tests.benchmark.conftest import assert_one_sentence, run_cli
from tests.benchmark.weights.server import serving, status, whole
from tests.benchmark.weights.test_catalogue import put

BODY = random.Random(0).randbytes(1000)


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put entries in the place of the shipped catalogue."""

    def publish_(*addresses: str) -> None:
        common = {"init": "k400", "methods": ["csn"], "settings": {"variant": "r101"}}
        common |= {"trained_on": "Kinetics", "licence": "free", "source": "s"}
        entries = [
            {**common, "name": f"net{n}", "files": [{"path": f"net{n}.pth", "address": address}]}
            for n, address in enumerate(addresses)
        ]
        (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump({"weights": entries}))
        monkeypatch.setattr(catalogue, "CATALOGUE", tmp_path / "catalogue.yaml")
        catalogue.catalogue.cache_clear()

    yield publish_
    catalogue.catalogue.cache_clear()


def test_the_list_tells_there_missing_and_damaged_apart(tmp_path, capsys):
    put(tmp_path / "videomae-base")
    put(tmp_path / "videomae-base-finetuned-kinetics", save({"a": np.ones(3)})[:-1])
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"not the published one")
    assert run_cli(f"weights list --json --weights {tmp_path}") == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found.keys() == catalogue.catalogue().keys()
    states = {name: row["state"] for name, row in found.items() if row["state"] != "missing"}
    assert states == {
        "videomae-base": "there",
        "videomae-base-finetuned-kinetics": "damaged",
        "resnet18": "damaged",
    }
    assert found["videomae-base"]["path"] == str(tmp_path / "videomae-base/model.safetensors")
    assert "the published one's with f37072fd" in found["resnet18"]["fault"]
    assert found["x3d_s"]["path"] is None
    assert "get it by `seizure-bench weights fetch x3d_s" in found["x3d_s"]["fault"]


def test_the_table_says_who_starts_from_what_and_where_it_comes_from(tmp_path, capsys, publish):
    publish("https://x/net0.pth", "https://x/net1.pth")
    (tmp_path / "net1.pth").write_bytes(BODY)
    assert run_cli(f"weights list --weights {tmp_path}") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split() for line in out if line.startswith("net")] == [
        ["net0", "missing", "k400", "csn", "(variant=r101)", "Kinetics"],
        ["net1", "there", "k400", "csn", "(variant=r101)", "Kinetics"],
    ]
    assert out[3:5] == ["  free", "  https://x/net0.pth"]
    assert out[-1] == f"  there: {tmp_path / 'net1.pth'}"


def test_a_folder_that_is_not_there_is_refused_by_the_list_and_made_by_fetch(tmp_path, capsys, publish):
    assert_one_sentence(run_cli(f"weights list --weights {tmp_path / 'no'}"), *capsys.readouterr())
    with serving(whole(BODY)) as server:
        publish(server.address)
        assert run_cli(f"weights fetch net0 --quiet --weights {tmp_path / 'no'}") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'no/net0.pth'}\n"
    assert (tmp_path / "no/net0.pth").read_bytes() == BODY


def test_without_a_folder_they_go_where_run_looks_for_them(cache, capsys, publish):
    with serving(whole(BODY)) as server:
        publish(server.address)
        assert run_cli("weights fetch net0 --quiet") == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == catalogue.locate(catalogue.catalogue()["net0"], catalogue.weights_folder(None, cache))
    path.unlink()
    path.parent.rmdir()


def test_one_wrong_name_and_nothing_is_fetched(tmp_path, capsys, publish):
    with serving(whole(BODY)) as server:
        publish(server.address)
        code = run_cli(f"weights fetch net0 net7 --weights {tmp_path}")
    said = capsys.readouterr()
    assert_one_sentence(code, said.out, said.err)
    assert "did you mean net0?" in said.err
    assert server.asked == []


def test_what_cannot_be_fetched_is_one_sentence_with_address_and_place(tmp_path, capsys, publish):
    with serving(status(404)) as server:
        publish(server.address)
        code = run_cli(f"weights fetch net0 --weights {tmp_path}")
    said = capsys.readouterr()
    assert_one_sentence(code, said.out, said.err)
    assert server.address in said.err
    assert str(tmp_path / "net0.pth") in said.err


def test_one_that_cannot_be_fetched_keeps_no_other_from_coming(tmp_path, capsys, publish):
    with serving(status(404)) as gone, serving(whole(BODY)) as server:
        publish(gone.address, server.address)
        code = run_cli(f"weights fetch net0 net1 --quiet --weights {tmp_path}")
    said = capsys.readouterr()
    assert code == 2
    assert said.out == f"{tmp_path / 'net1.pth'}\n"
    assert gone.address in said.err
    assert (tmp_path / "net1.pth").read_bytes() == BODY


@pytest.mark.parametrize("words", [["weights", "list"], ["weights", "fetch", "nonesuch"], ["weights", "--help"]])
def test_neither_command_imports_torch(words, tmp_path):
    code = f"import sys\nsys.argv = ['seizure-bench', *{words}]\nfrom benchmark.cli import main\ntry:\n    main()\n"
    code += "except SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    root = Path(catalogue.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    modules = done.stderr.split()
    assert "typer" in modules
    assert not {"torch", "transformers", "av", "pandas"} & set(modules)
