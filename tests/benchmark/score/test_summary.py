"""Scoring a run: the worked example of docs/statistics.md, missing work, replicates, and refusals."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.score.metrics import METRICS, weighted_roc_auc
from benchmark.score.summary import RunScores, score_run
from benchmark.score.uncertainty import CLIPS
from tasks.errors import BadInput

STATISTICS = Path(__file__).parents[3] / "docs" / "statistics.md"

CLIPS_TABLE = pd.DataFrame(
    {
        "clip_id": ["a+", "a-", "b+", "b-", "c+", "c-", "a?"],
        "subject_id": ["a", "a", "b", "b", "c", "c", "a"],
        "label": [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, np.nan],
    }
)
EPISODES = [
    {"a+": 0.9, "a-": 0.2, "b+": 0.4, "b-": 0.6},
    {"b+": 0.8, "b-": 0.4, "c+": 0.5, "c-": 0.1},
]


def rows(episodes, method="m", shots=2, replicate=0):
    return pd.DataFrame(
        [
            {"method": method, "shots": shots, "episode": e, "replicate": replicate, "clip_id": c, "score": s}
            for e, scores in enumerate(episodes)
            for c, s in scores.items()
        ]
    )


def only(scores: RunScores):
    (method,) = scores.methods
    return method


def random_run(methods, shots=(2, 3, 4), episodes=20, clips=48, replicates=1, seed=0):
    table = pd.DataFrame(
        {
            "clip_id": [f"c{i:02d}" for i in range(clips)],
            "subject_id": [f"p{i // 4:02d}" for i in range(clips)],
            "label": [float(i % 2) for i in range(clips)],
        }
    )
    index = pd.MultiIndex.from_product(
        [[f"m{i}" for i in range(methods)], shots, range(episodes), range(replicates), table["clip_id"]],
        names=["method", "shots", "episode", "replicate", "clip_id"],
    )
    predictions = index.to_frame(index=False)
    predictions["score"] = np.random.default_rng(seed).random(len(predictions))
    return predictions, table


def test_the_worked_example_of_the_statistics_page():
    scores = only(score_run(rows(EPISODES), CLIPS_TABLE)).per_shot[0]
    by_hand = {
        "balanced_accuracy": (1 + 2 / 3) / 2,
        "roc_auc": 8.5 / 9,
        "pr_auc": (1 + 1 + 3 / 4) / 3,
        "brier": 0.72 / 6,
    }
    text = STATISTICS.read_text(encoding="utf-8")
    for metric, value in by_hand.items():
        assert scores.metrics[metric].per_clip.value == pytest.approx(value, abs=1e-12)
        assert f"{value:.4f}" in text
    episodes = scores.metrics["roc_auc"].per_episode
    assert (episodes.mean, episodes.sd, episodes.episodes) == pytest.approx((0.875, 0.25 / 2**0.5, 2))
    assert "0.875" in text
    assert f"{episodes.sd:.4f}" in text
    interval = scores.metrics["roc_auc"].per_clip.interval
    assert (interval.source, interval.patients, interval.clips) == (CLIPS, 3, 6)
    assert f"[{interval.low:.2f}, {interval.high:.2f}]" in text
    means, labels = np.array([0.9, 0.2, 0.6, 0.5, 0.5, 0.1]), np.array([1.0, 0.0] * 3)
    drawn = weighted_roc_auc(labels, means, np.array([[0.0, 0.0, 2.0, 2.0, 1.0, 1.0]]))[0]
    assert drawn == pytest.approx(8 / 9)
    assert f"{drawn:.4f}" in text


def test_counts_of_the_worked_example():
    counts = only(score_run(rows(EPISODES), CLIPS_TABLE)).per_shot[0].counts
    assert counts.model_dump() == {
        "positive_clips": 3,
        "negative_clips": 3,
        "prevalence": 0.5,
        "patients": 3,
        "episodes": 2,
        "predictions": 8,
        "missing_predictions": 0,
        "missing_units": 0,
        "unscored_clips": 0,
    }


def test_averages_over_shots_are_plain_means_of_the_shots():
    reverse = [{clip: 1 - score for clip, score in episode.items()} for episode in EPISODES]
    method = only(score_run(pd.concat([rows(EPISODES), rows(reverse, shots=4)]), CLIPS_TABLE))
    two, four = (scores.metrics["roc_auc"] for scores in method.per_shot)
    averaged = method.averaged.metrics["roc_auc"]
    assert method.averaged.shots == (2, 4)
    assert (two.per_clip.value, four.per_clip.value) == pytest.approx((8.5 / 9, 0.5 / 9))
    assert averaged.per_clip.value == pytest.approx(0.5)
    assert averaged.per_episode.mean == pytest.approx(0.5)
    assert averaged.per_episode.sd == pytest.approx((two.per_episode.sd + four.per_episode.sd) / 2)
    assert averaged.per_episode.episodes == 4
    assert method.averaged.counts.episodes == 4


def test_replicates_are_scored_apart_and_averaged():
    # Scored apart: 1 and 0. Scores averaged first would tie everything, which also gives 0.5, but a Brier of 0.25.
    right = [{"a+": 1.0, "a-": 0.0}]
    wrong = [{"a+": 0.0, "a-": 1.0}]
    method = only(score_run(pd.concat([rows(right), rows(wrong, replicate=1)]), CLIPS_TABLE))
    scores = method.per_shot[0].metrics
    assert method.replicates == 2
    assert scores["roc_auc"].per_clip.value == 0.5
    assert scores["brier"].per_clip.value == 0.5
    assert scores["roc_auc"].per_episode.model_dump() == {"mean": 0.5, "sd": None, "episodes": 1}


def test_the_spread_over_seeds_is_that_of_their_figures_and_apart_from_the_other_two():
    # Seeds score 1 and 0: SD 1 / sqrt(2). At the other number of shots they score 0 and 1: on average no spread.
    right, wrong = [{"a+": 1.0, "a-": 0.0}], [{"a+": 0.0, "a-": 1.0}]
    seeds = [rows(right), rows(wrong, replicate=1), rows(wrong, shots=4), rows(right, shots=4, replicate=1)]
    method = only(score_run(pd.concat(seeds), CLIPS_TABLE))
    spreads = [scores.metrics["roc_auc"].across_seeds.sd for scores in (*method.per_shot, method.averaged)]
    assert spreads == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])


def test_one_seed_has_no_spread():
    spread = only(score_run(rows(EPISODES), CLIPS_TABLE)).averaged.metrics["roc_auc"].across_seeds
    assert spread.model_dump() == {"sd": None, "seeds": 1}


def test_sd_over_episodes_is_taken_within_each_replicate():
    # Both replicates swing between 1 and 0, out of step. The SD of their means would be 0, the pooled SD 0.577.
    up, down = {"a+": 1.0, "a-": 0.0}, {"a+": 0.0, "a-": 1.0}
    method = only(score_run(pd.concat([rows([up, down]), rows([down, up], replicate=1)]), CLIPS_TABLE))
    episodes = method.per_shot[0].metrics["roc_auc"].per_episode
    assert (episodes.mean, episodes.sd) == pytest.approx((0.5, 0.5**0.5))


def test_an_episode_with_one_class_counts_for_clips_but_not_for_episodes():
    scores = only(score_run(rows([EPISODES[0], {"c+": 0.7}]), CLIPS_TABLE)).per_shot[0]
    assert scores.counts.episodes == 2
    assert scores.metrics["roc_auc"].per_episode.episodes == 1
    assert scores.counts.positive_clips == 3


def test_one_class_only_is_null_everywhere_and_strict_json():
    scores = score_run(rows([{"a+": 0.9, "b+": 0.1}]), CLIPS_TABLE)
    for metric in METRICS:
        score = only(scores).averaged.metrics[metric]
        assert (score.per_clip.value, score.per_clip.interval, score.per_episode.mean) == (None, None, None)
    parsed = json.loads(scores.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert RunScores.model_validate(parsed) == scores


def test_row_order_and_index_change_no_byte():
    predictions, clips = random_run(3, episodes=5)
    plain = score_run(predictions, clips, resamples=200).to_json()
    shuffled = score_run(
        predictions.sample(frac=1, random_state=1), clips.sample(frac=1, random_state=2), resamples=200
    )
    assert shuffled.to_json() == plain


def test_order_of_episodes_changes_no_byte():
    predictions, clips = random_run(1, episodes=7)
    renumbered = predictions.assign(episode=6 - predictions["episode"])
    found = [score_run(table, clips, resamples=200) for table in (predictions, renumbered)]
    for metric in METRICS:
        first, second = (only(scores).averaged.metrics[metric].per_clip for scores in found)
        assert first == second


def test_same_seed_same_bytes_and_other_seed_other_intervals_only():
    predictions, clips = random_run(2, episodes=3)
    first, again, other = (score_run(predictions, clips, resamples=200, seed=seed) for seed in (0, 0, 1))
    assert first.to_json() == again.to_json()
    assert first.to_json() != other.to_json()
    assert only_values(first) == only_values(other)


def only_values(scores: RunScores):
    return [method.averaged.metrics[metric].per_clip.value for method in scores.methods for metric in METRICS]


def test_a_constant_score_stays_tied_whatever_the_number_of_episodes():
    # 0.1 summed 3 times and divided by 3 is not 0.1; a naive mean would rank clips by how often they were queried.
    episodes = [{"a+": 0.1, "a-": 0.1, "b-": 0.1}, {"a+": 0.1, "b-": 0.1}, {"a+": 0.1, "b+": 0.1}]
    scores = only(score_run(rows(episodes), CLIPS_TABLE)).averaged.metrics
    assert scores["roc_auc"].per_clip.value == 0.5
    assert scores["roc_auc"].per_clip.interval.low == 0.5


def test_a_method_that_missed_an_episode_says_so_and_is_scored_on_the_rest():
    whole, holed = rows(EPISODES, method="whole"), rows(EPISODES, method="holed")
    scores = score_run(pd.concat([whole, holed[holed["episode"] == 0]]), CLIPS_TABLE)
    by_name = {method.method: method.averaged for method in scores.methods}
    assert by_name["whole"].counts.missing_predictions == 0
    counts = by_name["holed"].counts
    assert (counts.episodes, counts.predictions, counts.missing_predictions) == (2, 4, 4)
    assert (counts.missing_units, counts.unscored_clips) == (1, 2)
    assert by_name["holed"].metrics["roc_auc"].per_clip.value == 0.75


def test_a_method_without_one_whole_shot_has_no_average():
    both = pd.concat([rows(EPISODES, "whole"), rows(EPISODES, "whole", shots=3)])
    scores = score_run(pd.concat([both, rows(EPISODES, "holed")]), CLIPS_TABLE)
    holed = scores.methods[0]
    assert holed.method == "holed"
    assert [shot.metrics["roc_auc"].per_clip.value for shot in holed.per_shot] == [pytest.approx(8.5 / 9), None]
    assert holed.averaged.metrics["roc_auc"].per_clip.model_dump() == {"value": None, "interval": None}


def test_a_method_whose_units_all_failed_is_reported_when_it_was_planned():
    planned = pd.concat([rows(EPISODES, "ran"), rows(EPISODES, "failed")]).drop(columns="score")
    scores = score_run(rows(EPISODES, "ran"), CLIPS_TABLE, planned)
    failed = scores.methods[0]
    assert failed.method == "failed"
    assert (failed.averaged.counts.predictions, failed.averaged.counts.missing_predictions) == (0, 8)
    assert failed.averaged.metrics["brier"].per_clip.value is None


def test_a_clip_that_one_replicate_lacks_is_left_out_of_all():
    short = [{clip: score for clip, score in EPISODES[0].items() if clip != "a+"}, EPISODES[1]]
    both = pd.concat([rows(EPISODES), rows(short, replicate=1)])
    counts = only(score_run(both, CLIPS_TABLE)).averaged.counts
    assert (counts.positive_clips, counts.missing_predictions, counts.unscored_clips) == (2, 1, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: pd.concat([p, p.iloc[:1]]), "twice"),
        (lambda p: p.assign(score=p["score"].where(p["clip_id"] != "a+", np.nan)), "not in [0, 1]"),
        (lambda p: p.assign(score=p["score"] + 0.2), "not in [0, 1]"),
        (lambda p: p.assign(clip_id=p["clip_id"].replace("a+", "elsewhere")), "elsewhere"),
        (lambda p: p.assign(clip_id=p["clip_id"].replace("a+", "a?")), "no labelled clip"),
        (lambda p: p.iloc[:0], "none to score"),
        (lambda p: p.drop(columns="replicate"), "column replicate is missing"),
    ],
)
def test_unusable_predictions_are_refused_with_the_row_named(change, words):
    with pytest.raises(BadInput) as refusal:
        score_run(change(rows(EPISODES)), CLIPS_TABLE)
    assert words in str(refusal.value)
    assert str(refusal.value).startswith("predictions:")


def test_a_prediction_that_was_not_planned_is_refused():
    planned = rows(EPISODES[:1]).drop(columns="score")
    with pytest.raises(BadInput, match=r"episode 1, .* was not planned"):
        score_run(rows(EPISODES), CLIPS_TABLE, planned)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: pd.concat([c, c.iloc[:1]]), "twice"),
        (lambda c: c.assign(label=c["label"].replace(1.0, 2.0)), "neither 1, 0 nor empty"),
        (lambda c: c.drop(columns="subject_id"), "column subject_id is missing"),
    ],
)
def test_unusable_clips_are_refused(change, words):
    with pytest.raises(BadInput, match=words):
        score_run(rows(EPISODES), change(CLIPS_TABLE))


def test_perfect_separation_is_one_with_a_guarded_interval():
    predictions, clips = random_run(1, episodes=2)
    predictions["score"] = predictions["clip_id"].map(clips.set_index("clip_id")["label"])
    score = only(score_run(predictions, clips)).averaged.metrics["roc_auc"].per_clip
    assert score.value == 1.0
    assert (score.interval.low, score.interval.high) == pytest.approx((0.05 ** (1 / 12), 1.0))


def test_ten_methods_of_three_shots_and_twenty_episodes_score_in_seconds():
    predictions, clips = random_run(10)
    start = time.perf_counter()
    score_run(predictions, clips)
    assert time.perf_counter() - start < 3.0
