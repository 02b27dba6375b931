"""Commands that read what was computed, and the data under it: score, compare, audit, leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmark.options import (
    JsonOption,
    OnsetOption,
    ProtocolOption,
    QuietOption,
    SeedOption,
    SplitOption,
    TaskOption,
    WindowOption,
)
from tasks.errors import BadInput


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
    from benchmark.board.control import control_of
    from benchmark.board.details import as_json, details
    from benchmark.board.figures import write_plots
    from benchmark.board.rows import board_rows
    from benchmark.board.table import render

    if control := control_of(runs, plots):
        return print(control.to_json if json else control.text)
    rows = board_rows(runs)
    files = write_plots(runs, plots) if plots else []
    text = "\n".join([render(rows), details(rows), *map(str, files)])
    return print(as_json(rows, files) if json else text)


def compare(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders, on the same data, task and episodes.")] = None,
    metric: Annotated[
        Literal["roc_auc", "balanced_accuracy", "brier", "pr_auc"], typer.Option(help="Which figure is compared.")
    ] = "roc_auc",
    against: Annotated[str | None, typer.Option(help="Compare all methods with this one; default: every pair.")] = None,
    difference: Annotated[
        float, typer.Option(min=0.001, max=1, help="Tell how many patients a difference of this size needs.")
    ] = 0.05,
    out: Annotated[Path | None, typer.Option(help="Also write the report there: .md or .json.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw methods and what joins them: .png or .svg.")] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Instead of runs: what the paper's figures and 40 clips allow to be said.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Test methods against each other on the same episodes.

    An exact paired test over patients, Holm over all pairs, and what so many patients can show (docs/statistics.md).
    """
    from benchmark.board.comparison import compare as compared
    from benchmark.board.comparison_text import as_json, as_text, check_outputs, save
    from benchmark.board.entrants import read_meeting
    from benchmark.board.published import paper_page

    if paper == bool(runs):
        raise BadInput("compare: name the run folders to compare, or give --paper and no run; one of the two")
    if paper:
        if json or out or plot or against:
            raise BadInput("compare --paper: prints docs/paper.md and takes no other option; leave the others out")
        return print(paper_page(), end="")
    check_outputs(out, plot)
    report = compared(read_meeting(runs or []), metric, against, difference)
    save(report, out, plot)
    return print(as_json(report) if json else as_text(report), end="")


def audit(
    context: typer.Context,
    data: Annotated[Path | None, typer.Argument(help="Folder with recordings.tsv; default: the demo set.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run on these data: its task, protocol, seed and split.")] = None,
    task: TaskOption = "forecast_5s",
    protocol: ProtocolOption = "patient_disjoint",
    window: WindowOption = None,
    onset_type: OnsetOption = None,
    seed: SeedOption = 0,
    split: SplitOption = "evaluate",
    permutations: Annotated[int, typer.Option(min=180, max=100_000, help="Rearrangements of the labels a cue.")] = 999,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Look for leaks and shortcuts.

    In tables, in videos, in cues that tell the label, and with --run in a run (docs/audit.md). Exit code 1: found some.
    """
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.run.auditing import AuditRequest
    from benchmark.run.auditing import audit as audited

    _refuse_given(context, run, ("task", "protocol", "window", "onset_type", "seed", "split"))
    request = AuditRequest(data, run, task, protocol, window, onset_type, seed, split, permutations)
    found = audited(request, cache_folder(), Progress(quiet))
    print(found.to_json if json else found.text)
    if found.findings:
        raise typer.Exit(1)


def _refuse_given(context: typer.Context, run: Path | None, names: Sequence[str]) -> None:
    """Raise BadInput for an option that was typed although the run has its own."""
    sources = {name: context.get_parameter_source(name) for name in names}
    typed = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if run is not None and typed:
        flag = f"--{typed[0].replace('_', '-')}"
        raise BadInput(f"{flag} with --run {run}: the run's own counts; leave {flag} out, or leave --run out")


def leaderboard(
    submissions: Annotated[Path, typer.Argument(help="The folder with one folder a submission.")] = Path("submissions"),
    format_: Annotated[
        Literal["markdown", "csv", "json", "latex"] | None, typer.Option("--format", help="Default: markdown.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write all formats and the page there instead of printing one.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Compare that folder with what --out would write; 1: it is stale."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Make the board of all submissions.

    One table for each task, protocol, data set and onset type. The tables of local runs are `seizure-bench score RUN`.
    """
    import gc

    from benchmark.board import publish
    from benchmark.board.submitted import build_board
    from benchmark.files import cache_folder
    from benchmark.progress import Progress

    publish.check_options(submissions, format_, out, check)
    gc.set_threshold(100_000, 50, 50)  # nearly all that a board is made of is kept: looking for garbage is a tenth
    board = build_board(submissions, cache_folder(), Progress(quiet))
    if out is not None:
        print("\n".join(map(str, publish.write_board(board, out))))
    elif check is None:
        print(publish.FORMATS[format_ or "markdown"][1](board), end="")
    elif stale := publish.first_difference(board, check):
        print(f"{stale}; `seizure-bench leaderboard {submissions} --out {check}` renews it")
        raise typer.Exit(1)
    else:
        print(f"{check} is the board of {submissions}")
