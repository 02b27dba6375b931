"""Figures as they are shown."""

from __future__ import annotations

import pytest

from benchmark.board.digits import rounded


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.9999, 3, ">0.999"),
        (0.9994, 3, "0.999"),
        (1.0, 3, "1.000"),
        (0.0001, 3, "<0.001"),
        (0.0, 3, "0.000"),
        (0.996, 2, ">0.99"),
        (0.7558, 4, "0.7558"),
    ],
)
def test_what_is_not_1_or_0_is_never_shown_as_such(value, digits, shown):
    assert rounded(value, digits) == shown
