"""Which rows may stand in one table: `track_boards(entries, rankings, data_names) -> (TrackBoard, ...)`.

A track is task x protocol x data set x onset type; rows of two tracks are never mixed. Within one the order is: by
rank, then by ROC-AUC, best first; then what is not ranked, at last what is only reported. Chance and trivial cues stand
where their figures put them, marked. A publication's own table is a track by itself, in the publication's order and
without ranks; its heading and its names say that it is reported, whatever it calls itself.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from benchmark.board.entry import Against, Entry, Ranked, TrackBoard
from benchmark.board.ranking import Ranking
from benchmark.board.table import RANDOM_INIT
from benchmark.score.comparison import ALPHA
from benchmark.score.groups import letters_of
from benchmark.submission.card import BOARD_SHOTS, Card, ReportedCard, Track
from benchmark.words import counted

CHANCE = "chance"  # the baseline
RENDERED = "Rendered data, drawn by a program: these numbers say nothing about patients."
REPORTED_ONLY = "Reported only: figures as printed, on other clips; not scored here, never ranked with other rows."
SOME_REPORTED = "Rows marked reported bear the submitter's own figures: not scored here, not ranked."
DEVELOP = "Patients set aside for choosing settings: no figure below is a result."
SHARED = "Support and query share patients: figures are higher than with new patients."
MARKS = {
    "~": "~ Not validated as a 95% interval (docs/statistics.md): take it for a little less.",
    "†": "† All resamples agreed: at 0 or 1 the other end is the exact limit for that many patients.",
    "*": "* Fewer than 8 patients: the interval resamples clips within each class and can be too narrow.",
}
SUPPRESSED = "Suppressed: fewer than 5 patients stand behind the figure."
NO_CHANCE = "No chance row on this track: nothing can be said of the floor."
MOST_SHOTS = 8  # columns
MOST_NAMED = 12


def track_boards(
    entries: Sequence[Entry], rankings: Mapping[str, Ranking], data_names: Mapping[str, str]
) -> tuple[TrackBoard, ...]:
    """One table a track: filmed data first, then rendered, then publications; forecasts before their controls.

    rankings and data_names: by track digest. Without a name there, a track bears that of its first submission.
    """
    by_track = sorted(entries, key=lambda entry: (entry.track, entry.submission))  # a publication's rows stay in order
    grouped = [list(rows) for _, rows in groupby(by_track, key=lambda entry: entry.track)]
    called = {rows[0].track: _slug(_called(rows, data_names)) for rows in grouped}
    doubled = Counter(called.values())
    boards = []
    for rows in grouped:
        digest = rows[0].track
        tail = digest[:8] if doubled[called[digest]] > 1 else ""
        name = f"{called[digest]}-{tail}" if tail else called[digest]
        boards.append(_board(rows, rankings.get(digest), data_names.get(digest), name, f" [{tail}]" if tail else ""))
    return tuple(sorted(boards, key=lambda board: (board.reported_only, board.rendered, _detects(board), board.name)))


def _detects(board: TrackBoard) -> bool:
    """Whether it is a positive control: seizures that are there already."""
    track = _track(board.rows[0].entry)
    return track is not None and track.task.kind == "detect"


def warnings_of(track: TrackBoard) -> tuple[str, ...]:
    """The sentences that must stand over a table."""
    entries = [row.entry for row in track.rows]
    tracks = [of for entry in entries if (of := _track(entry)) is not None]
    found = {
        RENDERED: track.rendered,
        REPORTED_ONLY: track.reported_only,
        DEVELOP: any(one.split == "develop" for one in tracks),
        SHARED: any(one.protocol.disjoint == "clip" for one in tracks),
        RANDOM_INIT: any(entry.random_init for entry in entries),
        SOME_REPORTED: not track.reported_only and any(entry.status == "reported" for entry in entries),
    }
    return tuple(sentence for sentence, so in found.items() if so)


def groups_by_row(track: TrackBoard) -> dict[str, str]:
    """By submission: the letters of its groups; two rows that share a letter were not told apart."""
    names = [row.entry.submission for row in track.rows if row.rank is not None]
    return letters_of(names, track.joined) if track.joined else {}


def position(entry: Entry, rank: int | None) -> tuple[float, bool, bool, float, str]:
    """The order of a table: by rank, then by ROC-AUC; reported rows last, rows without an average behind others."""
    value = entry.averaged["roc_auc"].value if entry.averaged and "roc_auc" in entry.averaged else None
    below = math.inf if rank is None else rank, entry.status == "reported", value is None
    return (*below, -round(value or 0.0, 12), entry.submission)


def _board(rows: list[Entry], ranking: Ranking | None, data_name: str | None, name: str, title_tail: str) -> TrackBoard:
    track = _track(rows[0])
    if track is None:
        return _publication(rows, name, title_tail)
    ranks = ranking.ranks if ranking else {}
    has_chance = any(entry.baseline == CHANCE and entry.submission in ranks for entry in rows)
    of_track = {entry.submission for entry in rows}
    tied = Counter(rank for name, rank in ranks.items() if name in of_track)
    shown = tuple(
        Ranked(entry, rank, tied[rank] if rank else 0, _against_chance(entry, ranking, has_chance))
        for entry in sorted(rows, key=lambda entry: position(entry, ranks.get(entry.submission)))
        for rank in [ranks.get(entry.submission)]
    )
    data = data_name or track.data.name
    marks = [
        *(["rendered"] if track.data.rendered else []),
        *(["develop patients"] if track.split == "develop" else []),
    ]
    marked = f"{data} ({', '.join(marks)})" if marks else data
    task, protocol = track.task, track.protocol
    return TrackBoard(
        digest=rows[0].track,
        name=name,
        title=f"{task.name}, {task.onset_type} onset, {protocol.name}: {marked}{title_tail}",
        task=_task(track),
        protocol=_protocol(track),
        data=marked,
        onset_type=task.onset_type,
        rendered=track.data.rendered,
        reported_only=False,
        patients=track.data.patients,
        positives=track.data.positives,
        negatives=track.data.negatives,
        shots=_shots(rows),
        rows=shown,
        joined=ranking.joined if ranking else (),
        notes=(*_ranking_notes(shown, ranking), *_row_notes(rows)),
    )


def _publication(rows: list[Entry], name: str, title_tail: str) -> TrackBoard:
    card = rows[0].card
    assert isinstance(card, ReportedCard)
    shots = ", ".join(map(str, card.shots))
    over = [f"Averages are over {shots} shots."] if card.shots != BOARD_SHOTS else []
    return TrackBoard(
        digest=rows[0].track,
        name=name,
        title=f"Reported: {card.track.name}, by {quotation(card.source)}{title_tail}",
        task=card.track.task,
        protocol=card.track.protocol,
        data=card.track.data,
        onset_type=card.track.onset_type,
        rendered=any(entry.rendered for entry in rows),
        reported_only=True,
        patients=None,
        positives=None,
        negatives=None,
        shots=_shots(rows),
        rows=tuple(Ranked(entry, None) for entry in rows),
        notes=(*over, *_row_notes(rows)),
        quoted=card.note,
    )


def quotation(text: str) -> str:
    """A stranger's words between quotation marks that they cannot close."""
    return '"' + re.sub('["\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\uff02]', "'", text) + '"'


def _against_chance(entry: Entry, ranking: Ranking | None, has_chance: bool) -> Against | None:
    if ranking is None or entry.baseline == CHANCE or entry.submission not in ranking.ranks or not has_chance:
        return None
    above, below = entry.submission in ranking.above_chance, entry.submission in ranking.below_chance
    return "above" if above else "below" if below else "alike"


def _track(entry: Entry) -> Track | None:
    return entry.card.track if isinstance(entry.card, Card) else None


def _called(rows: Sequence[Entry], data_names: Mapping[str, str]) -> str:
    track = _track(rows[0])
    if track is None:
        return f"reported-{rows[0].submission}"
    data = data_names.get(rows[0].track, track.data.name)
    return f"{data}-{track.task.name}-{track.task.onset_type}-{track.protocol.name}"


def _slug(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:100].strip("-") or "track"


def _task(track: Track) -> str:
    task = track.task
    asked = (
        f"a seizure begins {task.sph_s:g} to {task.sph_s + task.sop_s:g} s after the window"
        if task.kind == "forecast"
        else "the window lies in a seizure"
    )
    return f"{task.name}: windows of {task.window_s:g} s; positive: {asked}; negative: {task.min_gap_s:g} s from any"


def _protocol(track: Track) -> str:
    protocol = track.protocol
    shared = "PATIENTS SHARED by support and query" if protocol.disjoint == "clip" else "no patient in both"
    return f"{protocol.name}: {protocol.episodes} episodes a shot, seed {track.seed}; support and query: {shared}"


def _shots(rows: Sequence[Entry]) -> tuple[int, ...]:
    """The board's, and those of rows that lack one of these."""
    alone = {shots for entry in rows if entry.averaged is None for shots in entry.per_shot}
    return (*BOARD_SHOTS, *sorted(alone - set(BOARD_SHOTS)))[:MOST_SHOTS]


def _ranking_notes(rows: Sequence[Ranked], ranking: Ranking | None) -> list[str]:
    if ranking is None or not ranking.pairs:
        return ["Nothing is ranked: that takes two rows scored here at 2, 3 and 4 shots."]
    notes = [
        f"Rank: 1 + the number of rows told apart above (paired test on ROC-AUC over "
        f"{counted(ranking.patients, 'patient')}, Holm over {counted(ranking.pairs, 'pair')}, 5%). Equal ranks are "
        f"ties; rows that share a letter were not told apart. Told apart: {ranking.told_apart:,} of "
        f"{counted(ranking.pairs, 'pair')}."
    ]
    if ranking.smallest_p * ranking.pairs > ALPHA:
        notes.append(
            f"No pair can be told apart here, whatever its difference: the smallest p that the test gives with "
            f"{counted(ranking.patients, 'patient')} is {ranking.smallest_p:.2g}, and Holm multiplies it by "
            f"{ranking.pairs:,}."
        )
    return [*notes, _floor_note(rows, ranking)]


def _floor_note(rows: Sequence[Ranked], ranking: Ranking) -> str:
    """Who is above the floor, and of what this consists: without chance it is none."""
    on_floor = [row.entry for row in rows if row.entry.kind == "trivial" and row.rank is not None]
    if not any(entry.baseline == CHANCE for entry in on_floor):
        return NO_CHANCE
    named = {row.entry.submission: row.entry.method for row in rows}
    above = [named[name] for name in ranking.above_floor if name in named]
    floor = [entry.method for entry in sorted(on_floor, key=lambda entry: (entry.baseline != CHANCE, entry.submission))]
    return f"Told apart above {'all of ' * (len(floor) > 1)}{_listed(floor)}: {_listed(above) or 'no row'}."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _row_notes(rows: Sequence[Entry]) -> list[str]:
    """What the rows' figures bear: each mark explained once."""
    figures = [
        figure
        for entry in rows
        for metrics in (*entry.per_shot.values(), *([entry.averaged] if entry.averaged else []))
        for figure in metrics.values()
    ]
    notes = [said for mark, said in MARKS.items() if any(mark in figure.mark for figure in figures)]
    notes += [SUPPRESSED] if any(figure.suppressed for figure in figures) else []
    if not any(entry.kind == "trivial" for entry in rows) and isinstance(rows[0].card, Card):
        notes.append("No floor: neither chance nor a trivial cue was handed in on this track.")
    partial = sum(entry.averaged is None for entry in rows)
    if partial:
        shots = ", ".join(map(str, BOARD_SHOTS))
        notes.append(f"Without all of {shots} shots a row has neither average nor rank (here {partial}).")
    return notes
