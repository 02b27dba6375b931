"""Predictions are scored again with the labels at hand; claims must hold, and scoring is kept by content."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.submission import rescore
from benchmark.submission.card import Method
from benchmark.submission.rescore import rescored, scored
from benchmark.submission.verify import Verified, read_references, verify
from tasks.errors import BadInput
from tests.benchmark.submission.synthetic import Drawn, claims, draw_track, predictions_of, withheld, write_files
from tests.benchmark.submission.tampering import edit_card, edit_json

RESULTS = "results.json"


def verified(folder: Path) -> Verified:
    return verify(folder, read_references(folder.parent / "references"))


def roc_auc(predictions: pd.DataFrame, drawn: Drawn) -> float:
    """Share of pairs won by mean scores over episodes, averaged over shots: by counting pairs."""
    values = []
    for _, rows in predictions.groupby("shots"):
        means = rows.groupby("clip")["score"].mean()
        positive = [m for clip, m in means.items() if drawn.reference.label_of[clip] == 1]
        negative = [m for clip, m in means.items() if drawn.reference.label_of[clip] == 0]
        won = [(p > n) + 0.5 * math.isclose(p, n, abs_tol=1e-15) for p in positive for n in negative]
        values.append(sum(won) / len(won))
    return sum(values) / len(values)


def test_figures_are_those_of_the_predictions(folder: Path, drawn: Drawn, tmp_path: Path) -> None:
    found = rescored(verified(folder), tmp_path / "cache")
    assert found.scores.method == "made-up 1"
    value = found.scores.averaged.metrics["roc_auc"].per_clip.value
    assert value == pytest.approx(roc_auc(predictions_of(drawn, 1), drawn), abs=1e-12)
    assert found.claims_off_by == 0
    assert found.scores.averaged.counts.missing_predictions == 0


def test_a_claim_that_does_not_hold_is_refused_with_both_values(folder: Path, tmp_path: Path) -> None:
    held = json.loads((folder / RESULTS).read_text())["per_shot"][1]["metrics"]["roc_auc"]["value"]

    def claim(value: float | None, **rest: object) -> None:
        edit_json(folder, RESULTS, lambda c: c["per_shot"][1]["metrics"]["roc_auc"].update(value=value, **rest))

    claim(held + 9e-10)
    assert rescored(verified(folder), tmp_path).claims_off_by == pytest.approx(9e-10, rel=1e-3)
    claim(held + 2e-9)
    with pytest.raises(BadInput, match=r"results\.json: shots 3: roc_auc") as refusal:
        rescored(verified(folder), tmp_path)
    assert repr(held) in str(refusal.value)
    assert repr(held + 2e-9) in str(refusal.value)
    claim(None, interval=None)
    with pytest.raises(BadInput, match="roc_auc is None, scored again it is"):
        rescored(verified(folder), tmp_path)


def test_a_claimed_interval_that_does_not_hold_is_refused_with_both(folder: Path, tmp_path: Path) -> None:
    held = json.loads((folder / RESULTS).read_text())["averaged"]["metrics"]["brier"]["interval"]

    def claim(**ends: float) -> None:
        edit_json(folder, RESULTS, lambda c: c["averaged"]["metrics"]["brier"].update(interval={**held, **ends}))

    claim(low=held["low"] - 9e-7)
    rescored(verified(folder), tmp_path)
    for end in ("low", "high"):
        claim(**{end: held[end] + (2e-6 if end == "high" else -2e-6)})
        with pytest.raises(BadInput, match="averaged over shots 2, 3, 4: brier: the interval is") as refusal:
            rescored(verified(folder), tmp_path)
        assert f"scored again it is {held['low']!r} to {held['high']!r}" in str(refusal.value)
    edit_json(folder, RESULTS, lambda c: c["averaged"]["metrics"]["brier"].update(interval=None))
    with pytest.raises(BadInput, match="brier: the interval is null, scored again"):
        rescored(verified(folder), tmp_path)


def test_a_figure_may_be_suppressed_for_few_patients_alone(folder: Path, tmp_path: Path) -> None:
    held = json.loads((folder / RESULTS).read_text())["per_shot"][1]["metrics"]["roc_auc"]["value"]
    hidden = {"value": None, "interval": None, "suppressed": True}
    edit_json(folder, RESULTS, lambda c: c["per_shot"][1]["metrics"]["roc_auc"].update(hidden))
    with pytest.raises(BadInput, match="shots 3: roc_auc is suppressed, scored again it is") as refusal:
        rescored(verified(folder), tmp_path)
    assert repr(held) in str(refusal.value)
    for positive, allowed in ((4, True), (5, False)):
        drawn = draw_track(with_positives=positive)
        table, root = predictions_of(drawn, 1), tmp_path / str(positive)
        write_files(root, drawn, table, withheld(drawn), Method(name="m", baseline="m"))
        found = verify(root, {drawn.reference.track.digest: drawn.reference})
        if allowed:
            assert rescored(found, tmp_path / "cache").claims_off_by == 0
        else:
            with pytest.raises(BadInput, match="is suppressed"):
                rescored(found, tmp_path / "cache")


@pytest.mark.parametrize(
    ("field", "told"), [("patients", 11), ("positive_clips", 23), ("negative_clips", 23), ("missing_predictions", 1)]
)
def test_a_count_that_does_not_hold_is_refused(folder: Path, tmp_path: Path, field: str, told: int) -> None:
    edit_json(folder, RESULTS, lambda c: c["averaged"].update({field: told}))
    with pytest.raises(BadInput, match=f"averaged over shots 2, 3, 4: {field} is {told}, counted again it is"):
        rescored(verified(folder), tmp_path)


def test_scores_are_kept_by_content_whatever_the_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rescored(verified(root / "made-up-0001"), tmp_path)
    kept = list((tmp_path / "scores").iterdir())
    assert len(kept) == 1

    def never(*_: object) -> None:
        raise AssertionError("scored twice")

    monkeypatch.setattr(rescore, "scored", never)
    edit_card(root / "made-up-0001", lambda card: card["method"].update(name="another name"))
    again = rescored(verified(root / "made-up-0001"), tmp_path)
    assert again.scores.method == "another name"
    assert again.scores.model_copy(update={"method": first.scores.method}) == first.scores
    assert again.curves == first.curves
    with pytest.raises(AssertionError, match="scored twice"):
        rescored(verified(root / "made-up-0002"), tmp_path)


def test_damaged_kept_scores_are_made_again(folder: Path, tmp_path: Path) -> None:
    first = rescored(verified(folder), tmp_path)
    (path,) = (tmp_path / "scores").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert rescored(verified(folder), tmp_path) == first
    assert path.read_bytes() == whole


def test_other_labels_are_another_entry(folder: Path, tmp_path: Path) -> None:
    first = rescored(verified(folder), tmp_path / "cache")
    reference = next((folder.parent / "references").iterdir())
    text = (reference / "clips.csv").read_text()
    flipped = text.replace(",0\n", ",x\n").replace(",1\n", ",0\n").replace(",x\n", ",1\n")
    (reference / "clips.csv").write_text(flipped)
    with pytest.raises(BadInput, match="scored again it is"):
        rescored(verified(folder), tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "scores").iterdir())) == 2
    assert first.scores.averaged.metrics["roc_auc"].per_clip.value is not None


def test_averages_are_over_the_boards_shots_where_there_are_more() -> None:
    drawn = draw_track(3, shots=(1, 2, 3, 4), episodes=6)
    table = predictions_of(drawn, 5)
    every, board = scored(table, drawn.reference), scored(table[table["shots"] > 1], drawn.reference)
    assert [s.shots for s in every.scores.per_shot] == [(1,), (2,), (3,), (4,)]
    assert every.scores.averaged == board.scores.averaged
    assert every.scores.worst_patient == board.scores.worst_patient
    assert every.curves == board.curves


def test_curves_are_monotone_reach_their_corners_and_hold_the_area(drawn: Drawn) -> None:
    found = scored(predictions_of(drawn, 7), drawn.reference)
    roc, curves = np.array(found.curves.roc), found.curves
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()
    recall = [r for r, _ in curves.pr]
    assert recall == sorted(recall)
    assert recall[-1] == 1
    assert sum(b.clips for b in curves.reliability) == 48
    assert len(curves.patients) == 12
    assert list(curves.patients) == sorted(curves.patients, key=lambda auc: (auc is None, auc))


def test_a_constant_score_has_a_figure_of_one_half(drawn: Drawn, tmp_path: Path) -> None:
    table = predictions_of(drawn, 1).assign(score=0.5)
    method = Method(name="even", baseline="chance")
    write_files(tmp_path / "even", drawn, table, claims(table, drawn.reference), method)
    found = rescored(verify(tmp_path / "even", {drawn.reference.track.digest: drawn.reference}), tmp_path / "cache")
    assert found.scores.averaged.metrics["roc_auc"].per_clip.value == 0.5
    assert found.curves.roc == ((0.0, 0.0), (1.0, 1.0))
