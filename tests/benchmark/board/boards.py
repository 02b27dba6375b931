"""Boards made by hand: a rendered demo track, a site's results cards, a paper's table, hostile texts, 1,000 rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from benchmark.board.entry import Bin, Board, Entry, Figure, Plots, Ranked, TrackBoard
from benchmark.score.metrics import METRICS, Metric
from benchmark.submission.card import (
    Card,
    Compute,
    Data,
    Environment,
    Hashes,
    Method,
    Pretraining,
    ReportedCard,
    ReportedTrack,
    Status,
    Track,
)
from protocols.spec import load_protocol
from tasks.spec import load_task

SHOTS = (2, 3, 4)
TEXT = """<script>document.title='OWNED'</script>"'><img src=x onerror="document.title='OWNED'"> {{ 7*7 }} </style>"""
LINK = "https://example.org/a?b=1&c=%3Cscript%3E"

# method, baseline, init, size, kind, then value, low and high of ROC-AUC, balanced accuracy, PR-AUC and Brier
DEMO = """
motion_features  |motion_features  |-     |-   |method |.807 .63 .91 .715 .59 .81 .845 .70 .93 .192 .15 .24
probe_first_frame|linear_probe     |random|tiny|trivial|.515 .45 .58 .528 .48 .57 .528 .47 .59 .281 .26 .31
linear_probe     |linear_probe     |random|tiny|method |.510 .45 .57 .493 .46 .53 .535 .47 .60 .281 .25 .31
csn              |csn              |random|tiny|method |.505 .47 .54 .514 .48 .55 .515 .47 .56 .255 .25 .26
zero_shot        |zero_shot        |random|tiny|method |.502 .49 .51 .505 .49 .52 .532 .50 .56 .251 .25 .25
slowfast         |slowfast         |random|tiny|method |.490 .46 .52 .514 .48 .54 .517 .48 .56 .257 .25 .26
human_only       |human_only       |random|tiny|method |.476 .42 .53 .479 .45 .51 .497 .45 .55 .258 .25 .26
motion_energy    |motion_energy    |-     |-   |trivial|.464 .35 .58 .479 .39 .57 .486 .39 .59 .254 .24 .27
xspecies_videomae|xspecies_videomae|random|tiny|method |.461 .40 .53 .479 .45 .51 .492 .45 .54 .259 .25 .26
clip_metadata    |clip_metadata    |-     |-   |trivial|.455 .39 .52 .486 .44 .53 .488 .43 .55 .257 .25 .26
zero_shot(head=rodent-prototype)|zero_shot|random|tiny|method |.406 .29 .53 .479 .40 .56 .459 .36 .56 .250 .25 .25
chance           |chance           |-     |-   |trivial|.507 .45 .56 .508 .47 .55 .553 .51 .60 .327 .30 .35
"""
METRICS_OF_DEMO: tuple[Metric, ...] = ("roc_auc", "balanced_accuracy", "pr_auc", "brier")


def board() -> Board:
    """All three kinds of tracks."""
    return Board((demo_track(), site_track(), paper_track()))


def demo_track() -> TrackBoard:
    """Twelve methods on rendered video, re-scored; the first is told apart, the last reproduced."""
    card = track(rendered=True)
    rows = []
    for at, line in enumerate(DEMO.strip().splitlines()):
        method, baseline, init, size, kind, figures = (part.strip() for part in line.split("|"))
        entry = scored(card, method, baseline, init, size, kind, [float(part) for part in figures.split()], at)
        rows.append(Ranked(entry, *((1, 1, "above") if at == 0 else (2, 11, None if method == "chance" else "alike"))))
    names = [row.entry.submission for row in rows]
    return TrackBoard(
        digest=card.digest,
        name="demo-forecast-5s-clinical-patient-disjoint",
        title="Demo set: will a seizure begin within 5 s?",
        task="forecast_5s, 5 s windows",
        protocol="patient_disjoint, 20 episodes a shot, seed 0",
        data="demo (rendered)",
        onset_type="clinical",
        rendered=True,
        reported_only=False,
        patients=12,
        positives=24,
        negatives=24,
        shots=SHOTS,
        rows=tuple(rows),
        joined=((names[0], names[7]), tuple(names[1:])),
        notes=("Smallest difference that 12 patients can show: about 0.2 of ROC-AUC.",),
    )


def site_track() -> TrackBoard:
    """Results cards of a hospital: figures with intervals, some withheld, nothing re-scored."""
    card = track(rendered=False)
    entries = [
        site_entry(card, "xspecies_videomae", 0.66, kind="method", withheld=()),
        site_entry(card, "x3d", 0.58, kind="method", withheld=("brier", "pr_auc")),
        site_entry(card, "chance", 0.5, kind="trivial", withheld=METRICS),
    ]
    return TrackBoard(
        digest=card.digest,
        name="ward-a-forecast-5s-clinical-patient-disjoint",
        title="Ward A: will a seizure begin within 5 s?",
        task="forecast_5s, 5 s windows",
        protocol="patient_disjoint, 20 episodes a shot, seed 0",
        data="ward-a",
        onset_type="clinical",
        rendered=False,
        reported_only=False,
        patients=9,
        positives=41,
        negatives=57,
        shots=SHOTS,
        rows=tuple(Ranked(entry, None) for entry in entries),
    )


def paper_track() -> TrackBoard:
    """The paper's own table: one submission, a row a method."""
    source = "arXiv 2603.12887 (CVPR 2026)"
    of = ReportedTrack(
        name="paper", task="5 s horizon", protocol="N-shot", data="40 private clips", onset_type="clinical"
    )
    card = ReportedCard(
        content="reported",
        source=source,
        authors=("The authors of arXiv 2603.12887",),
        links=("https://arxiv.org/abs/2603.12887",),
        licence="as the publication",
        track=of,
        note="No intervals published. At 18 + 18 clips a ROC-AUC of 0.756 has a 95% interval of about 0.60 to 0.92.",
        shots=SHOTS,
        reported="d" * 64,
    )
    printed = [
        ("Cross-species", "method", 0.7230, 0.7558, 0.7091),
        ("Human-only", "method", 0.7149, 0.7491, 0.6943),
        ("SlowFast", "method", 0.6620, 0.7065, 0.6812),
        ("X3D", "method", 0.5540, 0.7045, 0.7105),
        ("CSN", "method", 0.5278, 0.5722, 0.5837),
        ("Pretrained zero-shot", "method", 0.5250, 0.5500, 0.4944),
        ("Linear probing", "method", 0.4742, 0.4994, 0.5274),
        ("rodent both (+R(Y/N))", "ablation", 0.6965, 0.7500, 0.7078),
    ]
    per_shot = {2: (0.7389, 0.7682, 0.7269), 3: (0.7176, 0.7374, 0.6674), 4: (0.7125, 0.7617, 0.7331)}
    rows = [
        Entry(
            submission="paper-2603-12887",
            method=name,
            baseline="-",
            init="not stated",
            pool="-",
            size="-",
            status="reported",
            track="paper",
            per_shot={at: _printed(*figures) for at, figures in per_shot.items()} if name == "Cross-species" else {},
            averaged=_printed(*figures),
            worst_patient=None,
            pretraining="not stated",
            cost_s=None,
            device="-",
            rendered=False,
            random_init=False,
            warnings=(),
            kind=kind,
            card=card,
        )
        for name, kind, *figures in printed
    ]
    return TrackBoard(
        digest="paper",
        name="reported-paper-2603-12887",
        title='Reported: as printed, by "arXiv 2603.12887"',
        task=of.task,
        protocol=of.protocol,
        data=of.data,
        onset_type=of.onset_type,
        rendered=False,
        reported_only=True,
        patients=None,
        positives=20,
        negatives=20,
        shots=SHOTS,
        rows=tuple(Ranked(row, None) for row in rows),
    )


def hostile_board() -> Board:
    """Markup, scripts and templates in every text that a stranger writes, also in those that reading would refuse."""
    card = track(rendered=False)
    evil = Card.model_construct(
        **{
            **_card(card, "x", TEXT, "random", "tiny", 0).__dict__,
            "authors": (TEXT, TEXT),
            "links": (LINK, "javascript:document.title='OWNED'", '" onclick="document.title=1'),
            "licence": TEXT,
            "remarks": TEXT,
            "trained_on": TEXT,
            "pretraining": (Pretraining(what=TEXT, test_patients=2),),
            "compute": Compute(device=TEXT, units=1, fit_s=1, predict_s=1),
            "track": card.model_copy(update={"data": card.data.model_copy(update={"name": TEXT})}),
        }
    )
    environment = _environment().model_copy(update={"commit": TEXT, "machine": TEXT, "versions": {TEXT[:200]: TEXT}})
    entry = scored(card, TEXT, TEXT, "random", TEXT, "method", [0.6, 0.5, 0.7] * 4, 0)
    changes = {"init": TEXT, "pool": TEXT, "pretraining": TEXT, "device": TEXT, "warnings": (TEXT,)}
    entry = Entry(**{**entry.__dict__, **changes, "submission": "evil", "card": evil, "environment": environment})
    good = demo_track()
    texts = {"title": TEXT, "task": TEXT, "protocol": TEXT, "data": TEXT, "onset_type": TEXT, "notes": (TEXT,)}
    hostile = TrackBoard(**{**good.__dict__, **texts, "rows": (Ranked(entry, 1),), "joined": (("evil",),)})
    paper = paper_track()
    publication = paper.rows[0].entry.card.model_copy(update={"source": TEXT, "note": TEXT, "authors": (TEXT,)})
    printed = Entry(**{**paper.rows[0].entry.__dict__, "method": TEXT, "card": publication, "submission": "evil-paper"})
    return Board((hostile, TrackBoard(**{**paper.__dict__, "rows": (Ranked(printed, None),)})))


def large_board(rows: int) -> Board:
    """One track of many re-scored rows, each with its own submission and plots."""
    first = demo_track()
    of = [row.entry for row in first.rows]
    entries = [
        Entry(**{**of[at % 12].__dict__, "submission": f"many-{at:04}", "method": f"{of[at % 12].method} {at}"})
        for at in range(rows)
    ]
    names = [entry.submission for entry in entries]
    many = {"rows": tuple(Ranked(entry, 1) for entry in entries), "joined": (tuple(names),)}
    return Board((TrackBoard(**{**first.__dict__, **many}),))


def scored(
    card: Track, method: str, baseline: str, init: str, size: str, kind: str, figures: list[float], at: int
) -> Entry:
    """A re-scored entry; `figures`: value, low, high of each of METRICS_OF_DEMO; `at` makes plots and costs differ."""
    averaged = {
        metric: Figure(*figures[3 * place : 3 * place + 3], mark="~" if metric in ("pr_auc", "brier") else "")
        for place, metric in enumerate(METRICS_OF_DEMO)
    }
    status: Status = "reproduced" if baseline == "chance" else "re-scored"
    return Entry(
        submission=f"demo-{at}-{baseline.replace('_', '-')}" if method != TEXT else "evil",
        method=method,
        baseline=baseline,
        init="random-init" if init == "random" else init,
        pool="mean" if size == "tiny" else "-",
        size=size,
        status=status,
        track=card.digest,
        per_shot={shots: _shifted(averaged, (shots - 3) * 0.02) for shots in SHOTS},
        averaged=averaged,
        worst_patient=max(0.0, figures[0] - 0.4),
        pretraining="RodEpil-like (rendered), 0 test patients" if baseline == "xspecies_videomae" else "none",
        cost_s=0.3 + 2.7 * at if size == "tiny" else 0.02,
        device="cpu",
        rendered=card.data.rendered,
        random_init=init == "random",
        warnings=("PRE-TRAINED ON 2 TEST PATIENTS",) if baseline == "xspecies_videomae" else (),
        kind=kind,
        card=_card(card, method, baseline, init, size, at),
        environment=_environment(),
        plots=_plots(figures[0], at),
    )


def site_entry(card: Track, method: str, value: float, kind: str, withheld: tuple[Metric, ...]) -> Entry:
    """A row of a results card, of which some figures are withheld."""
    figures = {
        metric: Figure(None, suppressed=True)
        if metric in withheld
        else Figure(value, round(value - 0.14, 3), round(value + 0.12, 3), "~" if metric in ("pr_auc", "brier") else "")
        for metric in METRICS
    }
    written = _card(card, method, method, "k400", "base", 3).model_copy(update={"content": "results"})
    return Entry(
        submission=f"ward-a-{method.replace('_', '-')}",
        method=method,
        baseline=method,
        init="k400" if method != "chance" else "-",
        pool="mean" if method != "chance" else "-",
        size="base" if method != "chance" else "-",
        status="reported",
        track=card.digest,
        per_shot=dict.fromkeys(SHOTS, figures),
        averaged=figures,
        worst_patient=None,
        pretraining="none",
        cost_s=41.5 if method != "chance" else 0.01,
        device="NVIDIA H200",
        rendered=False,
        random_init=False,
        warnings=(),
        kind=kind,
        card=written,
        environment=_environment(),
    )


def track(rendered: bool) -> Track:
    """5 s forecasting without shared patients."""
    data = Data(
        name="demo" if rendered else "ward-a",
        rendered=rendered,
        manifest="1" * 64,
        pool="2" * 64,
        patients=12 if rendered else 9,
        positives=24 if rendered else 41,
        negatives=24 if rendered else 57,
    )
    return Track(task=load_task("forecast_5s"), protocol=load_protocol("patient_disjoint"), seed=0, data=data)


def files_in(folder: Path, made: dict[str, str]) -> Path:
    """Write the page; returns its index."""
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
    return folder / "index.html"


def _card(card: Track, method: str, baseline: str, init: str, size: str, at: int) -> Card:
    network = size != "-"
    return Card(
        content="predictions",
        method=Method(
            name=method,
            baseline=baseline,
            settings={"epochs": 20, "lr": 1e-3, "head": "linear"} if network else {},
            size=size,
            init=init,
            pool="mean" if network else "-",
            parameters=2_345_678 + at if network else None,
        ),
        authors=("A. Author", "B. Writer"),
        links=(LINK,),
        licence="CC-BY-4.0",
        remarks="Made by `make leaderboard`.",
        trained_on="the support clips of each episode",
        pretraining=(Pretraining(what="5 s of rendered rodents", weights="5" * 64, rendered=True, test_patients=0),)
        if baseline == "xspecies_videomae"
        else (),
        compute=Compute(device="cpu", units=60, fit_s=321.5, predict_s=20.25),
        track=card,
        ids="manifest",
        hashes=Hashes(run="3" * 64, episodes="4" * 64, results="6" * 64, predictions="7" * 64, code=("8" * 64,)),
    )


def _environment() -> Environment:
    return Environment(
        commit="0123456789ab",
        dirty=False,
        python="3.11.2",
        machine="x86_64, Linux",
        device="cpu",
        threads=1,
        decoder="PyAV 18.1.0",
        versions={"numpy": "2.4.1", "torch": "2.15.0", "transformers": "5.23.0"},
    )


def _shifted(figures: dict[Metric, Figure], by: float) -> dict[Metric, Figure]:
    def moved(value: float | None) -> float | None:
        return None if value is None else round(min(1.0, max(0.0, value + by)), 3)

    return {
        metric: Figure(moved(figure.value), moved(figure.low), moved(figure.high), figure.mark)
        for metric, figure in figures.items()
    }


def _printed(balanced_accuracy: float, roc_auc: float, pr_auc: float) -> dict[Metric, Figure]:
    return {
        "balanced_accuracy": Figure(balanced_accuracy),
        "roc_auc": Figure(roc_auc),
        "pr_auc": Figure(pr_auc),
    }


def _plots(auc: float, seed: int) -> Plots:
    """Curves of 24 + 24 made-up scores whose ROC-AUC is near `auc`."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], 24)
    scores = 1 / (1 + np.exp(-(rng.normal(size=48) + labels * 2.5 * (auc - 0.5))))
    false, true, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    bins = tuple(
        Bin(12, round(at, 2), round(share, 2), round(max(share - 0.22, 0), 2), round(min(share + 0.25, 1), 2))
        for at, share in zip((0.2, 0.4, 0.6, 0.8), np.sort(rng.uniform(0.2, 0.8, 4)).tolist(), strict=True)
    )
    patients = np.sort(np.round(np.clip(rng.normal(auc, 0.22, 10), 0, 1) * 4) / 4).tolist()
    return Plots(
        roc=tuple(zip(false.tolist(), true.tolist(), strict=True)),
        pr=tuple(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True)),
        reliability=bins,
        patients=(*patients, None, None),
    )
