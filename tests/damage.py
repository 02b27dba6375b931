"""What people do to data sets and run folders: each harm changes files under a folder that holds a copy of both.

here/small     a copy of the small data set (`tests/conftest.py`)
here/run       a copy of a finished run on it
here/own.yaml  a task of one's own, once `own_task` has written it
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmark.files import sha256_of
from tasks.spec import load_task
from tests.videos import make_sound, make_video

Harm = Callable[[Path], object]
Cells = list[list[str]]

VIDEO = "small/videos/p0r0.mp4"


def both(*harms: Harm) -> Harm:
    return lambda here: [harm(here) for harm in harms]


def put(name: str, content: str | bytes) -> Harm:
    """Write a file, in place of what was there."""

    def harm(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return harm


def without(name: str) -> Harm:
    return lambda here: (here / name).unlink()


def edit(table: str, change: Callable[[Cells], object]) -> Harm:
    """Change the cells of a table; cells[0] is the header, cells[1] stands in line 2 of the file."""

    def harm(here: Path) -> None:
        path = here / "small" / f"{table}.tsv"
        cells = [line.split("\t") for line in path.read_text().splitlines()]
        change(cells)
        path.write_text("".join("\t".join(row) + "\n" for row in cells))

    return harm


def cell(table: str, line: int, column: str, value: str) -> Harm:
    """Write one cell; the header is line 1."""

    def change(cells: Cells) -> None:
        cells[line - 1][cells[0].index(column)] = value

    return edit(table, change)


def column(table: str, name: str, values: Mapping[str, str], otherwise: str) -> Harm:
    """Add a column, or write one anew: `values` by the row's first cell."""

    def change(cells: Cells) -> None:
        if name not in cells[0]:
            for row in cells:
                row.append(name)
        at = cells[0].index(name)
        for row in cells[1:]:
            row[at] = values.get(row[0], otherwise)

    return edit(table, change)


def drop_column(table: str, name: str) -> Harm:
    def change(cells: Cells) -> None:
        at = cells[0].index(name)
        for row in cells:
            del row[at]

    return edit(table, change)


def no_rows(table: str) -> Harm:
    """Keep the header alone."""

    def change(cells: Cells) -> None:
        del cells[1:]

    return edit(table, change)


def again(table: str, line: int, **changes: str) -> Harm:
    """Add a row once more at the end, with some cells changed."""

    def change(cells: Cells) -> None:
        cells.append([changes.get(name, old) for name, old in zip(cells[0], cells[line - 1], strict=True)])

    return edit(table, change)


def video(change: Callable[[Path], object], *, told: bool = True) -> Harm:
    """Damage one video; `told`: its sha256 in the table is corrected, so that only reading it can tell."""

    def harm(here: Path) -> None:
        change(here / VIDEO)
        if told:
            restamp(here / "small")

    return harm


def restamp(folder: Path) -> None:
    """Write the sha256 of each video into the table."""

    def change(cells: Cells) -> None:
        path, digest = cells[0].index("path"), cells[0].index("sha256")
        for row in cells[1:]:
            row[digest] = sha256_of(folder / row[path])

    edit("recordings", change)(folder.parent)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 7 // 10)


def cut_with_index_in_front(path: Path) -> None:
    """As a download that was broken off: the file says what it should hold."""
    make_video(path, frames=320, width=48, height=48, rate=Fraction(8), fast_start=True)
    cut(path)


def blank_the_middle(path: Path) -> None:
    """As a bad sector: the index is whole, the pictures are not."""
    data = bytearray(path.read_bytes())
    begin, end = len(data) * 3 // 10, len(data) * 7 // 10
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


def sound_only(path: Path) -> None:
    path.unlink()
    make_sound(path)


def link_to(target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return change


def own_task(**fields: str) -> Harm:
    """A task that fits the small data set, with some fields written as the given YAML."""
    fitting = {"name": "own", "window_s": "3", "min_gap_s": "9", "postictal_s": "5"}
    known = {key: json.dumps(value) for key, value in load_task("forecast_5s").model_dump().items()}
    return put("own.yaml", "".join(f"{key}: {value}\n" for key, value in {**known, **fitting, **fields}.items()))


def record(change: Callable[[dict[str, Any]], object]) -> Harm:
    """Change the first record of the run as JSON."""

    def harm(here: Path) -> None:
        path = first_record(here)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return harm


def first_record(here: Path) -> Path:
    return min((here / "run" / "units").glob("*.json"))
