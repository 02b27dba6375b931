"""`seizure-bench`: parse, call, print. No logic lives here, and nothing heavy is imported before a command needs it.

Exit codes: 0 done, 1 some units failed, 2 bad input.
"""

from __future__ import annotations

import json as json_module
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from benchmark.options import (
    AllowPretrainedOption,
    DataOption,
    DeviceOption,
    DryRunOption,
    EpisodesOption,
    InitOption,
    JsonOption,
    OnsetOption,
    PolicyOption,
    ProtocolOption,
    QuietOption,
    SeedOption,
    SetOption,
    ShotsOption,
    SizeOption,
    SplitOption,
    Stage1Option,
    TaskOption,
    ThreadsOption,
    WeightsOption,
    WindowOption,
)
from tasks.errors import BadInput

app = typer.Typer(
    help="Can a camera alone see a seizure coming? A benchmark of video seizure forecasting.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Make, check, describe and import data sets.", rich_markup_mode=None)
app.add_typer(data_app, name="data")
weights_app = typer.Typer(help="Show and fetch published weights.", rich_markup_mode=None)
app.add_typer(weights_app, name="weights")

INTERRUPTED = 130  # what typer makes of Ctrl-C


@app.command()
def run(
    model: Annotated[str, typer.Option(help="Methods, separated by commas; `list` shows them.")],
    shots: ShotsOption = "2,3,4",
    task: TaskOption = "forecast_5s",
    protocol: ProtocolOption = "patient_disjoint",
    data: DataOption = None,
    window: WindowOption = None,
    onset_type: OnsetOption = None,
    episodes: EpisodesOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; an existing one of the same run is resumed.")] = None,
    size: SizeOption = None,
    init: InitOption = None,
    weights: WeightsOption = None,
    stage1: Stage1Option = None,
    allow_pretrained_patients: AllowPretrainedOption = False,
    set_: SetOption = None,
    seed: SeedOption = 0,
    split: SplitOption = "evaluate",
    policy: PolicyOption = "only-missing",
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run methods, score them, print the table.

    Finished units are never computed twice, unless the method's code or settings changed.
    """
    from benchmark.board.rows import board_rows
    from benchmark.board.table import render
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.run.session import Request, machine_of, open_session, plan_text, run_session, summary

    progress, cache = Progress(quiet), cache_folder()
    request = Request(
        models=_names(model, "--model"),
        shots=_numbers(shots, "--shots"),
        task=task,
        protocol=protocol,
        data=data,
        out=out,
        window_s=window,
        onset_type=onset_type,
        episodes=episodes,
        size=size,
        init=init,
        weights=weights,
        changes=set_ or [],
        seed=seed,
        split=split,
        stage1=stage1,
        allow_pretrained=allow_pretrained_patients,
    )
    session = open_session(request, cache, progress)
    for notice in session.notices:
        progress.say(notice)
    if dry_run:
        return print(plan_text(session, policy, json))
    outcome = run_session(session, machine_of(session, cache, device, threads), policy, progress)
    if json:
        print(summary(session, outcome))
    else:
        print(render(board_rows([session.folder.path]), None, "markdown") if session.folder.any_done() else "")
        print(outcome.in_words(session.folder.path))
    if outcome.failed:
        raise typer.Exit(1)
    return None


@app.command()
def pretrain(
    mix: Annotated[str, typer.Option(help="+H, +R(Y), +R(N), +R(Y/N), +R(Y/N)+H, or a .yaml of your own.")],
    model: Annotated[str, typer.Option(help="A method with a first stage.")] = "xspecies_videomae",
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoint; one of the same training is gone on with.")
    ] = None,
    size: SizeOption = None,
    init: InitOption = None,
    weights: WeightsOption = None,
    set_: SetOption = None,
    seed: SeedOption = 0,
    save_every: Annotated[
        float, typer.Option(min=0, help="Seconds between checkpoints to resume from; 0: after each step.")
    ] = 120.0,
    keep: Annotated[int, typer.Option(min=0, max=1000, help="How many of these stay when all is done.")] = 0,
    pictures: Annotated[
        Literal["public", "all", "none"],
        typer.Option(help="Whose frames are shown rebuilt: rendered and openly licensed video alone, or everybody's."),
    ] = "public",
    track: Annotated[
        Literal["tensorboard", "wandb"] | None, typer.Option(help="Show the loss in TensorBoard or W&B, too.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, max=256, help="Processes that read frames ahead; default: 4 on a GPU.")
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train stage 1 on a mix of clips.

    On many GPUs: torchrun --nproc-per-node 8 -m benchmark.cli pretrain … The same command goes on after a kill.
    """
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.run.execute import Machine, usual_threads
    from benchmark.run.pretraining import PretrainRequest, open_pretraining, plan_text, run_pretraining, summary

    progress, cache = Progress(quiet), cache_folder()
    request = PretrainRequest(
        model=model,
        mix=mix,
        data=data,
        out=out,
        size=size,
        init=init,
        weights=weights,
        changes=set_ or [],
        seed=seed,
        save_every_s=save_every,
        keep=keep,
        pictures=pictures,
        tracker=track,
        workers=workers,
    )
    plan = open_pretraining(request, cache, progress)
    for notice in plan.notices:
        progress.say(notice)
    if dry_run:
        return print(plan_text(plan, json))
    words = run_pretraining(plan, Machine(device, threads or usual_threads(), cache), progress)
    if words:
        print(summary(plan) if json else words)
    return None


@app.command()
def ablate(
    axis: Annotated[
        Literal["mix", "mask-ratio", "head", "pool", "horizon", "init"], typer.Option(help="What to change.")
    ],
    values: Annotated[
        str, typer.Option(help="Its values, separated by commas; default: all (docs/ablations.md).")
    ] = "",
    model: Annotated[str, typer.Option(help="One method; `list` shows them.")] = "xspecies_videomae",
    shots: ShotsOption = "2,3,4",
    task: TaskOption = "forecast_5s",
    protocol: ProtocolOption = "patient_disjoint",
    data: DataOption = None,
    window: WindowOption = None,
    onset_type: OnsetOption = None,
    episodes: EpisodesOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the ablation; one of the same is gone on with.")] = None,
    size: SizeOption = None,
    init: InitOption = None,
    weights: WeightsOption = None,
    stage1: Stage1Option = None,
    allow_pretrained_patients: AllowPretrainedOption = False,
    set_: SetOption = None,
    seed: SeedOption = 0,
    split: SplitOption = "evaluate",
    policy: PolicyOption = "only-missing",
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Change one thing of a method, and nothing else.

    One table and one plot; the same command goes on where it stopped.
    """
    from benchmark.board.ablation import read_results, render_results, write_results
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.run.ablate import ablation_plan, ablation_summary, open_ablation, run_ablation
    from benchmark.run.session import Request, machine_of

    progress, cache = Progress(quiet), cache_folder()
    request = Request(
        models=_names(model, "--model"),
        shots=_numbers(shots, "--shots"),
        task=task,
        protocol=protocol,
        data=data,
        out=out,
        window_s=window,
        onset_type=onset_type,
        episodes=episodes,
        size=size,
        init=init,
        weights=weights,
        changes=set_ or [],
        seed=seed,
        split=split,
        stage1=stage1,
        allow_pretrained=allow_pretrained_patients,
    )
    ablation = open_ablation(axis, _names(values, "--values") if values else [], request, cache, progress)
    for notice in ablation.notices:
        progress.say(notice)
    if dry_run:
        return print(ablation_plan(ablation, policy, json))
    outcome = run_ablation(ablation, machine_of(ablation.points[0].session, cache, device, threads), policy, progress)
    results = read_results(ablation)
    files = write_results(results, ablation.folder)
    if json:
        print(ablation_summary(ablation, outcome, files))
    else:
        print(render_results(results, "markdown") if files else "")
        print(outcome.in_words(ablation.folder))
    if outcome.failed:
        raise typer.Exit(1)
    return None


@app.command()
def consistency(
    model: Annotated[
        str, typer.Option(help="A method with frozen features: linear_probe or zero_shot.")
    ] = "linear_probe",
    data: DataOption = None,
    task: TaskOption = "forecast_5s",
    protocol: ProtocolOption = "patient_disjoint",
    window: WindowOption = None,
    onset_type: OnsetOption = None,
    size: SizeOption = None,
    init: InitOption = None,
    weights: WeightsOption = None,
    stage1: Stage1Option = None,
    allow_pretrained_patients: AllowPretrainedOption = False,
    set_: SetOption = None,
    seed: SeedOption = 0,
    permutations: Annotated[
        int, typer.Option(min=19, max=100_000, help="Relabellings a test; under 200 nothing can stand after Holm.")
    ] = 999,
    out: Annotated[Path | None, typer.Option(help="Also write the report there: .md or .json.")] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask an encoder how alike rodents and humans are.

    CKA, a domain classifier and transfer both ways, with permutation tests over subjects (docs/consistency.md).
    """
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.run.consistency import as_json, as_text, check_out, measure, save
    from benchmark.run.session import Request, machine_of, open_session

    check_out(out)
    progress, cache = Progress(quiet), cache_folder()
    request = Request(
        models=[model],
        shots=(),
        task=task,
        protocol=protocol,
        data=data,
        window_s=window,
        onset_type=onset_type,
        size=size,
        init=init,
        weights=weights,
        changes=set_ or [],
        seed=seed,
        stage1=stage1,
        allow_pretrained=allow_pretrained_patients,
    )
    session = open_session(request, cache, progress)
    for notice in session.notices:
        progress.say(notice)
    report = measure(session, machine_of(session, cache, device, threads), progress, permutations)
    if out is not None:
        save(report, out)
    print(as_json(report) if json else as_text(report), end="")


@app.command("list")
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


@data_app.command("demo")
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


@data_app.command("validate")
def data_validate(data: Annotated[Path, typer.Argument(help="Folder with recordings.tsv.")]) -> None:
    """Check tables, rows and videos.

    Every video is held against its hash and its stated length, rate and size.
    """
    from benchmark.data.describe import validate
    from benchmark.progress import Progress

    print(validate(data, Progress()))


@data_app.command("describe")
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


@data_app.command("import")
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


@weights_app.command("list")
def weights_list(weights: WeightsOption = None, json: JsonOption = False) -> None:
    """Show the published weights.

    Which methods start from them, their licence, and whether they are there, missing or damaged.
    """
    from benchmark.files import cache_folder
    from benchmark.weights.catalogue import weights_folder
    from benchmark.weights.overview import as_json, as_text, overview

    holdings = overview(weights_folder(weights, cache_folder()))
    print(json_module.dumps(as_json(holdings), indent=1) if json else as_text(holdings))


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="As `weights list` shows them.")],
    weights: Annotated[
        Path | None, typer.Option(help="Folder to put them in; default: SEIZURE_BENCH_WEIGHTS, or the cache.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Fetch published weights.

    A broken download goes on where it stopped; a file appears only once its length and hash are right.
    """
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.weights.catalogue import named, weights_folder
    from benchmark.weights.download import fetch

    folder, progress = weights or weights_folder(None, cache_folder()), Progress(quiet)
    for wanted in named(names):
        print(*fetch(wanted, folder, progress), sep="\n")


@app.command()
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


@app.command()
def score(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    json: JsonOption = False,
) -> None:
    """Score runs from their predictions alone.

    Neither the videos nor the models are needed.
    """
    from benchmark.board.rows import board_rows
    from benchmark.board.table import render

    print(render(board_rows(runs), None, "json" if json else "markdown"))


@app.command()
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


@app.command("new-baseline")
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


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2, never a traceback."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="seizure-bench", standalone_mode=False) or 0
        sys.stdout.flush()
    except BadInput as error:
        _refuse(str(error))
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "seizure-bench")
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        _refuse(f"{message}; `{command} --help` shows what it takes")
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes at its end
        sys.exit(1)
    except OSError as error:
        if error.strerror is None:
            raise
        _refuse(f"{error.filename or 'a file'}: {error.strerror}; make room there, or name a place that can be used")
    if code == INTERRUPTED:
        print("interrupted; what is finished is kept, the same command goes on from there", file=sys.stderr)
    sys.exit(code)


def _refuse(sentence: str) -> NoReturn:
    """One line whatever the sentence quotes: names may hold line breaks and terminal codes."""
    line = "".join(c if c.isprintable() else " " for c in sentence)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)


def _names(text: str, flag: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadInput(f"{flag} {text!r}: name at least one; `seizure-bench list` shows them")
    return names


def _numbers(text: str, flag: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[1-9][0-9]{0,5}", part) for part in parts):
        raise BadInput(f"{flag} {text!r}: write whole numbers from 1 on, separated by commas, such as 2,3,4")
    return [int(part) for part in parts]


if __name__ == "__main__":
    main()
