"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, word: str) -> str:
    """`1 pair`, `1,225 pairs`."""
    return f"{number:,} {word}{'s' * (number != 1)}"
