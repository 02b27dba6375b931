"""Commands about the suite itself: list, doctor, new-baseline."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.options import (
    JsonOption,
    QuietOption,
    WeightsOption,
)


def list_(json: JsonOption = False) -> None:
    """Show the methods, tasks and protocols."""
    from benchmark.listing import listing

    content = listing()
    if json:
        return print(json_module.dumps(content, indent=1))
    for what, rows in content.items():
        print(f"{what}:")
        for name, summary in rows.items():
            print(f"  {name:<20} {summary}")
    return None


def doctor(weights: WeightsOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Check this machine.

    Libraries, methods, published weights, devices, decoder and cache; for each fault what to do.
    """
    from benchmark.doctor import as_json, as_text, examine
    from benchmark.progress import Progress

    findings = examine(weights, Progress(quiet))
    print(json_module.dumps(as_json(findings), indent=1) if json else as_text(findings))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def new_baseline(name: Annotated[str, typer.Argument(help="Name of the method, such as my_method.")]) -> None:
    """Write a working adapter for a new method.

    The contract tests pick it up by themselves.
    """
    from benchmark.scaffold import write_adapter

    path = write_adapter(name)
    program, python = Path(sys.argv[0]), Path(sys.executable)
    print(f"{path}\nIt runs as it is. Edit it, run it, and put it to the contract tests:")
    print(f"  {program} run --model {name},chance --shots 2 --episodes 4")
    print(f"  {python} -m pytest tests/contract -k {name}")
