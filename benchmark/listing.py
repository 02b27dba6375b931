"""What can be asked for: methods, tasks and protocols, with a line each."""

from __future__ import annotations

from pathlib import Path

from benchmark import registry
from protocols import spec as protocol_spec
from tasks import spec as task_spec


def listing() -> dict[str, dict[str, str]]:
    """Summaries by name; imports no adapter."""
    return {
        "methods": {name: entry.summary for name, entry in registry.entries().items()},
        "tasks": _summaries(task_spec.SPECS),
        "protocols": _summaries(protocol_spec.SPECS),
    }


def _summaries(folder: Path) -> dict[str, str]:
    return {path.stem: str(task_spec.read_yaml(path)["description"]) for path in sorted(folder.glob("*.yaml"))}
