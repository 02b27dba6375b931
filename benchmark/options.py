"""The options that several commands share, each said once; `benchmark/cli.py` puts them together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from tasks.errors import BadInput

MAX_SEED = 2**63 - 1  # the largest that torch takes

DataOption = Annotated[Path | None, typer.Option(help="Folder with recordings.tsv; default: the rendered demo set.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
WeightsOption = Annotated[
    Path | None, typer.Option(help="Folder of published checkpoints; default: SEIZURE_BENCH_WEIGHTS, or the cache.")
]
SizeOption = Annotated[
    Literal["tiny", "base"] | None,
    typer.Option(help="Default: base where weights are given, else tiny; tiny on the demo."),
]
InitOption = Annotated[Literal["random", "k400-ssl", "k400", "imagenet"] | None, typer.Option(help="Initial weights.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="key=value or method.key=value.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu or cuda; default: cuda where there is one.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPU threads of a unit; default: up to 4, as cores allow.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, compute nothing.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
TaskOption = Annotated[str, typer.Option(help="A shipped task, or a path to a .yaml of your own.")]
ProtocolOption = Annotated[str, typer.Option(help="A shipped protocol, or a path to a .yaml of your own.")]
OnsetOption = Annotated[
    Literal["clinical", "eeg"] | None, typer.Option(help="Which onsets count; default: the task's (clinical).")
]
WindowOption = Annotated[float | None, typer.Option(min=3, max=10, help="Length of the windows in seconds.")]
ShotsOption = Annotated[str, typer.Option(help="Clips a class in the support, separated by commas.")]
EpisodesOption = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="Episodes a shot; default: the protocol's.")
]
Stage1Option = Annotated[
    Path | None, typer.Option(help="Checkpoint of `pretrain`; default: stage 1 as the settings say, by the cache.")
]
AllowPretrainedOption = Annotated[
    bool, typer.Option("--allow-pretrained-patients", help="Test on patients of stage 1; the result says so.")
]
SeedOption = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of whatever is drawn or trained.")]
SplitOption = Annotated[
    Literal["evaluate", "develop"],
    typer.Option(help="Whose recordings: develop is for choosing settings, never for a result."),
]
PolicyOption = Annotated[
    Literal["only-missing", "always", "never"],
    typer.Option(help="only-missing: also those that other code or settings made; always: all; never: none."),
]


def names_of(text: str, flag: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadInput(f"{flag} {text!r}: name at least one; `seizure-bench list` shows them")
    return names


def numbers_of(text: str, flag: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[1-9][0-9]{0,5}", part) for part in parts):
        raise BadInput(f"{flag} {text!r}: write whole numbers from 1 on, separated by commas, such as 2,3,4")
    return [int(part) for part in parts]
