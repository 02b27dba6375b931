"""Rows made by hand, for tests of tables."""

from __future__ import annotations

from benchmark.board.entry import Board, Entry, Figure
from benchmark.board.ranking import Ranking
from benchmark.board.tracks import track_boards
from benchmark.submission.card import (
    Card,
    Compute,
    Data,
    Hashes,
    Method,
    ReportedCard,
    ReportedTrack,
    Track,
)
from protocols.spec import load_protocol
from tasks.spec import load_task


def track(*, name="clinic", manifest="1" * 64, rendered=False, split="evaluate", protocol="patient_disjoint", **task):
    data = Data.model_construct(  # also what reading would refuse
        name=name, rendered=rendered, manifest=manifest, pool="2" * 64, patients=12, positives=24, negatives=20
    )
    return Track(
        task=load_task("forecast_5s", **task), protocol=load_protocol(protocol), seed=0, split=split, data=data
    )


def figures(value, **changes):
    return {
        "balanced_accuracy": Figure(value - 0.1, 0.2, 0.9),
        "roc_auc": Figure(value, 0.3, 0.95, **changes),
        "pr_auc": Figure(value + 0.01, 0.31, 0.96, "~"),
        "brier": Figure(0.25, 0.2, 0.3),
    }


def entry(submission, value=0.7, of=None, **changes):
    """One re-scored row; `value`: its ROC-AUC."""
    of = of or track()
    averaged = figures(value)
    fields = {
        "submission": submission,
        "method": submission,
        "baseline": "m",
        "init": "k400",
        "pool": "mean",
        "size": "base",
        "status": "re-scored",
        "track": of.digest,
        "per_shot": {shots: figures(value + (shots - 3) / 100) for shots in (2, 3, 4)},
        "averaged": averaged,
        "worst_patient": 0.25,
        "pretraining": "none",
        "cost_s": 12.345,
        "device": "cpu",
        "rendered": of.data.rendered,
        "random_init": False,
        "warnings": (),
        "kind": "method",
        "card": card(of, submission),
    }
    return Entry(**(fields | changes))


def card(of, name):
    return Card.model_construct(
        content="predictions",
        method=Method.model_construct(name=name, baseline="m", size="-", init="-", pool="-"),
        authors=("A",),
        licence="MIT",
        trained_on="support",
        pretraining=(),
        compute=Compute(device="cpu", units=1, fit_s=1, predict_s=1),
        track=of,
        ids="manifest",
        hashes=Hashes.model_construct(code=()),
    )


def printed(submission="paper", names=("B", "A"), **texts):
    """A publication's rows, in its order."""
    fields = {"name": "its track", "task": "its task", "protocol": "its protocol", "data": "40 clips"}
    words = {"source": "arXiv 1", "note": "compare nothing"} | texts
    of = ReportedCard.model_construct(
        authors=("A",),
        links=(),
        licence="MIT",
        track=ReportedTrack.model_construct(**fields, onset_type="not stated"),
        shots=(2, 3, 4),
        **words,
    )
    figure = {"balanced_accuracy": Figure(0.7), "roc_auc": Figure(0.7558), "pr_auc": Figure(0.6)}
    unsaid = dict.fromkeys(("baseline", "init", "pool", "size", "pretraining", "device"), "not stated")
    rest = {"worst_patient": None, "cost_s": None, "random_init": False, "rendered": False, "kind": "method"}
    return [
        entry(
            submission,
            method=name,
            status="reported",
            track=submission,
            averaged=figure,
            per_shot={},
            card=of,
            **unsaid,
            **rest,
        )
        for name in names
    ]


def ranking(ranks, joined=(), above_floor=()):
    pairs = len(ranks) * (len(ranks) - 1) // 2
    return Ranking(
        ranks=ranks,
        joined=joined,
        above_floor=above_floor,
        pairs=pairs,
        told_apart=1,
        patients=12,
        smallest_p=2.0**-11,
    )


def board(entries, rankings=None, names=None):
    return Board(track_boards(entries, rankings or {}, names or {}))
