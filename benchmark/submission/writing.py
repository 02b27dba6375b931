"""Models as text, fields in the order of the model; and folders that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from benchmark.files import replacing
from tasks.errors import BadInput


def yaml_text(model: BaseModel) -> str:
    """As YAML that people edit: no aliases, no tags, and no text that could be read as a number."""
    content = model.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def json_text(model: BaseModel) -> str:
    """As strict JSON; floats keep their last bit."""
    return json.dumps(model.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def refuse_other(folder: Path, files: Mapping[str, bytes]) -> None:
    """Raise BadInput for a folder that is there and holds anything but these files."""
    if not folder.exists() and not folder.is_symlink():
        return
    remedy = "remove it, or choose another --name or --out"
    if folder.is_symlink() or not folder.is_dir():
        raise BadInput(f"{folder}: is there and is no folder; {remedy}")
    there = {path.name: path for path in folder.iterdir()}
    for name in sorted(there.keys() | files.keys()):
        path = there.get(name)
        if path is None or name not in files or not path.is_file() or path.read_bytes() != files[name]:
            raise BadInput(f"{folder}: is there with other content (the first that differs: {name}); {remedy}")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Write a folder in one step; False where it was there already with this very content.

    Raises:
        BadInput: it was there with other content.
    """
    refuse_other(folder, files)
    if folder.exists():
        return False
    with replacing(folder) as temporary:
        temporary.mkdir()
        for name, data in files.items():
            (temporary / name).write_bytes(data)
    refuse_other(folder, files)  # another process may have been faster
    return True


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _is_number(text) else None)


def _is_number(text: str) -> bool:
    """Such as 1e5, which is a text in YAML 1.1 and a number in 1.2 and in JSON."""
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _text)
