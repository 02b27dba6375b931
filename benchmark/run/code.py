"""An adapter's numbers follow from its source: a unit computed by other code is not the unit that was asked for."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path


@cache
def code_digest(adapter: type) -> str:
    """Hex sha256 of the adapter's module and of all that it imports, step by step, from its own package.

    The harness and the libraries are not part of it: they are stamped in the record (commit, versions).
    """
    package = adapter.__module__.partition(".")[0]
    found: dict[str, bytes] = {}
    waiting = [adapter.__module__]
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if name in found or source is None:
            continue
        found[name] = source
        waiting += [other for other in _imports(name, source) if other.partition(".")[0] == package]
    return hashlib.sha256(b"\0".join(found[name] for name in sorted(found))).hexdigest()


def _source(module: str) -> bytes | None:
    """The bytes of a module's file; None where there is no such module (a name, say, imported from one)."""
    loaded = sys.modules.get(module)
    try:
        origin = loaded.__file__ if loaded else getattr(find_spec(module), "origin", None)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(origin).read_bytes() if origin and origin.endswith(".py") else None


def _imports(module: str, source: bytes) -> Iterator[str]:
    """Dotted names of what a module imports, `from a import b` as both a and a.b."""
    parent = module if (_file(module) or "").endswith("__init__.py") else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), parent) if node.level else node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)
