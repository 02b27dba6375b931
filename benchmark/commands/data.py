"""Commands about data sets."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from benchmark.options import (
    JsonOption,
    OnsetOption,
    ProtocolOption,
    QuietOption,
    TaskOption,
    WindowOption,
)

app = typer.Typer(help="Make, check, describe and import data sets.", rich_markup_mode=None)


@app.command("demo")
def data_demo(
    out: Annotated[Path | None, typer.Option(help="Where to; default: the cache, where `run` looks.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Render the demo set.

    Synthetic video, for plumbing and teaching, never for claims.
    """
    from benchmark.data.demo_cache import ensure_demo
    from benchmark.files import cache_folder
    from benchmark.progress import Progress

    print(ensure_demo(cache_folder(), Progress(quiet), out))


@app.command("validate")
def data_validate(data: Annotated[Path, typer.Argument(help="Folder with recordings.tsv.")]) -> None:
    """Check tables, rows and videos.

    Every video is held against its hash and its stated length, rate and size.
    """
    from benchmark.data.describe import validate
    from benchmark.progress import Progress

    print(validate(data, Progress()))


@app.command("describe")
def data_describe(
    data: Annotated[Path | None, typer.Argument(help="Folder with recordings.tsv; default: the demo set.")] = None,
    task: TaskOption = "forecast_5s",
    protocol: ProtocolOption = "patient_disjoint",
    window: WindowOption = None,
    onset_type: OnsetOption = None,
    json: JsonOption = False,
) -> None:
    """Count a task's windows by rule.

    The rule says why a window is kept or left out.
    """
    from benchmark.data.describe import describe
    from benchmark.progress import Progress

    text, content = describe(data, task, protocol, {"window_s": window, "onset_type": onset_type}, Progress())
    print(json_module.dumps(content, indent=1) if json else text)


@app.command("import")
def data_import(
    kind: Annotated[str, typer.Argument(help="tables, szcore, szcore-clinical or rodepil.")],
    source: Annotated[Path, typer.Argument(help="Folder to read; nothing in it is changed.")],
    out: Annotated[Path, typer.Option(help="New folder for the manifest and the (hard-linked) videos.")],
    quiet: QuietOption = False,
) -> None:
    """Make a manifest of foreign data.

    From tables, from SzCORE-style event TSVs beside videos, or from RodEpil's folders.
    """
    from benchmark.data.importers import import_data
    from benchmark.progress import Progress

    import_data(kind, source, out, Progress(quiet))
    print(out)
