"""The board as static HTML: `page_files(board) -> {"index.html": ..., "submissions/NAME.html": ...}`.

    Board -> views (which columns, rows and words) -> jinja2 (*.j2, autoescaped) + charts.py (SVG) -> text

Every file stands alone: page.css and page.js are written into it, nothing is fetched, and a Content-Security-Policy
lets only these two run, by their hashes; so markup of a stranger that got past the escaping would still do nothing.
Vanilla JS and no build step: sorting and filtering are 150 lines, and a second tool chain would outweigh them.
Without JavaScript the page is the same tables, sorted by the board.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.board.digits import rounded
from benchmark.board.entry import Board, Entry, Figure, Ranked, TrackBoard
from benchmark.board.page import charts
from benchmark.board.tracks import CHANCE, quotation
from benchmark.score.metrics import Metric
from benchmark.submission.card import BOARD_SHOTS, Card, ReportedCard
from benchmark.words import counted

FOLDER = Path(__file__).parent
TALL = 40  # rows; a longer table scrolls by itself, under its own heading
UNSAID = ("", "-", "not stated")
TITLES: dict[Metric, str] = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "Balanced accuracy",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
}
STATUSES = {
    "reproduced": "run again here, with the same predictions within a tolerance",
    "re-scored": "scored here from the predictions that were handed in",
    "reported": "figures as their authors give them; nothing was scored here",
}
KINDS = {"method": "methods", "trivial": "chance and trivial cues", "ablation": "ablations"}
VIDEOS = {"rendered": "rendered video", "real": "real video", "unstated": "not stated"}

Kind = Literal["text", "number", "figure"]


@dataclass(frozen=True)
class Column:
    """A column of a track's table. `text`: sorted as words. `figure`: one of `metric`, at `shots` (None: averaged)."""

    key: str  # in the address of a sorted view
    label: str
    kind: Kind
    metric: Metric | None = None
    shots: int | None = None

    @property
    def rising(self) -> bool:
        """Whether the smallest value is the first to look at."""
        return self.kind == "text" or self.metric == "brier" or self.key in ("rank", "cost")

    def figure(self, entry: Entry) -> Figure | None:
        """The entry's figure in this column."""
        if self.metric is None:
            return None
        figures = entry.averaged if self.shots is None else entry.per_shot.get(self.shots)
        return None if figures is None else figures.get(self.metric)

    def filled(self, ranked: Ranked) -> bool:
        """Whether this row has anything to show here."""
        if self.kind == "figure":
            figure = self.figure(ranked.entry)
            return figure is not None and (figure.value is not None or figure.suppressed)
        return self.value(ranked) not in (None, *UNSAID)

    def value(self, ranked: Ranked) -> str | float | None:
        """What is sorted by; None: missing, which goes last."""
        entry, figure = ranked.entry, self.figure(ranked.entry)
        plain: Mapping[str, str | float | None] = {
            "rank": ranked.rank,
            "worst": entry.worst_patient,
            "cost": entry.cost_s,
            "init": entry.init,
            "size": entry.size,
            "pool": entry.pool,
            "pretraining": entry.pretraining,
            "date": entry.date,
        }
        return figure.value if figure is not None else plain.get(self.key)


@dataclass(frozen=True)
class Banner:
    """What must be read before a track's figures. `look`: a class of the style sheet."""

    look: str
    first: str
    rest: str


RENDERED = Banner(
    "rendered",
    "Rendered video: says nothing about patients.",
    "Every frame was drawn by a program: the figures show that the suite works, nothing else.",
)
REPORTED = Banner(
    "reported",
    "Reported by its authors, not scored here.",
    "Never ranked, and not comparable with any other table.",
)
UNSCORED = Banner(
    "reported",
    "Reported by their authors, not scored here.",
    "No predictions that could be scored here came with these figures, so none is ranked.",
)


@dataclass(frozen=True)
class Choice:
    """A box of the filter: rows with this value of `group`."""

    group: str
    value: str
    label: str
    rows: int


def page_files(board: Board) -> dict[str, str]:
    """The whole page as relative name -> text, the same for the same board; a submission's file bears its name."""
    made = {"index.html": _index(board)}
    template = _environment().get_template("submission.j2")
    for track in board.tracks:
        filled = {column.metric for column in columns_of(track)}
        titles = {metric: title for metric, title in TITLES.items() if metric in filled}
        shared = {"home": "../index.html", "track": track, "banners": banners_of(track), "titles": titles}
        for name, rows in _by_submission(track).items():
            made[f"submissions/{name}.html"] = template.render(shared, rows=rows)
    return made


def banners_of(track: TrackBoard) -> list[Banner]:
    """What stands over the track and over the page of each of its submissions."""
    unscored = [UNSCORED] if all(ranked.entry.status == "reported" for ranked in track.rows) else []
    return [*([RENDERED] if track.rendered else []), *([REPORTED] if track.reported_only else unscored)]


def columns_of(track: TrackBoard) -> list[Column]:
    """Columns behind method and status: those in which some row of the track has something to say."""
    return [column for column in _columns(track.shots) if any(column.filled(ranked) for ranked in track.rows)]


def _columns(shots: tuple[int, ...]) -> Iterator[Column]:
    yield Column("rank", "Rank", "number")
    for metric, title in TITLES.items():
        yield Column(metric, title, "figure", metric)
    yield Column("worst", "Worst patient", "number")
    for metric, title in TITLES.items():
        for at in shots:
            yield Column(f"{metric}-{at}", f"{title}, {at} shot{'s' * (at != 1)}", "figure", metric, at)
    yield Column("init", "Init", "text")
    yield Column("size", "Size", "text")
    yield Column("pool", "Pool", "text")
    yield Column("pretraining", "Pre-training declared", "text")
    yield Column("cost", "Cost, s a unit", "number")
    yield Column("date", "Since", "text")


def _index(board: Board) -> str:
    return _environment().get_template("index.j2").render(home="index.html", board=board, choices=_choices(board))


def _by_submission(track: TrackBoard) -> dict[str, list[Ranked]]:
    """A paper's rows share one submission; any other has one row."""
    rows: dict[str, list[Ranked]] = {}
    for ranked in track.rows:
        rows.setdefault(ranked.entry.submission, []).append(ranked)
    return rows


def _choices(board: Board) -> dict[str, list[Choice]]:
    """Boxes by group; values that no row has are left out."""
    entries = [ranked.entry for track in board.tracks for ranked in track.rows]
    groups = {
        "status": (dict(zip(STATUSES, STATUSES, strict=True)), Counter[str](entry.status for entry in entries)),
        "kind": (KINDS, Counter(entry.kind for entry in entries)),
        "video": (VIDEOS, Counter(video_of(entry) for entry in entries)),
    }
    return {
        group: [Choice(group, value, label, rows[value]) for value, label in labels.items() if rows[value]]
        for group, (labels, rows) in groups.items()
    }


def video_of(entry: Entry) -> str:
    """A key of VIDEOS."""
    return "rendered" if entry.rendered else "real" if _is_card(entry) else "unstated"


def reference(metric: Metric, track: TrackBoard) -> float | None:
    """What a method that knows nothing gets: chance, the prevalence, the Brier score of a constant 0.5."""
    if metric == "pr_auc":
        known = track.positives is not None and track.negatives is not None
        clips = (track.positives or 0) + (track.negatives or 0)
        return (track.positives or 0) / clips if known and clips else None
    return 0.25 if metric == "brier" else 0.5


def number(value: float | None) -> str:
    """Three places, or a dash."""
    return "—" if value is None else rounded(value, 3)


def interval(figure: Figure) -> str:
    """`[0.63, 0.91]~`; a dash in it where there is no interval or it is one point."""
    known = figure.low is not None and figure.high is not None and figure.low != figure.high
    return (f"[{rounded(figure.low or 0, 2)}, {rounded(figure.high or 0, 2)}]" if known else "[—]") + figure.mark


def thousands(value: int) -> str:
    """86227200 as 86,227,200."""
    return f"{value:,}"


def seconds(value: float | None) -> str:
    """Two to four digits; a dash where nobody measured."""
    return (
        "—" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    )


def breakable(text: str) -> Markup:
    """The text, escaped, which may be broken behind an underscore."""
    return Markup(str(escape(text)).replace("_", "_<wbr>"))


def words(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def averaged_over(track: TrackBoard) -> tuple[int, ...]:
    """The numbers of shots that its averages stand for."""
    card = track.rows[0].entry.card if track.rows else None
    return card.shots if isinstance(card, ReportedCard) else BOARD_SHOTS


def curves_over(entry: Entry) -> list[int]:
    """The shots whose scores a clip's mean is over: the board's, or all where one of these is missing."""
    return list(BOARD_SHOTS) if entry.averaged is not None else sorted(entry.per_shot)


def standing(ranked: Ranked, track: TrackBoard) -> str:
    """A row's rank with its tie, and how it stands to chance."""
    if ranked.rank is None:
        return "Not ranked."
    rows = counted(sum(other.rank is not None for other in track.rows), "row")
    rank = f"Rank {ranked.rank}, " + (f"shared by {ranked.tied} of {rows}." if ranked.tied > 1 else f"of {rows}.")
    chance = {
        "above": "Told apart above chance.",
        "below": "Told apart from chance, but below it.",
        "alike": "Not told apart from chance.",
        None: "" if ranked.entry.baseline == CHANCE else "No chance row is ranked on this track.",
    }
    return f"{rank} {chance[ranked.chance]}".strip()


def marks_of(track: TrackBoard) -> str:
    """The marks that stand behind a figure of the track."""
    entries = [ranked.entry for ranked in track.rows]
    shown = [*(e.averaged for e in entries if e.averaged), *(by for e in entries for by in e.per_shot.values())]
    return "".join(figure.mark for figures in shown for figure in figures.values())


def _is_card(entry: Entry) -> bool:
    return isinstance(entry.card, Card)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    css, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; script-src {_allowed(script)}; style-src {_allowed(css)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    environment.globals |= {"css": Markup(css), "script": Markup(script), "policy": Markup(policy)}
    environment.globals |= {"STATUSES": STATUSES, "KINDS": KINDS, "VIDEOS": VIDEOS, "TALL": TALL}
    environment.globals |= {"charts": charts, "is_card": _is_card, "banners_of": banners_of}
    environment.globals |= {
        "averaged_over": averaged_over,
        "columns_of": columns_of,
        "video_of": video_of,
        "curves_over": curves_over,
        "standing": standing,
        "reference": reference,
    }
    environment.filters |= {"number": number, "interval": interval, "seconds": seconds, "words": words}
    environment.filters |= {
        "thousands": thousands,
        "breakable": breakable,
        "quotation": quotation,
        "marks_of": marks_of,
        "places": rounded,
    }
    return environment


def _allowed(text: str) -> str:
    """As a source of a Content-Security-Policy: this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
