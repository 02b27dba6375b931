"""What people do to submissions: change a file and, if they are careful, the hash in the card too."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

HASHED = {"results.json": "results", "episodes.csv": "episodes", "predictions.csv.gz": "predictions"}


def edit_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the parsed submission.yaml in place."""
    path = folder / "submission.yaml"
    card = yaml.safe_load(path.read_text())
    change(card)
    path.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True))


def edit_json(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a parsed JSON file in place, and its hash in the card."""
    content = json.loads((folder / name).read_text())
    change(content)
    put(folder, name, json.dumps(content).encode())


def put(folder: Path, name: str, data: bytes) -> None:
    """Replace a file, of predictions the unpacked content, and its hash in the card."""
    (folder / name).write_bytes(gzip.compress(data, 1, mtime=0) if name.endswith(".gz") else data)
    if name in HASHED:
        edit_card(folder, lambda card: card["hashes"].update({HASHED[name]: hashlib.sha256(data).hexdigest()}))


def lines_of(folder: Path, name: str) -> list[bytes]:
    """The lines of a table, line ends kept; the header first."""
    data = (folder / name).read_bytes()
    return (gzip.decompress(data) if name.endswith(".gz") else data).splitlines(keepends=True)


def edit_lines(folder: Path, name: str, change: Callable[[list[bytes]], object]) -> None:
    """Change the lines of a table in place, and its hash in the card."""
    lines = lines_of(folder, name)
    change(lines)
    put(folder, name, b"".join(lines))


def replace_cell(folder: Path, name: str, line: int, column: int, cell: bytes) -> None:
    """Change one cell; lines and columns from 0, the header is line 0."""

    def change(lines: list[bytes]) -> None:
        cells = lines[line].rstrip(b"\n").split(b",")
        cells[column] = cell
        lines[line] = b",".join(cells) + b"\n"

    edit_lines(folder, name, change)
