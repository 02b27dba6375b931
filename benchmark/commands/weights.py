"""Commands about published weights."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from benchmark.options import (
    JsonOption,
    QuietOption,
    WeightsOption,
)
from tasks.errors import BadInput

app = typer.Typer(help="Show and fetch published weights.", rich_markup_mode=None)


@app.command("list")
def weights_list(weights: WeightsOption = None, json: JsonOption = False) -> None:
    """Show the published weights.

    Which methods start from them, their licence, and whether they are there, missing or damaged.
    """
    from benchmark.files import cache_folder
    from benchmark.weights.catalogue import weights_folder
    from benchmark.weights.overview import as_json, as_text, overview

    holdings = overview(weights_folder(weights, cache_folder()))
    print(json_module.dumps(as_json(holdings), indent=1) if json else as_text(holdings))


@app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="As `weights list` shows them.")],
    weights: Annotated[
        Path | None, typer.Option(help="Folder to put them in; default: SEIZURE_BENCH_WEIGHTS, or the cache.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Fetch published weights, each by itself: one that cannot be had keeps no other from coming.

    A broken download goes on where it stopped; a file appears only once its length and hash are right.
    """
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.weights.catalogue import named, weights_folder
    from benchmark.weights.download import fetch

    folder, progress = weights or weights_folder(None, cache_folder()), Progress(quiet)
    refused: list[BadInput] = []
    for wanted in named(names):
        try:
            print(*fetch(wanted, folder, progress), sep="\n")
        except BadInput as error:
            refused.append(error)
    if refused:
        raise BadInput("\n".join(map(str, refused)))
