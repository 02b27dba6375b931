"""The digest of an adapter follows its own source and what that imports from its package, and nothing else."""

from __future__ import annotations

import importlib
import sys

import pytest

from benchmark import registry
from benchmark.run.code import code_digest

FILES = {
    "__init__.py": "",
    "adapter.py": "import json\nfrom . import near\nfrom {package}.deep.inner import VALUE\nclass Adapter: pass\n",
    "near.py": "X = 1\n",
    "deep/__init__.py": "",
    "deep/inner.py": "from {package}.deep import deeper\nVALUE = 1\n",
    "deep/deeper.py": "Y = 1\n",
    "unused.py": "Z = 1\n",
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Digest of the adapter in a fresh package whose files may differ."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def of(**changes):
        package = f"package{len(made)}_of_test_code"
        made.append(package)
        for name, text in {**FILES, **{k.replace("__", "/") + ".py": v for k, v in changes.items()}}.items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{package}", "package"))
        (tmp_path / "package").unlink(missing_ok=True)
        (tmp_path / "package").symlink_to(tmp_path / package)
        for name in [n for n in sys.modules if n.partition(".")[0] == "package"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return code_digest(importlib.import_module("package.adapter").Adapter)

    yield of
    for name in [n for n in sys.modules if n.partition(".")[0] == "package"]:
        del sys.modules[name]


def test_same_source_has_the_same_digest_and_an_unused_file_does_not_matter(digest):
    assert digest() == digest() == digest(unused="Z = 2\n")


@pytest.mark.parametrize("file", ["near", "deep__inner", "deep__deeper"])
def test_a_change_anywhere_below_the_adapter_changes_it(digest, file):
    old = FILES[file.replace("__", "/") + ".py"]
    assert digest() != digest(**{file: old.replace("= 1", "= 2")})


def test_every_registered_method_has_a_digest_of_its_own():
    adapters = {name: registry.load(name) for name in registry.entries()}
    files = {adapter.__module__ for adapter in adapters.values()}
    assert len({code_digest(adapter) for adapter in adapters.values()}) == len(files)
