"""The board as files: `board_files(board) -> {name: text}`, written, or compared with what lies in a folder.

leaderboard.md, .csv, .json, .tex     one table a track (benchmark/board/leaderboard.py)
index.html, submissions/NAME.html     the page (benchmark/board/page)

The folder holds nothing else, so that a page of a submission that left is found, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmark.board.entry import Board
from benchmark.board.leaderboard import render_csv, render_json, render_latex, render_markdown
from benchmark.board.page.page import page_files
from benchmark.files import write_atomically
from tasks.errors import BadInput

FORMATS: Mapping[str, tuple[str, Callable[[Board], str]]] = {
    "markdown": ("leaderboard.md", render_markdown),
    "csv": ("leaderboard.csv", render_csv),
    "json": ("leaderboard.json", render_json),
    "latex": ("leaderboard.tex", render_latex),
}


def board_files(board: Board) -> dict[str, str]:
    """Every file of the board, by its place in the folder."""
    return {**{name: render(board) for name, render in FORMATS.values()}, **page_files(board)}


def write_board(board: Board, folder: Path) -> list[Path]:
    """Write what is not there yet as it should be; pages of submissions that left are removed.

    Returns:
        The folder's files, in order.

    Raises:
        BadInput: the folder holds something else.
    """
    files = board_files(board)
    left = [name for name in _present(folder) if name not in files]
    for name in left:
        if not (name.startswith("submissions/") and name.endswith(".html")):
            raise BadInput(f"--out {folder}: holds {name}, which is not of the board; name a folder of its own")
    for name in left:
        (folder / name).unlink()
    for name, text in files.items():
        if _content(folder / name) != text.encode():
            write_atomically(folder / name, text)
    return [folder / name for name in sorted(files)]


def first_difference(board: Board, folder: Path) -> str | None:
    """The first file, by name, that is missing, extra or stale, in words; None where the folder is the board."""
    files = board_files(board)
    for name in sorted({*files, *_present(folder)}):
        if name not in files:
            return f"{folder / name}: extra, the board has no such file"
        content = _content(folder / name)
        if content is None:
            return f"{folder / name}: missing"
        if content != files[name].encode():
            return f"{folder / name}: stale"
    return None


def check_options(submissions: Path, format_: str | None, out: Path | None, check: Path | None) -> None:
    """Refuse what contradicts itself, and a board among its own submissions."""
    given = {"--format": format_, "--out": out, "--check": check}
    named = [flag for flag, value in given.items() if value is not None]
    if len(named) > 1:
        raise BadInput(f"leaderboard: {' and '.join(named)} exclude each other; --out and --check take all formats")
    if out is not None:
        root = submissions.resolve()
        if root in (out.resolve(), *out.resolve().parents, (out / "submissions").resolve()):
            raise BadInput(
                f"--out {out}: the board would lie among the submissions in {submissions}; name another place"
            )


def _present(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
