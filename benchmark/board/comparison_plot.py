"""The picture of a comparison: methods on the metric's axis, and bars that join those that were not told apart.

After the critical-difference diagram (Demsar, Journal of Machine Learning Research 2006), on the metric itself instead
of ranks. The bars stand to the right of the methods, one a group, with a dot at each member: a group need not be
made of neighbours. What keeps the data from being a result stands inside the picture. The same content, the same bytes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.board.style import CHANCE, COLOUR, DOUBT_BOX, pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FADED = "#9a9a9a"


@dataclass(frozen=True)
class Dot:
    """A method's figure with its interval. `told_apart`: from the one method that all are compared with, if any."""

    name: str
    value: float
    low: float | None
    high: float | None
    told_apart: bool | None = None


@dataclass(frozen=True)
class Picture:
    """What is drawn: dots from the best down, groups as names with their letter, in words what it is and its doubts."""

    title: str
    axis: str
    chance: float | None
    dots: tuple[Dot, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    note: str
    doubts: tuple[str, ...]


def draw(picture: Picture, suffix: str) -> bytes:
    """The picture as `png` (200 dots an inch) or `svg`."""
    return pictures(lambda figure: lay_out(figure, picture), size=(9, 2.1 + 0.34 * len(picture.dots)))[suffix]


def lay_out(figure: Figure, picture: Picture) -> None:
    """Axes with the methods, beside them the bars of the groups, around them the words."""
    rows = {dot.name: -place for place, dot in enumerate(picture.dots)}
    widths = [6, max(0.4, 0.3 * len(picture.groups))]
    axes, bars = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    _draw_methods(axes, picture, rows)
    _draw_groups(bars, picture.groups, rows)
    figure.suptitle(textwrap.fill(picture.title, 95), x=0.01, ha="left", fontsize=10)
    figure.supxlabel(textwrap.fill(picture.note, 125), x=0.01, ha="left", fontsize=8)
    if picture.doubts:
        words = f"{', '.join(picture.doubts)}: no result"
        axes.set_title(words, loc="right", fontsize=8.5, bbox=DOUBT_BOX)


def _draw_methods(axes: Axes, picture: Picture, rows: dict[str, int]) -> None:
    if picture.chance is not None:
        axes.axvline(picture.chance, linestyle="--", color=CHANCE, linewidth=1, zorder=1)
    for dot in picture.dots:
        here = rows[dot.name]
        if dot.low is not None and dot.high is not None:
            axes.plot([dot.low, dot.high], [here, here], color=FADED, linewidth=1.2, zorder=2)
        face = "white" if dot.told_apart is False else COLOUR
        axes.plot(dot.value, here, "o", color=COLOUR, markerfacecolor=face, markersize=6, zorder=3)
    axes.set_yticks(list(rows.values()), [textwrap.shorten(name, 60, placeholder=" …") for name in rows])
    axes.set_ylim(min(rows.values()) - 0.6, 0.6)
    axes.set_xlabel(picture.axis)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_groups(axes: Axes, groups: Sequence[tuple[str, tuple[str, ...]]], rows: dict[str, int]) -> None:
    axes.set_axis_off()
    axes.set_xlim(-0.7, max(len(groups) - 0.3, 0.7))
    for place, (letter, members) in enumerate(groups):
        heights = [rows[name] for name in members]
        axes.plot([place] * len(heights), heights, "o-", color="black", linewidth=2.2, markersize=4)
        axes.text(place, max(heights) + 0.28, letter, ha="center", va="bottom", fontsize=9)
