"""The catalogue agrees with the methods and the libraries; a checkpoint is found in each place, whole, and hashed."""

from __future__ import annotations

import hashlib
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import save

from benchmark import registry
from benchmark.baseline import Loads, Scale
from benchmark.files import sha256_of
from benchmark.weights.catalogue import PublishedWeights, WeightsFile, catalogue, digest, locate, named, weights_folder
from benchmark.weights.sound import flaw
from tasks.errors import BadInput

TENSORS = save({"a": np.arange(6, dtype=np.float32), "b": np.ones(3)})
HUB_ID = "Some-Org/net.base"


def hub_entry(**changes: object) -> PublishedWeights:
    files = [
        {"path": "net/model.safetensors", "address": "https://x/model.safetensors"},
        {"path": "net/config.json", "address": "https://x/config.json"},
    ]
    fields = {"name": "net", "init": "k400", "trained_on": "K", "licence": "L", "source": "S", "hub_id": HUB_ID}
    return PublishedWeights.model_validate({**fields, "files": files, **changes})


def put(folder: Path, tensors: bytes = TENSORS, config: str = "{}") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(tensors)
    (folder / "config.json").write_text(config)
    return folder / "model.safetensors"


def put_in_hub_cache(cache: Path, tensors: bytes = TENSORS) -> Path:
    """As published: blobs by their hash, links to them in a snapshot, and `main` naming the snapshot."""
    home = cache / f"models--{HUB_ID.replace('/', '--')}"
    snapshot = home / "snapshots" / "0123abc"
    (home / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0123abc")
    for name, content in (("model.safetensors", tensors), ("config.json", b"{}")):
        blob = hashlib.sha256(content).hexdigest()
        (home / "blobs" / blob).write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot / "model.safetensors"


@pytest.mark.parametrize("name", catalogue())
def test_each_method_named_asks_for_the_entry_by_the_settings_named(name):
    entry = catalogue()[name]
    assert entry.methods
    for method in entry.methods:
        adapter = registry.load(method)
        baseline = adapter(adapter.Settings(**entry.settings), Scale("base", entry.init, 5.0))
        assert isinstance(baseline, Loads)
        assert baseline.published == entry
        assert entry.init in adapter.inits


def test_no_two_files_share_a_place_and_all_come_over_https():
    files = [file for entry in catalogue().values() for file in entry.files]
    assert len({file.path for file in files}) == len(files)
    assert all(file.address.startswith("https://") for file in files)
    assert all(file.address.endswith(Path(file.path).name) for file in files)


def test_addresses_are_those_of_the_installed_libraries():
    entries = catalogue()
    from pytorchvideo.models.hub import csn, slowfast, x3d
    from torchvision.models import ResNet18_Weights

    zoo = {**csn.checkpoint_paths, **slowfast.checkpoint_paths, **x3d.checkpoint_paths}
    for name in ("csn_r101", "slowfast_r50", "x3d_s", "x3d_m"):
        assert entries[name].files[0].address == zoo[name]
    assert entries["resnet18"].files[0].address == ResNet18_Weights.IMAGENET1K_V1.url


def test_openmmlabs_addresses_are_those_in_its_model_index():
    spec = find_spec("mmaction")
    if spec is None:
        pytest.skip("mmaction2 is installed on x86-64 alone")
    index = Path(spec.submodule_search_locations[0], ".mim/configs/recognition/csn/metafile.yml").read_text()
    for name in ("ipcsn_r152", "ircsn_r152"):
        file = catalogue()[name].files[0]
        assert file.address in index
        assert f"-{file.sha256}.pth" in file.address


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "."])
def test_a_path_that_leaves_the_folder_is_no_path(path):
    with pytest.raises(ValidationError, match="below the weights folder"):
        WeightsFile(path=path, address="https://x")


@pytest.mark.parametrize("hub_id", ["../..", "a/..", "/etc", "a/b/c", "a"])
def test_a_hub_id_is_an_organisation_and_a_name(hub_id):
    with pytest.raises(ValidationError, match="hub_id"):
        hub_entry(hub_id=hub_id)


def test_the_places_are_tried_in_turn_and_the_digest_is_of_the_files_found(tmp_path, hub_cache):
    entry = hub_entry()
    with pytest.raises(BadInput, match=r"net/model\.safetensors: missing .* https://x/model\.safetensors"):
        locate(entry, tmp_path)
    seen = []
    for number, place in enumerate(("cache", HUB_ID, "net")):
        content = save({"a": np.full(4, number, dtype=np.float32)})
        put_ = put_in_hub_cache(hub_cache, content) if place == "cache" else put(tmp_path / place, content)
        assert locate(entry, tmp_path) == put_
        assert digest(entry, tmp_path) == hashlib.sha256(content).hexdigest()
        seen.append(digest(entry, tmp_path))
    assert len(set(seen)) == 3


def test_files_of_different_places_are_never_put_together(tmp_path, hub_cache):
    put(tmp_path / "net").unlink()
    (put(tmp_path / HUB_ID).parent / "config.json").unlink()
    with pytest.raises(BadInput, match="missing"):
        locate(hub_entry(), tmp_path)
    assert put_in_hub_cache(hub_cache) == locate(hub_entry(), tmp_path)


def test_a_hub_cache_without_the_tensors_is_no_place(tmp_path, hub_cache):
    put_in_hub_cache(hub_cache).unlink()
    with pytest.raises(BadInput, match="missing"):
        locate(hub_entry(), tmp_path)


@pytest.mark.parametrize("digits", [8, 20, 64])
def test_a_file_of_another_hash_is_refused(tmp_path, digits):
    path = put(tmp_path / "net")
    file = {"path": "net/model.safetensors", "address": "https://x", "sha256": sha256_of(path)[:digits]}
    entry = hub_entry(files=[file])
    digest(entry, tmp_path)
    path.write_bytes(save({"a": np.zeros(6, dtype=np.float32), "b": np.ones(3)}))
    with pytest.raises(BadInput, match=rf"{path}: its sha256 begins with .*weights fetch net --weights {tmp_path}"):
        digest(entry, tmp_path)


def check(path: Path, suffix: str, size: int | None = None) -> str | None:
    return flaw(path, suffix, sha256_of(path), None, size)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(TENSORS) - 1))
def test_a_safetensors_file_that_is_cut_anywhere_is_noticed_without_a_hash(tmp_path, length):
    path = tmp_path / "f"
    path.write_bytes(TENSORS)
    assert check(path, ".safetensors") is None
    path.write_bytes(TENSORS[:length])
    assert check(path, ".safetensors")


@pytest.mark.parametrize(
    "content",
    [
        TENSORS + b"\0",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        (2).to_bytes(8, "little") + b"[]",
        (10).to_bytes(8, "little") + b'{"a":null}',
        (2**63).to_bytes(8, "little") + b"{}",
    ],
)
def test_what_is_no_safetensors_file_is_noticed(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    assert check(tmp_path / "f", ".safetensors") == "it is cut off, or no safetensors file"


def test_a_zipped_checkpoint_that_is_cut_is_noticed_without_a_hash(tmp_path):
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"x" * 1000)
    assert check(path, ".pth") is None
    path.write_bytes(path.read_bytes()[:-30])
    assert check(path, ".pth") == "it is cut off"


def test_an_empty_file_half_a_json_and_another_size_are_noticed(tmp_path):
    path = tmp_path / "f"
    for content, says in ((b"", "empty"), (b'{"a": 1', "no JSON"), (b"\xff", "no JSON"), (b" <HTML>", "HTML page")):
        path.write_bytes(content)
        assert says in (check(path, ".json") or "")
    path.write_text(json.dumps({"a": 1}))
    assert check(path, ".json") is None
    assert check(path, ".json", 8) is None
    assert check(path, ".json", 9) == "it has 8 bytes, the published one has 9"


def test_a_wrong_name_is_met_with_the_nearest_one():
    assert [entry.name for entry in named(["x3d_m", "x3d_s", "x3d_m"])] == ["x3d_m", "x3d_s"]
    with pytest.raises(BadInput, match=r"x3d-s: no such published weights; did you mean x3d_s\?"):
        named(["x3d_m", "x3d-s"])
    with pytest.raises(BadInput, match="weights list"):
        named(["zzzzzz"])


def test_the_folder_is_the_one_asked_for_then_the_variable_then_the_cache(tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    assert weights_folder(None, tmp_path) == tmp_path / "weights"
    two.mkdir()
    monkeypatch.setenv("SEIZURE_BENCH_WEIGHTS", str(two))
    assert weights_folder(None, tmp_path) == two
    with pytest.raises(BadInput, match=f"--weights {one}: no such folder"):
        weights_folder(one, tmp_path)
    one.mkdir()
    assert weights_folder(one, tmp_path) == one
    two.rmdir()
    with pytest.raises(BadInput, match=f"SEIZURE_BENCH_WEIGHTS {two}: no such folder"):
        weights_folder(None, tmp_path)
