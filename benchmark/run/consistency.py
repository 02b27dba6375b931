"""`seizure-bench consistency`: how alike are rodent and human pre-ictal dynamics to a given encoder?

    session (data, task, a method that `Embeds`) -> clips of both species by condition -> features, each computed once
    -> `benchmark.score.consistency` -> a Report: table, words, JSON

Rodent is every species but human. Its clips are of two kinds, never mixed in one figure: the windows of stage 1
(seizure, normal), and windows labelled by the task's own rule, where the onset inside a recording is known. What each
figure means, and when not to believe it, is in docs/consistency.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from tabulate import tabulate

from benchmark.baseline import Described, Embeds, Pretrains
from benchmark.data.clips import Clips, clip_ref
from benchmark.data.dataset import TaskData
from benchmark.data.frames import Request, Sampling
from benchmark.data.manifest import check_videos
from benchmark.data.stage1 import most_left_out, stage1_windows
from benchmark.files import write_atomically
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, Prepared, prepare
from benchmark.run.plan import Method
from benchmark.run.session import Session
from benchmark.run.units import SCHEMA, DataCard, Frozen
from benchmark.score import consistency as score
from benchmark.score.consistency import Alike, Figure, Group, Likeness, Rule, Sides
from benchmark.score.multiple import holm
from protocols.spec import ProtocolSpec
from tasks.errors import BadInput
from tasks.spec import TaskSpec
from tasks.windows import kept, label_windows

HUMAN = "human"
Notes = dict[str, int]  # reasons, numbered as they first come
RULES: tuple[Rule, ...] = ("prototype", "linear")
ALPHA = 0.05
RENDERED = "Rendered data: no figure below says anything about patients or animals."
RANDOM_INIT = (
    "This encoder started from random weights (random-init): no figure below says anything about a published encoder, "
    "nor about patients or animals."
)
HOW = (
    "CKA: cosine of the two species' feature covariances, of all variation and of what varies within a subject. A: "
    "proxy A-distance, 0 (species not told apart) to 2 (always). AUC: a rule learnt on one species ranks the other's "
    "clips; [95% over the target's subjects; \\*: fewer than 8, so over its clips]. Null: 95% of the relabellings. "
    "p of CKA: less alike than random groups of these subjects; of A: told apart better than such groups; of AUC: "
    "two-sided. Holm: p adjusted over the tests of likeness, and over those of transfer. No evidence of a difference "
    "is no evidence of likeness."
)
HEADERS = (
    *("compared", "figure", "rodent: clips (subjects)", "human: clips (subjects)", "value"),
    *("null 95%", "p (smallest possible)", "Holm", "to judge it by"),
)


class EncoderCard(Frozen):
    """Which encoder was asked."""

    method: str
    settings: dict[str, Any]
    size: str
    init: str
    published: str = Field(description="name of the published weights, `-` for none")
    stage1: str = Field(description="which first stage the encoder had, or none")
    card: dict[str, str] = Field(description="what the method says of itself: pooling, sha256 of its weights")
    features: int = Field(description="D")


class Comparison(Frozen):
    """Both species in one condition."""

    name: str
    sides: Sides
    alike: Alike


class Transfer(Frozen):
    """One rule from one species to the other."""

    name: str
    rule: Rule
    sides: Sides
    figure: Figure


class Report(Frozen):
    """All that was found, and from what."""

    schema_version: int = SCHEMA
    encoder: EncoderCard
    task: TaskSpec
    protocol: ProtocolSpec
    data: DataCard
    species: tuple[str, ...] = Field(description="those taken as rodents")
    seed: int
    permutations: int
    seen: str = Field(description="which frames of a clip the encoder looks at")
    warnings: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    transfers: tuple[Transfer, ...]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Windows of one species and condition: rows with clip_id, recording_id, subject_id, start_s, end_s."""

    name: str
    rows: Sequence[dict[Any, Any]]


@dataclass(frozen=True)
class Kinds:
    """Every set of clips that is compared; the last four by the task's rule, whose positives are called `positive`."""

    positive: str
    rodent_normal: Kind
    rodent_seizure: Kind
    rodent_positive: Kind
    rodent_negative: Kind
    human_positive: Kind
    human_negative: Kind

    @property
    def all(self) -> tuple[Kind, ...]:
        """The six sets."""
        return tuple(kind for kind in vars(self).values() if isinstance(kind, Kind))


def measure(session: Session, machine: Machine, progress: Progress, permutations: int = score.PERMUTATIONS) -> Report:
    """Compute the features that are not in the store yet, then every figure.

    Raises:
        BadInput: the method has no frozen features, the task is not about humans, there is no other species, or
            anything in the data is wrong.
    """
    (method,), data = session.methods, session.data
    if not all(hasattr(method.adapter, name) for name in ("embed", "embedding_key")):
        raise BadInput(
            f"--model {method.name}: it keeps no frozen features to compare; use linear_probe (before stage 1) or "
            "zero_shot (after it)"
        )
    if data.task.species != HUMAN:
        raise BadInput(f"--task {data.task.name}: it is about {data.task.species}; consistency needs a task of humans")
    kinds = kinds_of(data)
    ready = prepare(method, data, machine, progress, Outcome())
    vectors = _features(ready, kinds, data, machine, progress)
    groups = {kind.name: _group(kind, vectors) for kind in kinds.all}
    comparisons = _comparisons(kinds, groups, permutations, data.seed, progress)
    sampling = ready.baseline.input.sampling if ready.baseline.input else None
    return Report(
        encoder=_encoder(method, ready, len(next(iter(vectors.values())))),
        task=data.task,
        protocol=data.protocol,
        data=session.card.data,
        species=tuple(sorted({str(row["species"]) for row in [*kinds.rodent_normal.rows, *kinds.rodent_seizure.rows]})),
        seed=data.seed,
        permutations=permutations,
        seen=_seen(sampling) if sampling else "-",
        warnings=_warnings(session, method, ready),
        comparisons=comparisons,
        transfers=_transfers(kinds, groups, permutations, data.seed),
        provenance=ready.stamp,
    )


def check_out(out: Path | None) -> None:
    """Refuse, before anything is computed, an --out of no known kind."""
    if out is not None and out.suffix not in (".json", ".md"):
        raise BadInput(f"--out {out}: name a file that ends in .json or .md")


def save(report: Report, out: Path) -> None:
    """Write a report in one step, as JSON or Markdown by the file's ending."""
    check_out(out)
    write_atomically(out, as_json(report) if out.suffix == ".json" else as_text(report))


def as_json(report: Report) -> str:
    """The whole report, with what may be concluded."""
    return json.dumps({**report.model_dump(mode="json"), "conclusions": conclusions(report)}, indent=1) + "\n"


def kinds_of(data: TaskData) -> Kinds:
    """The clips of both species by condition; recordings of `develop` stay out.

    Raises:
        BadInput: no recording of another species gives a window.
    """
    manifest, task = data.manifest, data.task
    animals = manifest.recordings[
        (manifest.recordings["species"] != HUMAN) & (manifest.recordings["split"] != "develop")
    ]
    windows = stage1_windows(replace(manifest, recordings=animals.assign(split="pretrain")))
    if not windows:
        raise BadInput(
            f"{manifest.root}: holds no watched recording of another species than human; consistency compares rodents "
            "with humans: add their recordings to recordings.tsv"
        )
    as_humans = animals.assign(species=task.species, split="evaluate")
    ruled = kept(label_windows(as_humans, manifest.events, manifest.annotated_intervals, task)).to_dict("records")
    seizures = manifest.events[manifest.events["event_type"].str.startswith("sz")]
    pool = data.pool.to_dict("records")
    positive = "pre-ictal" if task.kind == "forecast" else "ictal"
    return Kinds(
        positive,
        Kind("rodent normal", [w for w in windows if not w["seizure"] and _far(w, seizures, task.min_gap_s)]),
        Kind("rodent seizure", [w for w in windows if w["seizure"]]),
        Kind(f"rodent {positive}", [row for row in ruled if row["label"] == 1]),
        Kind("rodent inter-ictal", [row for row in ruled if row["label"] == 0]),
        Kind(f"human {positive}", [row for row in pool if row["label"] == 1]),
        Kind("human inter-ictal", [row for row in pool if row["label"] == 0]),
    )


def _far(window: dict[Any, Any], seizures: pd.DataFrame, gap_s: float) -> bool:
    """Whether a window keeps the task's gap to every seizure of its recording: post-ictal time is not normal."""
    own = seizures[seizures["recording_id"] == window["recording_id"]]
    after, before = own["onset_s"] - window["end_s"], window["start_s"] - own["onset_s"] - own["duration_s"]
    return bool(np.maximum(after, before).ge(gap_s).all())


def _features(
    ready: Prepared, kinds: Kinds, data: TaskData, machine: Machine, progress: Progress
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Feature by clip id; a rodent clip that cannot be decoded is left out and named, as in stage 1."""
    baseline = ready.baseline
    assert baseline.input is not None
    assert isinstance(baseline, Embeds)
    sampling, recordings = baseline.input.sampling, data.manifest.recordings.set_index("recording_id", drop=False)
    rows = {row["clip_id"]: row for kind in kinds.all for row in kind.rows}
    refs = {
        clip: clip_ref(row, recordings.loc[row["recording_id"]].to_dict(), data.manifest.path_of(row["recording_id"]))
        for clip, row in sorted(rows.items())
    }
    lost: dict[str, str] = {}
    clip_of = {ref.request: clip for clip, ref in refs.items()}

    def leave_out(request: Request, reason: str) -> None:
        lost[clip_of[request]] = reason
        if len(lost) > most_left_out(len(refs)):
            raise BadInput(
                f"{request.path}: cannot be decoded ({reason}), nor can {len(lost) - 1} other clips; that is more than "
                "single files: check disk and download, and import the videos again"
            )

    check_videos(data.manifest, {r["recording_id"] for r in rows.values()}, data.cache / "sha256.json", progress)
    with progress.track("decoding clips", len(refs)) as advance:
        frames, tell = data.stores.frames, lambda done, _: advance(done)
        frames.ensure(clip_of, sampling, workers=machine.threads, progress=tell, leave_out=leave_out)
    for clip, reason in sorted(lost.items()):
        progress.say(f"left out, unreadable: {clip} ({reason})")
    found = {}
    with progress.track("features", len(refs)) as advance:
        for done, (clip, ref) in enumerate(refs.items(), 1):
            if clip not in lost:
                vector = Clips((ref,), sampling, data.stores).embeddings(baseline)[0]
                if not np.isfinite(vector).all():
                    raise BadInput(f"clip {clip}: its features are not finite numbers; check the encoder's weights")
                found[clip] = vector
            advance(done)
    return found


def _group(kind: Kind, vectors: dict[str, Any]) -> Group:
    rows = [row for row in kind.rows if row["clip_id"] in vectors]
    width = len(next(iter(vectors.values())))
    features = np.array([vectors[row["clip_id"]] for row in rows], dtype=np.float64).reshape(-1, width)
    return Group(kind.name, [r["clip_id"] for r in rows], [r["subject_id"] for r in rows], features)


def _comparisons(
    kinds: Kinds, groups: dict[str, Group], permutations: int, seed: int, progress: Progress
) -> tuple[Comparison, ...]:
    pairs = (
        ("normal", kinds.rodent_normal, kinds.human_negative),
        (f"{kinds.positive}, by the same rule", kinds.rodent_positive, kinds.human_positive),
        (f"rodent seizure, human {kinds.positive}", kinds.rodent_seizure, kinds.human_positive),
    )
    found = []
    for name, rodent, human in pairs:
        x, y = groups[rodent.name], groups[human.name]
        with progress.track(f"relabellings: {name}", permutations) as advance:
            alike = score.alike(x, y, permutations=permutations, seed=seed, progress=advance)
        found.append(Comparison(name=name, sides=score.sides_of(x, y), alike=alike))
    return tuple(found)


def _transfers(kinds: Kinds, groups: dict[str, Group], permutations: int, seed: int) -> tuple[Transfer, ...]:
    human = _labelled(groups[kinds.human_positive.name], groups[kinds.human_negative.name])
    found = []
    for positive, negative in (
        (kinds.rodent_seizure, kinds.rodent_normal),
        (kinds.rodent_positive, kinds.rodent_negative),
    ):
        rodent = _labelled(groups[positive.name], groups[negative.name])
        for source, target in ((rodent, human), (human, rodent)):
            for rule in RULES:
                figure = score.transfer(source, target, rule, permutations=permutations, seed=seed)
                name, sides = f"{source.name} → {target.name}", score.sides_of(rodent, human)
                found.append(Transfer(name=name, rule=rule, sides=sides, figure=figure))
    return tuple(found)


def _labelled(positive: Group, negative: Group) -> Group:
    return Group(
        f"{positive.name} against {negative.name.split()[-1]}",
        [*positive.clips, *negative.clips],
        [*positive.subjects, *negative.subjects],
        np.concatenate([positive.features, negative.features]),
        np.repeat([1, 0], [len(positive.clips), len(negative.clips)]),
    )


def _encoder(method: Method, ready: Prepared, width: int) -> EncoderCard:
    baseline, network = ready.baseline, bool(method.adapter.inits)
    stage1 = "none"
    if method.stage1:
        made = method.stage1.card
        stage1 = f"given: mix {made.settings.get('mix', '?')}, seed {made.seed}, weights {made.weights[:12]}"
    elif isinstance(baseline, Pretrains) and baseline.mix != "base":
        stage1 = f"mix {baseline.mix}, on these data's own recordings for pre-training"
    return EncoderCard(
        method=method.name,
        settings=method.settings.model_dump(mode="json"),
        size=method.scale.size if network else "-",
        init=("random-init" if method.scale.init == "random" else method.scale.init) if network else "-",
        published=method.published,
        stage1=stage1,
        card=baseline.card() if isinstance(baseline, Described) else {},
        features=width,
    )


def _seen(sampling: Sampling) -> str:
    """In words, which part of a window is looked at: windows of the two species differ in length."""
    if sampling.place in ("uniform", "several") or sampling.frames is None:
        return (
            f"frames of {sampling.size} px spread over the whole window: windows of other lengths are seen at another "
            "pace or through other spans, so that part of any difference may be this"
        )
    span = sampling.frames * sampling.spacing_s
    where = "the last" if sampling.place == "last" else "the middle"
    return (
        f"{sampling.frames} frames of {sampling.size} px, {sampling.spacing_s:.3f} s apart by the clock: {where} "
        f"{span:.2f} s of each window, the same span in both species whatever the window's length and frame rate"
    )


def _warnings(session: Session, method: Method, ready: Prepared) -> tuple[str, ...]:
    patients = ready.checks.get("pretrained_patients", 0)
    return (
        *([RENDERED] if session.card.data.rendered else []),
        *([RANDOM_INIT] if method.adapter.inits and method.scale.init == "random" else []),
        *([f"{patients} of the patients here were in stage 1."] if patients else []),
    )


def as_text(report: Report) -> str:
    """Encoder, warnings, the table, what may be concluded and what cannot be said, as Markdown."""
    encoder, data = report.encoder, report.data
    own = "".join(f", {key} {value}" for key, value in encoder.card.items())
    notes: Notes = {}
    body = [*_rows_of_comparisons(report, notes), *_rows_of_transfers(report, notes)]
    capped = "; ".join(f"{c.name}: {c.alike.used}" for c in report.comparisons if c.alike.used)
    parts = [
        f"### {report.task.name}, {report.protocol.name}: {data.name}{' (rendered)' if data.rendered else ''}, "
        f"{', '.join(report.species)} beside human",
        *report.warnings,
        f"Encoder: {encoder.method}, size {encoder.size}, {encoder.init}, published weights {encoder.published}, "
        f"stage 1 {encoder.stage1}{own}; {encoder.features} features a clip. It sees {report.seen}.",
        tabulate(body, headers=HEADERS, tablefmt="pipe", disable_numparse=True),
        f"{HOW} CKA and A take at most so many clips of a subject ({capped or 'none'}), drawn by seed {report.seed}.",
        *(f"({number}) Cannot be said: {reason}." for reason, number in notes.items()),
        "What may be concluded:",
        "\n".join(f"- {line}" for line in conclusions(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _rows_of_comparisons(report: Report, notes: Notes) -> list[list[str]]:
    body = []
    adjusted = iter(_adjusted_likeness(report))
    for comparison in report.comparisons:
        alike, counts = comparison.alike, _counts(comparison.sides)
        body.append(
            [comparison.name, "CKA, all", *counts, *_cells(alike.whole.cka, None, notes), _judge(alike.whole, notes)]
        )
        within = _cells(alike.within.cka, next(adjusted), notes)
        body.append([comparison.name, "CKA, within subjects", *counts, *within, _judge(alike.within, notes)])
        body.append([comparison.name, "A", *counts, *_cells(alike.a_distance, next(adjusted), notes), "0 to 2"])
    return body


def _rows_of_transfers(report: Report, notes: Notes) -> list[list[str]]:
    adjusted = holm([transfer.figure.p for transfer in report.transfers])
    return [
        [t.name, f"AUC, {t.rule}", *_counts(t.sides), *_cells(t.figure, p, notes), "0.5"]
        for t, p in zip(report.transfers, adjusted, strict=True)
    ]


def _adjusted_likeness(report: Report) -> list[float | None]:
    return holm([f.p for c in report.comparisons for f in (c.alike.within.cka, c.alike.a_distance)])


def _counts(sides: Sides) -> tuple[str, str]:
    return f"{sides.rodent_clips} ({sides.rodent_subjects})", f"{sides.human_clips} ({sides.human_subjects})"


def _cells(figure: Figure, adjusted: float | None, notes: Notes) -> list[str]:
    if figure.value is None:
        return [f"cannot be said {_mark(figure, notes)}", "-", "-", "-"]
    value = f"{figure.value:.3f}"
    if figure.low is not None and figure.high is not None:
        value += f" [{figure.low:.2f}, {figure.high:.2f}]" + (r" \*" if "clips" in (figure.resampled or "") else "")
    if figure.p is None or figure.null_low is None or figure.null_high is None:
        return [value, "-", _mark(figure, notes) if figure.unsaid else "-", "-"]
    p = f"{figure.p:.3f} ({figure.smallest_p:.3f})"
    return [
        value,
        f"{figure.null_low:.2f} to {figure.null_high:.2f}",
        p,
        "-" if adjusted is None else f"{adjusted:.3f}",
    ]


def _mark(figure: Figure, notes: Notes) -> str:
    return f"({notes.setdefault(figure.unsaid or '', len(notes) + 1)})"


def _judge(likeness: Likeness, notes: Notes) -> str:
    if likeness.cka.value is None:
        return "-"

    def one(figure: Figure) -> str:
        return _mark(figure, notes) if figure.value is None else f"{figure.value:.3f}"

    return (
        f"halves of rodents {one(likeness.ceiling_rodent)}, of humans {one(likeness.ceiling_human)}; corrected by them "
        f"{one(likeness.corrected)}; random orientation {one(likeness.floor)}"
    )


def conclusions(report: Report) -> list[str]:
    """In words, each test at 5% after Holm."""
    adjusted = iter(_adjusted_likeness(report))
    likeness = [p for c in report.comparisons for p in (c.alike.within.cka.p, c.alike.a_distance.p)]
    tests = sum(p is not None for p in likeness)
    lines = []
    for comparison in report.comparisons:
        cka, distance = comparison.alike.within.cka, comparison.alike.a_distance
        on_cka = _on_cka(cka, next(adjusted), tests)
        lines.append(f"{comparison.name}: {on_cka}; {_on_distance(distance, next(adjusted), tests)}.")
    ps = holm([transfer.figure.p for transfer in report.transfers])
    tests = sum(p is not None for p in ps)
    lines += [
        f"{t.name}, {t.rule}: {_on_transfer(t.figure, p, tests)}." for t, p in zip(report.transfers, ps, strict=True)
    ]
    return lines


def _on_cka(figure: Figure, p: float | None, tests: int) -> str:
    if p is None:
        return "whether they vary alike within subjects cannot be said"
    if p <= ALPHA:
        return "within subjects the species vary along different directions"
    return f"no evidence that they vary along different directions within subjects{_powerless(figure, tests)}"


def _on_distance(figure: Figure, p: float | None, tests: int) -> str:
    if p is None:
        return "whether they can be told apart cannot be said"
    if p <= ALPHA:
        return "they can be told apart, by body, room and camera as well as by dynamics, which this cannot separate"
    return f"no evidence that they can be told apart{_powerless(figure, tests)}"


def _on_transfer(figure: Figure, p: float | None, tests: int) -> str:
    if figure.value is None:
        return "cannot be said"
    if p is None:
        return "an AUC without a test"
    if p > ALPHA:
        return f"no evidence of transfer{_powerless(figure, tests)}"
    low, high = figure.null_low or 0.0, figure.null_high or 1.0
    if figure.value > (low + high) / 2:
        return "ranks positive clips above negative ones of the same subject more often than chance"
    return "ranks positive clips below negative ones of the same subject: what it learnt points the wrong way"


def _powerless(figure: Figure, tests: int) -> str:
    """What a p above 5% does not mean where, after Holm over so many tests, a strong one could not lie below."""
    if figure.smallest_p is None or figure.smallest_p * tests <= ALPHA:
        return ""
    why = f"with so few subjects or relabellings p cannot fall below {figure.smallest_p:.2g}"
    return f" (nor could there be: {why}, {min(1.0, figure.smallest_p * tests):.2g} after Holm)"
