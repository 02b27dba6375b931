"""Figures as they are shown on the board: `rounded(0.98765, 3) -> "0.988"`; CSV and JSON hold them whole."""

from __future__ import annotations


def rounded(value: float, digits: int) -> str:
    """To so many places; what is not 1 or 0 is never shown as such: `>0.999`, `<0.001`."""
    text = f"{value:.{digits}f}"
    if value < 1 <= float(text):
        return f">{1 - 10**-digits:.{digits}f}"
    return f"<{10**-digits:.{digits}f}" if float(text) == 0 < value else text
