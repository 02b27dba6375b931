"""What a control scores: each episode alone, the mean over them, Student's t, and no verdict where there is none."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.score.control import mean_of_episodes, score_control
from protocols.episodes import draw_episodes, permuted
from protocols.spec import load_protocol

CLIPS = pd.DataFrame(
    [(f"{who}{n}", who, float(n < 2)) for who in "abcdefgh" for n in range(4)],
    columns=["clip_id", "subject_id", "label"],
)


def control(score, episodes=30, shots=(1, 2)):
    """A control in which a method gives `score(clip, episode)` to the clips of every query."""
    spec = load_protocol("patient_disjoint", episodes=episodes)
    drawn = [permuted(one, CLIPS, 0) for n in shots for one in draw_episodes(CLIPS, spec, n, 0)]
    rows = [("method", one.shots, one.index, 0, clip, float(score(clip, one))) for one in drawn for clip in one.query]
    made = pd.DataFrame(rows, columns=["method", "shots", "episode", "replicate", "clip_id", "score"])
    return made, {(one.shots, one.index): one.dealt_positives for one in drawn}


def scored(made, positives):
    (found,) = score_control(made, CLIPS, made.drop(columns="score"), positives)
    return found


def test_an_oracle_of_the_dealt_labels_scores_1_and_one_of_the_clips_own_labels_does_not():
    leak = scored(*control(lambda clip, episode: clip in episode.dealt_positives)).metrics["roc_auc"]
    assert (leak.mean, leak.low, leak.high, leak.p, leak.holds_half) == (1.0, None, None, 2.0**-59, None)
    own = dict(zip(CLIPS["clip_id"], CLIPS["label"], strict=True))
    honest = scored(*control(lambda clip, _: own[clip])).metrics["roc_auc"]
    assert abs(honest.mean - 0.5) < 0.1
    assert honest.holds_half


def test_a_small_leak_is_told_from_none():
    def leaking(clip, episode):
        return 0.5 + 0.4 * (clip == min(episode.dealt_positives))

    found = scored(*control(leaking)).metrics["roc_auc"]
    assert found.mean > 0.5
    assert found.holds_half is False
    assert found.p < 0.001


def test_any_fixed_scores_hold_half_about_nineteen_times_in_twenty():
    """Forty sets of fixed random scores: 2 misses are expected, 7 or more are one in 250 (binomial)."""
    holds = []
    for seed in range(40):
        score_of = dict(zip(CLIPS["clip_id"], np.random.default_rng(seed).random(len(CLIPS)), strict=True))
        holds.append(scored(*control(lambda clip, _, of=score_of: of[clip])).metrics["roc_auc"].holds_half)
    assert holds.count(False) < 7


def test_a_constant_score_is_known_to_be_half():
    found = scored(*control(lambda *_: 0.7))
    for figure in found.metrics.values():
        assert (figure.mean, figure.low, figure.high, figure.p) == (0.5, 0.5, 0.5, 1.0)


def test_mean_interval_and_p_are_students():
    values = np.array([0.4, 0.5, 0.75])
    found = mean_of_episodes(values)
    reference = stats.ttest_1samp(values, 0.5)
    low, high = reference.confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((0.55, low, high), abs=1e-12)
    assert found.p == pytest.approx(reference.pvalue, abs=1e-12)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_one_episode_or_none_gives_no_interval(values):
    found = mean_of_episodes(np.array(values))
    assert (found.low, found.high, found.p, found.holds_half) == (None, None, None, None)


def test_episodes_with_a_missing_prediction_are_left_out_and_counted():
    made, positives = control(lambda clip, episode: clip in episode.dealt_positives, episodes=3, shots=(1,))
    (found,) = score_control(made.iloc[1:], CLIPS, made.drop(columns="score"), positives)
    assert (found.missing_predictions, found.metrics["roc_auc"].episodes) == (1, 2)


def test_replicates_are_averaged_within_an_episode_and_p_is_holms_over_methods():
    made, positives = control(lambda clip, _: ord(clip[0]) % 7 / 7, episodes=4, shots=(1,))
    twice = pd.concat([made, made.assign(replicate=1)])
    both = pd.concat([twice, twice.assign(method="other")])
    first, second = score_control(both, CLIPS, both.drop(columns="score"), positives)
    assert first.metrics["roc_auc"].mean == scored(made, positives).metrics["roc_auc"].mean
    assert first.metrics["roc_auc"].episodes == 4
    assert second.metrics["roc_auc"].p_holm == min(1.0, 2 * second.metrics["roc_auc"].p)


def test_intervals_of_several_methods_hold_together():
    """Two methods: each interval has level 97.5%, as t of 29 degrees of freedom and 0.9875 gives it."""
    made, positives = control(lambda clip, _: ord(clip[0]) % 7 / 7, shots=(1,))
    both = pd.concat([made, made.assign(method="other")])
    alone = scored(made, positives).metrics["roc_auc"]
    together = score_control(both, CLIPS, both.drop(columns="score"), positives)[0].metrics["roc_auc"]
    wider = stats.t.ppf(0.9875, 29) / stats.t.ppf(0.975, 29)
    assert together.high - together.mean == pytest.approx(wider * (alone.high - alone.mean), abs=1e-12)
