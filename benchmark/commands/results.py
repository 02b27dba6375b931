"""Commands that read what was computed: score, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmark.options import (
    JsonOption,
)


def score(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    json: JsonOption = False,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also draw reliability and each patient's figures there.")
    ] = None,
) -> None:
    """Score runs from their predictions alone.

    Neither the videos nor the models are needed. Patients are named: what is printed is for the house.
    """
    from benchmark.board.details import as_json, details
    from benchmark.board.figures import write_plots
    from benchmark.board.rows import board_rows
    from benchmark.board.table import render

    rows = board_rows(runs)
    files = write_plots(runs, plots) if plots else []
    print(
        as_json(rows, files) if json else "\n".join([render(rows, None, "markdown"), details(rows), *map(str, files)])
    )


def leaderboard(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders; default: all under runs/.")] = None,
    format_: Annotated[Literal["markdown", "csv", "json"], typer.Option("--format")] = "markdown",
) -> None:
    """Print the tables of runs, and the paper's.

    The paper's figures stand apart: reported, never ranked with ours.
    """
    from benchmark.board.rows import board_rows, found_rows
    from benchmark.board.table import load_paper, render
    from benchmark.progress import Progress

    rows = board_rows(runs) if runs else found_rows(Path("runs"), Progress().say)
    print(render(rows, load_paper(), format_))
