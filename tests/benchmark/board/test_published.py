"""docs/paper.md is what the code prints, and says what the figures allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.board.published import PAPER, load_paper, paper_page
from benchmark.submission.files import read_card

PAGE = Path(__file__).parents[3] / "docs" / "paper.md"


def test_the_page_in_the_docs_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == paper_page()


def test_the_papers_figures_are_those_of_its_table():
    paper = load_paper()
    assert [row.kind for row in paper] == ["method"] * 7 + ["ablation"] * 5
    cross, itself = [row for row in paper if row.per_shot]
    assert (cross.name, itself) == ("Cross-species", paper[-1])
    for metric in ("balanced_accuracy", "roc_auc", "pr_auc"):
        per_shot = [getattr(shot, metric) for shot in cross.per_shot]
        assert getattr(cross, metric) == pytest.approx(np.mean(per_shot), abs=6e-5)
        assert getattr(itself, metric) == getattr(cross, metric)
    assert [shot.shots for shot in cross.per_shot] == [2, 3, 4]


def test_the_method_stands_once_among_the_tested():
    assert "+R(Y/N)+H)" not in paper_page()


def test_the_papers_interval_is_that_of_hanley_and_mcneil():
    auc, n = 0.756, 18
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    half = 1.96 * ((auc * (1 - auc) + (n - 1) * (q1 - auc**2 + q2 - auc**2)) / n**2) ** 0.5
    assert f"{auc - half:.2f} to {auc + half:.2f}" in " ".join(read_card(PAPER).note.split())


def test_the_gain_over_the_same_network_without_the_first_stage_is_told_apart_at_no_correlation():
    row = next(line for line in paper_page().splitlines() if line.startswith("| Human-only") and "+0.0067" in line)
    assert row.count("(1.000)") == 3
    assert "> 0.99" in row


def test_rows_at_chance_are_named():
    assert "The ROC-AUC of CSN, Linear probing, Pretrained zero-shot cannot be told from 0.5." in paper_page()
