"""The paper's own table through the eyes of `compare`: from its figures and its number of clips alone.

`paper_page()` is the content of docs/paper.md, and what `seizure-bench compare --paper` prints.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from textwrap import fill

from benchmark.board.table import pipe
from benchmark.score.multiple import holm
from benchmark.score.published import (
    ClipCount,
    PublishedMetric,
    Z,
    clips_needed,
    correlation_needed,
    detectable,
    pair,
    reach,
    roc_auc_error,
)
from benchmark.submission.card import ReportedRow
from benchmark.submission.files import read_reported
from tasks.errors import BadInput

PAPER = Path(__file__).parents[2] / "submissions" / "paper-2603-12887"
CLIPS = ClipCount(18, 18)
CORRELATIONS = (0.0, 0.5, 0.8)
ALPHA = 0.05
ROUND_GAIN = 0.05
OURS, BASE = "Cross-species", "Human-only"
TESTED: tuple[PublishedMetric, ...] = ("roc_auc", "balanced_accuracy")
NAMES: dict[PublishedMetric, str] = {"balanced_accuracy": "bacc", "roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}


def load_paper() -> tuple[ReportedRow, ...]:
    """The figures of arXiv 2603.12887, as they stand on the board.

    Raises:
        BadInput: they are not there.
    """
    if not PAPER.is_dir():
        raise BadInput(f"{PAPER}: the paper's figures are not there; take the whole repository, with submissions/")
    return read_reported(PAPER).rows


def paper_page() -> str:
    """Markdown: intervals, pairs, and what it would take."""
    printed = load_paper()
    ours = next(row for row in printed if row.name == OURS)
    rows = {row.name: row for row in printed if row is ours or row.per_shot != ours.per_shot}
    parts = [_head(), _intervals(rows), _against_ours(rows), _all_pairs(rows), _takes(rows), _limits()]
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    return _page(
        "# The paper's table with intervals",
        "arXiv 2603.12887 reports seven methods and five ablations on 40 clips, without an interval or a test. The "
        "fifth ablation, +R(Y/N)+H, is the method itself and stands here once. This page is made from the published "
        "figures and the number of clips alone (`seizure-bench compare --paper`); nothing was re-scored.",
        f"Taken as given: {CLIPS.positives} positive and {CLIPS.negatives} negative clips in the query (of 20 and 20, "
        "less a support of 2 each), as if each came from another patient. How many patients there were is not known. "
        "Episodes drawn again from the same 40 clips add nothing to this: they measure the draw. So every interval "
        "below is **the narrowest that can be defended**. If the clips are 5 each of 8 patients and correlate by 0.3, "
        "the true one is 1.5 times as wide.",
    )


def _intervals(rows: dict[str, ReportedRow]) -> str:
    def entry(row: ReportedRow, metric: PublishedMetric) -> str:
        value = getattr(row, metric)
        low, high = reach(metric, value, CLIPS)
        return f"{value:.3f} [{low:.2f}, {high:.2f}]"

    body = [[row.name, *(entry(row, metric) for metric in NAMES)] for row in rows.values()]
    ours = rows[OURS].roc_auc
    plain = Z * roc_auc_error(ours, CLIPS)
    chance = [row.name for row in rows.values() if reach("roc_auc", row.roc_auc, CLIPS)[0] <= 0.5]
    return _page(
        "## Intervals of the figures",
        pipe(["method", *(f"{name} [95%]" for name in NAMES.values())], body, left=1),
        "Sources: ROC-AUC, Hanley and McNeil 1982; bacc, binomial with equal sensitivity and specificity (the widest "
        "for a given mean); PR-AUC, Boyd, Eng and Page 2013; all on the logit scale. On the plain scale the ROC-AUC of "
        f"{OURS}, {ours:.3f}, has {ours - plain:.2f} to {ours + plain:.2f}.",
        f"The ROC-AUC of {', '.join(chance)} cannot be told from 0.5.",
    )


def _against_ours(rows: dict[str, ReportedRow]) -> str:
    others = [row for row in rows.values() if row.name != OURS]
    blocks = []
    for metric in TESTED:
        ours = getattr(rows[OURS], metric)
        columns = []
        for correlation in CORRELATIONS:
            ps = [pair(metric, ours, getattr(row, metric), CLIPS, correlation).p for row in others]
            columns.append([f"{_p(p)} ({_p(adjusted)})" for p, adjusted in zip(ps, holm(ps), strict=True)])
        body = [
            [row.name, f"{ours - getattr(row, metric):+.4f}", *(column[place] for column in columns), needed]
            for place, row in enumerate(others)
            for needed in [_needed(correlation_needed(metric, ours, getattr(row, metric), CLIPS))]
        ]
        headers = [f"{OURS} less", NAMES[metric], *(f"p (Holm) at {r:g}" for r in CORRELATIONS), "needed"]
        blocks.append(pipe(headers, body, left=1))
    return _page(
        "## Each row against the paper's method",
        *blocks,
        "A test of two figures on the same clips needs the correlation of their errors, which no published table "
        "holds; so three are tried. 0 would be two sets of clips; 0.8 is high even for two states of one network. p is "
        "two-sided, in brackets after Holm's correction for the ten rows of its table. `needed` is the correlation "
        "from which on p falls below 0.05 without any correction.",
    )


def _all_pairs(rows: dict[str, ReportedRow]) -> str:
    methods = [row for row in rows.values() if row.kind == "method"]
    pairs = list(combinations(methods, 2))
    lines = []
    for metric in TESTED:
        for correlation in CORRELATIONS:
            ps = holm([pair(metric, getattr(a, metric), getattr(b, metric), CLIPS, correlation).p for a, b in pairs])
            apart = [f"{a.name} | {b.name}" for (a, b), p in zip(pairs, ps, strict=True) if p is not None and p < ALPHA]
            said = f"{len(apart)} of {len(pairs)}" + (f": {'; '.join(apart)}" if apart else "")
            lines.append(_wrapped(f"- {NAMES[metric]} at correlation {correlation:g}: {said}", "  "))
    return _page("## Which of the seven methods can be told apart after Holm over all pairs", "\n".join(lines))


def _takes(rows: dict[str, ReportedRow]) -> str:
    ours, base = rows[OURS], rows[BASE]
    body = []
    for correlation in CORRELATIONS:
        line = [f"{correlation:g}"]
        for metric in TESTED:
            a, b = getattr(ours, metric), getattr(base, metric)
            line.append(f"{detectable(metric, a, CLIPS, correlation):.2f}")
            line.append(f"{clips_needed(metric, a, b, CLIPS, correlation).positives:,}")
            line.append(f"{clips_needed(metric, a, a - ROUND_GAIN, CLIPS, correlation).positives:,}")
        body.append(line)
    headers = ["correlation"]
    for metric in TESTED:
        name = NAMES[metric]
        headers += [f"{name}: smallest difference", "clips a class for this gain", f"for a gain of {ROUND_GAIN}"]
    gain = ours.balanced_accuracy - base.balanced_accuracy
    low, high = reach("balanced_accuracy", ours.balanced_accuracy, CLIPS)
    half_width = (high - low) / 2
    return _page(
        "## What it would take",
        f"The gain of cross-species pre-training over {BASE}, the same network without it, is "
        f"{ours.roc_auc - base.roc_auc:+.4f} ROC-AUC and {gain:+.4f} bacc: the latter is 1/{half_width / gain:.0f} of "
        "half the width of its own interval. Smallest difference: what a test at 0.05 finds in 80 of 100 such studies. "
        "Clips: what a gain needs to be found as often.",
        pipe(headers, body, left=1),
    )


def _limits() -> str:
    return _page(
        "## How far this may be read",
        "\n".join(
            _wrapped(f"- {item}", "  ")
            for item in (
                "It does not say that the paper's method is no better. It says that 40 clips cannot show it, nor the "
                "reverse.",
                "Figures averaged over 2, 3 and 4 shots and over episodes can be a little steadier than those of one "
                "classifier; the clips stay the same 40, and their share of the error does not shrink.",
                "These are normal approximations, rough at 18 + 18 clips. PR-AUC also leans upward at few clips "
                "([statistics.md](statistics.md)), so its differences are not tested here.",
                "With predictions at hand `seizure-bench compare` needs none of these assumptions: it pairs methods "
                "clip by clip and swaps whole patients.",
            )
        ),
    )


def _p(p: float | None) -> str:
    return "—" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _needed(correlation: float | None) -> str:
    return "none below 1" if correlation is None else "> 0.99" if correlation > 0.99 else f"{correlation:.2f}"


def _page(*parts: str) -> str:
    return "\n\n".join(part if part.startswith(("|", "- ")) else _wrapped(part) for part in parts)


def _wrapped(text: str, indent: str = "") -> str:
    return fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
