"""CSV that strangers wrote, as a table: `table_of(data, columns)`.

One expression says what the whole file may look like: so nothing is guessed, quoted or converted, and what is left
for NumPy to read are plain numbers and hashes. Numbers keep their last bit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.submission.documents import Refused, shown


@dataclass(frozen=True)
class Column:
    """`pattern`: what every cell matches in full; `dtype`: NumPy's, S for texts; `what`: the pattern in words."""

    pattern: str
    dtype: str
    what: str


NUMBER = Column(r"[0-9]{1,9}", "i8", "a whole number")
TOKEN = Column(r"[0-9a-f]{16}", "S16", "16 hex digits")
SHA256 = Column(r"[0-9a-f]{64}", "S64", "64 hex digits")
LABEL = Column(r"[01]", "i8", "0 or 1")
SCORE = Column(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,4})?", "f8", "a number in [0, 1]")

EPISODES = {"shots": NUMBER, "episode": NUMBER, "digest": SHA256, "clips": NUMBER, "query": SHA256}
PREDICTIONS = {"shots": NUMBER, "episode": NUMBER, "replicate": NUMBER, "clip": TOKEN, "score": SCORE}


def table_of(data: bytes, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The rows of a CSV file, with these columns in this order; texts as str.

    Raises:
        Refused: the columns are others, a cell is not as its column's pattern, or there is no row.
    """
    header = ",".join(columns).encode()
    first, newline, _ = data[: len(header) + 1].partition(b"\n")
    if first != header or not newline:
        _refuse_header(data, list(columns))
    row = ",".join(f"{column.pattern}" for column in columns.values())
    start = len(header) + 1
    rows = re.compile(rf"(?:{row}\n)*+".encode()).match(data, start)
    if rows is None or rows.end() < len(data):
        _refuse_row(data, rows.end() if rows else start, columns)
    if start == len(data):
        raise Refused("holds no row; write it as `seizure-bench submit` does")
    kinds = np.dtype([(name, column.dtype) for name, column in columns.items()])
    cells = np.loadtxt(_lines(data, start), delimiter=",", dtype=kinds, comments=None, ndmin=1)
    return pd.DataFrame({name: _values(cells[name]) for name in columns})


def line_of(row: int) -> int:
    """The line of the file in which a row (from 0) of the table stands."""
    return row + 2


def _lines(data: bytes, start: int) -> io.BytesIO:
    stream = io.BytesIO(data)
    stream.seek(start)
    return stream


def _values(cells: NDArray[Any]) -> NDArray[Any]:
    if cells.dtype.kind != "S":
        return cells
    known, places = np.unique(np.ascontiguousarray(cells), return_inverse=True)
    return known.astype(str).astype(object)[places]  # one text object for all rows that say the same


def _refuse_header(data: bytes, names: list[str]) -> NoReturn:
    first = data[:1000].split(b"\n", 1)[0]
    found = _text(first, 1).removesuffix("\r").split(",")
    unknown = [name for name in found if name not in names]
    expected = ", ".join(names)
    if unknown and len(found) <= 20:
        raise Refused(f"line 1: unknown column {shown(unknown[0])!r}; its columns are {expected}")
    absent = [name for name in names if name not in found]
    if absent:
        raise Refused(f"line 1: column {absent[0]} is missing; its columns are {expected}")
    raise Refused(f"line 1: its columns are {shown(','.join(found))}; write them as {expected}, lines ending in \\n")


def _refuse_row(data: bytes, at: int, columns: Mapping[str, Column]) -> NoReturn:
    number = data.count(b"\n", 0, at) + 1
    end = data.find(b"\n", at)
    cells = _text(data[at : min(end if end >= 0 else len(data), at + 100_000)], number).split(",")
    if len(cells) != len(columns):
        raise Refused(f"line {number}: has {len(cells)} cells instead of {len(columns)}; write {', '.join(columns)}")
    place = ", ".join(f"{name} {shown(cell)}" for name, cell in zip(columns, cells[:-1], strict=False))
    for (name, column), cell in zip(columns.items(), cells, strict=True):
        if not re.fullmatch(column.pattern, cell):
            raise Refused(f"line {number} ({place}): {name} is {shown(cell)!r}; write {column.what}")
    raise Refused(f"line {number} ({place}): does not end with a line end (\\n); add it")


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"line {number}: is no UTF-8 text; write it as `seizure-bench submit` does") from error
