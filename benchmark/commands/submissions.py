"""Commands about submissions: runs made public, and what others made public."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.options import JsonOption, QuietOption
from tasks.errors import BadInput, one_line


def submit(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    method: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Which of its methods; default: all, a folder each.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where submissions lie.")] = Path("submissions"),
    name: Annotated[str | None, typer.Option(help="Name of the folder, for one method.")] = None,
    author: Annotated[list[str] | None, typer.Option(help="May be given several times; default: anonymous.")] = None,
    licence: Annotated[str, typer.Option(metavar="SPDX", help="Of the submission's files.")] = "CC-BY-4.0",
    link: Annotated[list[str] | None, typer.Option(metavar="URL", help="Paper or code; may be given again.")] = None,
    remarks: Annotated[str | None, typer.Option(help="What readers should know.")] = None,
    data_name: Annotated[
        str | None, typer.Option(help="What others may call the data set; default: the run's name for it.")
    ] = None,
    results_card: Annotated[
        bool, typer.Option("--results-card", help="Figures alone, for sites that may not release predictions.")
    ] = False,
    with_labels: Annotated[
        bool, typer.Option("--with-labels", help="Also write the labels, of open (rendered) data only.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The site's secret key; default: in the user's settings.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a run public: a folder a method, without labels, frames or ids.

    Clips go by keyed hashes; the key stays in the house (docs/submitting.md).
    """
    from benchmark.submission.finished import methods_of
    from benchmark.submission.outcome import as_json, as_text
    from benchmark.submission.submit import About, submit_run

    about = About(tuple(author or ["anonymous"]), licence, tuple(link or ()), remarks, data_name, name)
    outcome = submit_run(
        run,
        out,
        about,
        methods=None if method is None else methods_of(method),
        results_only=results_card,
        with_labels=with_labels,
        key=key,
    )
    print(as_json(outcome) if json else as_text(outcome))


def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Submissions, or a folder that holds several.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Labels of open data; default: references/ beside them.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="RUN", help="A run in the house whose labels to use.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The site's secret key; default: in the user's settings.")
    ] = None,
    reproduced_by: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Your own run of the same method: are its scores the same?")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="How far scores may lie apart with --reproduced-by.")
    ] = 1e-6,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of submissions alone.")] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check submissions: schema, hashes, completeness, scores.

    With labels at hand figures are scored again and compared. Exit code 2: something is wrong, 1: not reproduced.
    """
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.submission.inspection import as_json, as_text, inspect, key_for
    from benchmark.submission.reference import reference_of_run
    from benchmark.submission.reproduce import reproduction
    from benchmark.submission.schema import schema_text

    if schema == bool(paths):
        raise BadInput("verify: name submissions to check, or give --schema and none; one of the two")
    if schema:
        return print(schema_text(), end="")
    at_hand = None if labels is None else reference_of_run(labels, key_for(labels, key))
    found = inspect(paths or [], references, at_hand, cache_folder(), Progress(quiet))
    sound = [one.verified for one in found.seen if one.verified is not None]
    outcome = None
    if reproduced_by is not None and not found.faults:
        if len(sound) != 1:
            raise BadInput(f"--reproduced-by {reproduced_by}: {len(sound)} submissions are named; name one")
        outcome = reproduction(sound[0], reproduced_by, key_for(reproduced_by, key), tolerance)
    if text := as_json(found, outcome) if json else as_text(found, outcome):
        print(text)
    for fault in found.faults:
        print(f"error: {one_line(fault)}", file=sys.stderr)
    if found.faults or (outcome and not outcome.holds):
        raise typer.Exit(2 if found.faults else 1)
