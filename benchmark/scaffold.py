"""`new-baseline`: a working adapter file, to be edited."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark import registry
from benchmark.files import write_atomically
from tasks.errors import BadInput

TEMPLATE = Path(__file__).with_name("adapter.template")


def write_adapter(name: str) -> Path:
    """Write `baselines/NAME.py` from the template; the path.

    Raises:
        BadInput: the name is no Python name, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,40}", name):
        raise BadInput(f"{name!r}: a method's name is lower-case letters, digits and underscores, such as my_method")
    path = registry.baselines_folder() / f"{name}.py"
    if name in registry.entries() or path.exists() or path.with_suffix("").exists():
        raise BadInput(f"{name}: there is a method or file of that name already ({path}); choose another name")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    text = TEMPLATE.read_text(encoding="utf-8").replace("CLASS", class_name).replace("NAME", name)
    write_atomically(path, text)
    return path
