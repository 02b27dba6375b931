"""How pictures look and are saved: the same bytes for the same drawing, as PNG and SVG.

A picture travels without its caption, so whatever keeps it from being a result stands inside it, in a box like
`DOUBT_BOX`. Names come from strangers: they are plain text, never mathematics.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR, SINGLE, CHANCE = "#0072B2", "#6e6e6e", "#D55E00"  # told apart by the colour-blind, and in grey by their shape
DOUBT_BOX = {"boxstyle": "round", "facecolor": "white", "edgecolor": CHANCE}

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "seizure-bench",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
}
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def pictures(lay_out: Callable[[Figure], None], size: tuple[float, float] | None = None) -> dict[str, bytes]:
    """What `lay_out` draws into a figure of `size` (inches), by file suffix: `png` (200 dots an inch) and `svg`."""
    import matplotlib
    from matplotlib.figure import Figure

    made = {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        lay_out(figure)
        for suffix, metadata in _METADATA.items():
            out = io.BytesIO()
            figure.savefig(out, format=suffix, dpi=200, metadata=metadata)
            made[suffix] = out.getvalue()
    return made
