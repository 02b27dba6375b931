"""docs/paper.md is what the code prints, and says what the figures allow."""

from __future__ import annotations

from pathlib import Path

from benchmark.board.published import paper_page

PAGE = Path(__file__).parents[3] / "docs" / "paper.md"


def test_the_page_in_the_docs_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == paper_page()


def test_the_gain_over_the_same_network_without_the_first_stage_is_told_apart_at_no_correlation():
    row = next(line for line in paper_page().splitlines() if line.startswith("| Human-only") and "+0.0067" in line)
    assert row.count("(1.000)") == 3
    assert "> 0.99" in row


def test_rows_at_chance_are_named():
    assert "The ROC-AUC of CSN, Linear probing, Pretrained zero-shot cannot be told from 0.5." in paper_page()
