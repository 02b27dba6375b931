"""Names to adapters, without importing any: listing a hundred methods must not load torch.

Our own are found by reading `@register("name")` in the files under `baselines/`; other packages add theirs by an
entry point in the group `seizure_bench.baselines`, whose name is the method's and whose value is `module:Class`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tasks.errors import BadInput

if TYPE_CHECKING:
    from benchmark.baseline import Baseline

GROUP = "seizure_bench.baselines"

Adapter = TypeVar("Adapter", bound=type)


@dataclass(frozen=True)
class Entry:
    """Where a method's class stands, and the first line of its docstring."""

    name: str
    module: str
    attribute: str
    summary: str


def register(name: str) -> Callable[[Adapter], Adapter]:
    """Mark a class as the adapter of `name`. The mark is read from the source; at run time it is the name tag."""

    def mark(adapter: Adapter) -> Adapter:
        adapter.name = name  # type: ignore[attr-defined]
        return adapter

    return mark


def entries() -> dict[str, Entry]:
    """All methods by name, ours first, in alphabetical order.

    Raises:
        BadInput: two adapters claim one name.
    """
    found: dict[str, Entry] = {}
    for entry in [*_own(baselines_folder()), *_third_party()]:
        if entry.name in found:
            other = found[entry.name]
            raise BadInput(f"method {entry.name!r} is registered by {other.module} and {entry.module}: rename one")
        found[entry.name] = entry
    return dict(sorted(found.items()))


def load(name: str) -> type[Baseline]:
    """Import the adapter of `name`.

    Raises:
        BadInput: no such method, or its module cannot be imported.
    """
    known = entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`seizure-bench list` shows them all"
        raise BadInput(f"--model {name}: unknown method; {hint}")
    entry = known[name]
    try:
        adapter: type[Baseline] = getattr(importlib.import_module(entry.module), entry.attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"--model {name}: {entry.module} cannot be imported ({error}); mend the file, or, if a library is missing, "
            "run `make setup`"
        ) from error
    return adapter


def baselines_folder() -> Path:
    """The folder whose files hold the adapters."""
    spec = find_spec("baselines")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput("the package `baselines` is not installed; run `make setup`")
    return Path(next(iter(spec.submodule_search_locations)))


def _own(folder: Path) -> list[Entry]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "@register(" not in text:
            continue
        module = ".".join(("baselines", *path.relative_to(folder).with_suffix("").parts))
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise BadInput(f"{path} line {error.lineno}: not valid Python ({error.msg}); mend or remove it") from error
        found += [
            Entry(name, module, node.name, (ast.get_docstring(node) or "").partition("\n")[0])
            for node in tree.body
            if isinstance(node, ast.ClassDef)
            for name in _registered_names(node)
        ]
    return found


def _registered_names(node: ast.ClassDef) -> list[str]:
    return [
        decorator.args[0].value
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Name)
        and decorator.func.id == "register"
        and len(decorator.args) == 1
        and isinstance(decorator.args[0], ast.Constant)
        and isinstance(decorator.args[0].value, str)
    ]


def _third_party() -> list[Entry]:
    return [
        Entry(point.name, point.module, point.attr, f"from the package {point.dist.name if point.dist else '?'}")
        for point in entry_points(group=GROUP)
    ]
