"""Methods are found by reading their files, never by importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark import registry
from tasks.errors import BadInput


def write(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "baselines_folder", lambda: tmp_path / "baselines")
    write(tmp_path / "baselines", "one.py", '@register("one")\nclass One:\n    """The first.\n\n    More."""\n')
    return tmp_path / "baselines"


def test_a_file_is_read_and_not_run(folder):
    write(folder, "two.py", 'raise RuntimeError\n@register("two")\nclass Two:\n    """The second."""\n')
    assert {e.name: (e.module, e.attribute, e.summary) for e in registry.entries().values()} == {
        "one": ("baselines.one", "One", "The first."),
        "two": ("baselines.two", "Two", "The second."),
    }


def test_two_files_with_one_name_are_refused_by_both_modules_names(folder):
    write(folder, "again.py", '@register("one")\nclass Other:\n    pass\n')
    with pytest.raises(BadInput, match=r"'one' is registered by baselines\.again and baselines\.one"):
        registry.entries()


def test_a_file_with_a_syntax_error_is_named_with_its_line(folder):
    write(folder, "broken.py", '@register("broken")\nclass Broken(:\n')
    with pytest.raises(BadInput, match=r"broken\.py line 2: not valid Python"):
        registry.entries()


def test_a_module_that_cannot_be_imported_disables_its_methods_alone(folder, monkeypatch):
    write(folder, "needy.py", 'import no_such_library\n@register("needy")\nclass Needy:\n    """Needs."""\n')
    monkeypatch.syspath_prepend(str(folder.parent))
    assert "one" in registry.entries()
    with pytest.raises(BadInput, match=r"--model needy: .* cannot be imported"):
        registry.load("needy")


def test_a_third_partys_package_adds_a_method_by_entry_point(tmp_path):
    """A real distribution on the path of a real process: metadata, module and all."""
    (tmp_path / "theirs.py").write_text(
        "from benchmark.baseline import BaselineSettings\n"
        "class Theirs:\n    Settings, network, input = BaselineSettings, False, None\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[seizure_bench.baselines]\ntheir_method = theirs:Theirs\n")
    program = (
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "from benchmark import registry\n"
        "print(registry.entries()['their_method'].summary, '|', registry.load('their_method').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "from the package theirs | Theirs"
