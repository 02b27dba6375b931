"""Commands that compute: run, pretrain, ablate, consistency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
    names_of,
    numbers_of,
)


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
    permute_labels: Annotated[
        bool,
        typer.Option("--permute-labels", help="A control: each episode deals each patient's labels anew."),
    ] = False,
    train_seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Train each unit so often from other seeds; `score` tells the spread.")
    ] = 1,
    policy: PolicyOption = "only-missing",
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the work; default: this one alone (docs/running.md).")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="A worker on each; with --workers as well, so many share them.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Workers on this Ray cluster (HOST:PORT or auto), which you must trust.")
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run methods, score them, print the table.

    Finished units are never computed twice, unless the method's code or settings changed.
    """
    from benchmark.board.control import read_control
    from benchmark.board.rows import board_rows
    from benchmark.board.table import render
    from benchmark.files import cache_folder
    from benchmark.progress import Progress
    from benchmark.run.session import (
        Crew,
        Request,
        crew_doubts,
        crew_words,
        machine_of,
        open_session,
        plan_text,
        refuse_crew,
        run_session,
        summary,
    )

    progress, cache, crew = Progress(quiet), cache_folder(), Crew(workers, gpus, ray_address)
    refuse_crew(crew, device)
    request = Request(
        models=names_of(model, "--model"),
        shots=numbers_of(shots, "--shots"),
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
        permute_labels=permute_labels,
        train_seeds=train_seeds,
    )
    session = open_session(request, cache, progress)
    for notice in session.notices:
        progress.say(notice)
    if dry_run:
        machine = machine_of(session, cache, None, threads, crew, look=False)
        return print(plan_text(session, policy, json, machine))
    machine = machine_of(session, cache, device, threads, crew)
    if not machine.alone:
        progress.say(f"{crew_words(machine)[:1].upper()}{crew_words(machine)[1:]}")
    for doubt in crew_doubts(session, machine):
        progress.say(doubt)
    outcome = run_session(session, machine, policy, progress)
    path = session.folder.path
    if json:
        print(summary(session, outcome))
    else:
        if session.folder.any_done():
            print(f"{read_control(path).text}\n" if permute_labels else render(board_rows([path])))
        print(outcome.in_words(path))
    if outcome.failed:
        raise typer.Exit(1)
    return None


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
        models=names_of(model, "--model"),
        shots=numbers_of(shots, "--shots"),
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
    ablation = open_ablation(axis, names_of(values, "--values") if values else [], request, cache, progress)
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
