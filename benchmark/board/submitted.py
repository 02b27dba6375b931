"""From `submissions/` to the board: `build_board(root, cache, progress) -> Board`.

    verify_all -> rescored (where labels are at hand) -> Entry -> ranking -> tracks -> Board

Nothing else goes in: no clock, no place, no order of files. Scores and rankings are cached by content, so that a second
board costs reading alone. `joined.csv` (submission, date) is the maintainers' and may be absent: a submission bears no
date, and when a row joined is for the history of the repository to tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

import numpy as np

import benchmark.score
from benchmark.board import ranking
from benchmark.board.entry import Bin, Board, Entry, Figure, Plots
from benchmark.board.ranking import Contest, Contestant, Ranking
from benchmark.board.tracks import CHANCE, track_boards
from benchmark.progress import Progress
from benchmark.score.metrics import METRICS, FloatArray, Metric
from benchmark.score.predictions import split_by_shots
from benchmark.score.summary import Scores
from benchmark.score.uncertainty import PATIENTS, Interval
from benchmark.submission.card import BOARD_SHOTS, Card, ClaimedScores, ReportedCard, ReportedFigures, Results
from benchmark.submission.reference import Reference
from benchmark.submission.rescore import Curves, Rescored, rescored
from benchmark.submission.verify import Verified, read_joined, verify_all

DIGITS = 9
TRIVIAL = (CHANCE, "clip_metadata", "motion_energy", "motion_features")
PROBE = "probe_"
NOT_STATED = "not stated"
PRINTED: tuple[Metric, ...] = ("balanced_accuracy", "roc_auc", "pr_auc")


@dataclass(frozen=True, eq=False)
class Row:
    """A submission, and its figures where they were made here."""

    verified: Verified
    rescored: Rescored | None

    @property
    def scored_over_board(self) -> bool:
        """Whether it can be ranked: scored here at all of the board's shots, with clips of both classes."""
        if self.rescored is None:
            return False
        averaged = self.rescored.scores.averaged
        return averaged.shots == BOARD_SHOTS and averaged.metrics["roc_auc"].per_clip.value is not None


def build_board(root: Path, cache: Path, progress: Progress) -> Board:
    """Verify, score and rank all submissions under `root`; cache: of `benchmark.files.cache_folder`.

    Raises:
        BadInput: at the first fault in any of them; the sentence names it.
    """
    verified = verify_all(root)
    dates = read_joined(root, [one.name for one in verified])
    rows = []
    with progress.track("scoring", len(verified)) as advance:
        for number, one in enumerate(verified, start=1):
            rows.append(Row(one, None if one.status == "reported" else rescored(one, cache)))
            advance(number)
    references = {one.reference.track.digest: one.reference for one in verified if one.reference is not None}
    rankings = {digest: _ranking(reference, rows, cache, progress) for digest, reference in references.items()}
    entries = [entry for row in rows for entry in entries_of(row, dates.get(row.verified.name))]
    names = {digest: reference.track.data.name for digest, reference in references.items()}
    return Board(track_boards(entries, rankings, names))


def entries_of(row: Row, joined: str | None = None) -> tuple[Entry, ...]:
    """The rows of a submission: one, or as many as a publication printed. joined: date at which it joined the board."""
    card = row.verified.card
    return _printed(row.verified, card, joined) if isinstance(card, ReportedCard) else (_own(row, card, joined),)


def clip_scores(row: Verified, reference: Reference) -> FloatArray:
    """(shots, replicates, clips) at the board's shots, averaged over episodes; clips in the order of the Reference."""
    assert row.predictions is not None
    table = row.predictions[row.predictions["shots"].isin(BOARD_SHOTS)].rename(columns={"clip": "clip_id"})
    shots = split_by_shots(table, reference.clips.rename(columns={"clip": "clip_id"}))
    return np.stack([shot.averaged() for shot in shots])


def is_trivial(baseline: str) -> bool:
    """Whether a baseline is the floor: chance, a simple cue, or a probe that should fail."""
    return baseline in TRIVIAL or baseline.startswith(PROBE)


def _ranking(reference: Reference, rows: Iterable[Row], cache: Path, progress: Progress) -> Ranking:
    of_track = [row.verified for row in rows if row.verified.reference is reference and row.scored_over_board]
    cards = {one.name: one.card for one in of_track if isinstance(one.card, Card)}
    floor = frozenset(name for name, card in cards.items() if is_trivial(card.method.baseline))
    chance = frozenset(name for name, card in cards.items() if card.method.baseline == CHANCE)
    rows_key = sorted(
        [name, str(card.hashes.predictions), name in floor, name in chance] for name, card in cards.items()
    )
    key = json.dumps([_code(), reference.digest, BOARD_SHOTS, rows_key])

    def contest() -> Contest:
        return Contest(
            contestants=tuple(Contestant(one.name, clip_scores(one, reference)) for one in of_track),
            labels=reference.clips["label"].to_numpy(dtype=np.float64),
            patients=tuple(reference.clips["patient"]),
            floor=floor,
            chance=chance,
        )

    return ranking.cached_rank(key, cache, contest, progress)


@once
def _code() -> str:
    """Digest of the sources that make rankings."""
    sources = [*sorted(Path(benchmark.score.__path__[0]).glob("*.py")), Path(ranking.__file__)]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _own(row: Row, card: Card, joined: str | None) -> Entry:
    verified, method = row.verified, card.method
    assert verified.results is not None
    per_shot, averaged = _scored(row.rescored) if row.rescored else _claimed(verified.results)
    worst = row.rescored.scores.worst_patient if row.rescored else None
    random = method.init.lower().startswith("random")
    cost = card.compute
    return Entry(
        submission=verified.name,
        method=method.name,
        baseline=method.baseline,
        init="random-init" if random else "none" if method.init == "-" else method.init,
        pool=method.pool,
        size=method.size,
        status=verified.status,
        track=card.track.digest,
        per_shot=per_shot,
        averaged=averaged,
        worst_patient=_steady(worst.roc_auc) if worst else None,
        pretraining=_pretraining(card),
        cost_s=(cost.fit_s + cost.predict_s) / cost.units if cost.units else None,
        device=cost.device,
        rendered=card.track.data.rendered,
        random_init=random,
        warnings=_warnings(card),
        kind="trivial" if is_trivial(method.baseline) else "method",
        card=card,
        environment=verified.environment,
        plots=_plots(row.rescored.curves) if row.rescored else None,
        date=joined,
    )


def _pretraining(card: Card) -> str:
    stages = [stage.what + (" [rendered video]" if stage.rendered else "") for stage in card.pretraining]
    return "; then ".join(stages) or "none"


def _warnings(card: Card) -> tuple[str, ...]:
    patients = max((stage.test_patients for stage in card.pretraining), default=0)
    drawn = any(stage.rendered for stage in card.pretraining) and not card.track.data.rendered
    found = {
        f"PRE-TRAINED ON {patients} TEST PATIENTS": patients > 0,
        "PRE-TRAINED ON RENDERED VIDEO": drawn,
        f"FROM {len(card.hashes.code)} STATES OF ITS CODE": len(card.hashes.code) > 1,
    }
    return tuple(warning for warning, so in found.items() if so)


def _scored(found: Rescored) -> tuple[dict[int, dict[Metric, Figure]], dict[Metric, Figure] | None]:
    def figures(scores: Scores) -> dict[Metric, Figure]:
        clips = {metric: scores.metrics[metric].per_clip for metric in METRICS}
        return {metric: _figure(figure.value, figure.interval) for metric, figure in clips.items()}

    averaged = found.scores.averaged
    per_shot = {scores.shots[0]: figures(scores) for scores in found.scores.per_shot}
    return per_shot, figures(averaged) if averaged.shots == BOARD_SHOTS else None


def _claimed(results: Results) -> tuple[dict[int, dict[Metric, Figure]], dict[Metric, Figure] | None]:
    def figures(scores: ClaimedScores) -> dict[Metric, Figure]:
        return {
            metric: _figure(figure.value, figure.interval, figure.suppressed)
            for metric, figure in scores.metrics.items()
        }

    per_shot = {scores.shots[0]: figures(scores) for scores in results.per_shot}
    return per_shot, figures(results.averaged) if results.averaged.shots == BOARD_SHOTS else None


def _figure(value: float | None, interval: Interval | None, suppressed: bool = False) -> Figure:
    if interval is None:
        return Figure(_steady(value), suppressed=suppressed)
    marks = {
        "†": interval.degenerate,
        "~": interval.source == PATIENTS and not interval.validated,
        "*": interval.source != PATIENTS,
    }
    mark = "".join(mark for mark, so in marks.items() if so)
    return Figure(_steady(value), _steady(interval.low), _steady(interval.high), mark, suppressed)


def _steady(value: float | None) -> float | None:
    """Without the last digits, which differ from one processor to another, as the board's bytes must not."""
    return None if value is None else round(value, DIGITS)


def _plots(curves: Curves) -> Plots:
    bins = tuple(
        Bin(one.clips, *(round(value, DIGITS) for value in (one.score, one.share, one.low, one.high)))
        for one in curves.reliability
    )
    roc, pr = (tuple((round(x, DIGITS), round(y, DIGITS)) for x, y in points) for points in (curves.roc, curves.pr))
    return Plots(roc, pr, bins, tuple(map(_steady, curves.patients)))


def _printed(verified: Verified, card: ReportedCard, joined: str | None) -> tuple[Entry, ...]:
    """A publication is a track by itself: whatever it calls its data, they are not at hand."""
    assert verified.reported is not None
    track = hashlib.sha256(f"{verified.name}\0{card.track.model_dump_json()}".encode()).hexdigest()
    return tuple(
        Entry(
            submission=verified.name,
            method=row.name,
            baseline=NOT_STATED,
            init=NOT_STATED,
            pool=NOT_STATED,
            size=NOT_STATED,
            status="reported",
            track=track,
            per_shot={shot.shots: _printed_figures(shot) for shot in row.per_shot},
            averaged=_printed_figures(row),
            worst_patient=None,
            pretraining=NOT_STATED,
            cost_s=None,
            device=NOT_STATED,
            rendered=False,
            random_init=False,
            warnings=(),
            kind=row.kind,
            card=card,
            date=joined,
        )
        for row in verified.reported.rows
    )


def _printed_figures(printed: ReportedFigures) -> Mapping[Metric, Figure]:
    return {metric: Figure(getattr(printed, metric)) for metric in PRINTED}
