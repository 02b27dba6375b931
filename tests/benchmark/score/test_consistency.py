"""Likeness of two species: known answers, laws, and p-values that err as often as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.score.consistency import Group, alike, linear_cka, transfer
from benchmark.score.multiple import holm


def cohort(name, random, subjects=6, clips=3, width=5, offset=0.0, between=1.0, directions=None, labelled=False):
    """Clips with a subject's own offset; labels alternate within each subject."""
    spread = np.ones(width) if directions is None else np.asarray(directions, dtype=float)
    bodies = between * random.normal(size=(subjects, 1, width))
    features = ((bodies + random.normal(size=(subjects, clips, width))) * spread + offset).reshape(-1, width)
    owners = [f"{name}{s:02d}" for s in range(subjects) for _ in range(clips)]
    ids = [f"{owner}@{number:03d}" for number, owner in enumerate(owners)]
    labels = np.tile(np.arange(clips) % 2, subjects) if labelled else None
    return Group(name, ids, owners, features, labels)


def planted(name, random, direction=1.0, **kind):
    """Positives lie 20 further along the first axis."""
    group = cohort(name, random, labelled=True, clips=4, **kind)
    return replace(group, features=group.features + 20 * direction * np.outer(group.labels, np.eye(5)[0]))


@pytest.fixture
def random():
    return np.random.default_rng(5)


# --- CKA ---------------------------------------------------------------------------------------------------------


def test_cka_of_a_set_with_itself_is_1_and_of_orthogonal_directions_0(random):
    x = random.normal(size=(7, 4))
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)
    left, right = np.hstack([x, 0 * x]), np.hstack([0 * x, x])
    assert linear_cka(left, right) == pytest.approx(0, abs=1e-12)


def test_cka_worked_by_hand():
    # Covariances (times n) [[2, 2], [2, 2]] and [[2, 0], [0, 2]]: 8 / (4 * sqrt(8)).
    diagonal, round_ = np.array([[1.0, 1], [-1, -1]]), np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert linear_cka(diagonal + 3, round_) == pytest.approx(1 / np.sqrt(2), abs=1e-12)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=25, deadline=None)
def test_cka_ignores_shift_scale_common_rotation_and_repetition(seed, scale, shift):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(6, 4)), random.normal(size=(9, 4)) * [3, 1, 1, 0.2]
    rotation = np.linalg.qr(random.normal(size=(4, 4)))[0]
    moved = linear_cka(scale * x @ rotation + shift, np.concatenate([y, y]) @ rotation)
    assert moved == pytest.approx(linear_cka(x, y), abs=1e-9)


def test_cka_is_that_of_kornblith_with_the_features_as_examples(random):
    # A paired toy: the D features are the examples, the clips of either species its two representations. Centred both
    # ways, so that the textbook's centring over examples changes nothing.
    x, y = random.normal(size=(6, 8)), random.normal(size=(5, 8))
    x, y = (s - s.mean(axis=0) - s.mean(axis=1, keepdims=True) + s.mean() for s in (x, y))
    centring = np.eye(8) - 1 / 8

    def hsic(k, m):
        return np.trace(centring @ k @ centring @ m)

    k, m = x.T @ x, y.T @ y
    assert linear_cka(x, y) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), abs=1e-12)


def test_cka_of_what_does_not_vary_is_not_defined(random):
    x = random.normal(size=(4, 3))
    assert linear_cka(x, np.ones((5, 3)) * 0.1) is None
    assert linear_cka(x[:1], x) is None


def test_few_clips_lower_the_cka_and_the_correction_by_halves_undoes_it(random):
    width = 60
    x, y = (cohort(name, random, subjects=24, clips=2, width=width) for name in "rh")
    whole = alike(x, y, permutations=1).whole
    assert whole.cka.value < 0.6
    assert whole.ceiling_rodent.value < 0.5
    assert whole.corrected.value == pytest.approx(1, abs=0.1)
    other = cohort("h", random, subjects=24, clips=2, width=width, directions=[1] * 30 + [0.05] * 30)
    assert alike(x, other, permutations=1).whole.corrected.value == pytest.approx(np.sqrt(0.5), abs=0.1)


def test_floor_is_the_mean_over_random_orientations(random):
    x, y = (cohort(name, random, directions=[4, 2, 1, 1, 0.5]) for name in "rh")
    rotations = [np.linalg.qr(random.normal(size=(5, 5)))[0] for _ in range(3000)]
    mean = np.mean([linear_cka(x.features, y.features @ q) for q in rotations])
    assert alike(x, y, permutations=1).whole.floor.value == pytest.approx(mean, abs=0.01)


def test_directions_that_differ_within_subjects_are_found_wherever_the_species_lie(random):
    x = cohort("r", random, directions=[5, 1, 1, 1, 1])
    for y, found in (
        (cohort("h", random, offset=100, directions=[1, 1, 1, 1, 5]), True),
        (cohort("h", random, offset=100, directions=[5, 1, 1, 1, 1]), False),
    ):
        assert (alike(x, y, permutations=99).within.cka.p <= 0.05) == found


def test_between_subjects_alone_changes_the_whole_and_not_the_within(random):
    x, y = cohort("r", random), cohort("h", random)
    bodies = np.repeat(50 * random.normal(size=(6, 1)) * np.eye(5)[0], 3, axis=0)
    first, second = (alike(group, y, permutations=19) for group in (x, replace(x, features=x.features + bodies)))
    assert first.within.cka.value == pytest.approx(second.within.cka.value, abs=1e-9)
    assert abs(first.whole.cka.value - second.whole.cka.value) > 0.05


# --- Proxy A-distance ---------------------------------------------------------------------------------------------


def test_a_distance_is_0_for_the_same_clips_and_2_for_species_apart(random):
    x = cohort("r", random)
    twin = replace(x, name="h", subjects=[f"t{s}" for s in x.subjects], clips=[f"t{c}" for c in x.clips])
    assert alike(x, twin, permutations=5).a_distance.value == 0
    apart = alike(x, replace(twin, features=x.features + 30), permutations=99).a_distance
    assert apart.value == 2
    assert apart.p <= 0.02  # a draw may be the labels themselves, or these exchanged


def test_a_subject_is_never_in_training_and_test(random):
    # Each subject has a place of its own and no species has: known subjects would be told perfectly.
    x, y = (cohort(name, random, subjects=8, clips=4, width=40, between=30) for name in "rh")
    assert alike(x, y, permutations=1).a_distance.value < 1


def test_no_subject_gives_more_clips_than_the_sparser_species_has(random):
    x, y = cohort("r", random, clips=9), cohort("h", random, clips=2)
    assert alike(x, y, permutations=1).used == 2


# --- Transfer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["prototype", "linear"])
def test_a_planted_direction_transfers_both_ways_and_a_reversed_one_ranks_backwards(random, rule):
    x, y, back = planted("r", random), planted("h", random, offset=7), planted("h", random, direction=-1)
    for source, target, value in ((x, y, 1), (y, x, 1), (x, back, 0), (back, x, 0)):
        figure = transfer(source, target, rule, permutations=99)
        assert figure.value == value
        assert figure.p == 0.01
        assert figure.low <= value <= figure.high


@pytest.mark.parametrize("rule", ["prototype", "linear"])
def test_where_the_target_lies_changes_nothing_and_the_source_alone_sets_the_scale(random, rule):
    x, y = cohort("r", random, labelled=True), cohort("h", random, labelled=True)
    moved = replace(y, features=y.features + 1000)
    assert transfer(x, y, rule).value == pytest.approx(transfer(x, moved, rule).value, abs=1e-12)


def test_linear_is_scikit_learns_and_prototype_the_nearest_class_mean(random):
    x, y = (cohort(n, random, labelled=True, directions=[9, 1, 1, 0.1, 3]) for n in "rh")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000)).fit(x.features, x.labels)
    expected = roc_auc_score(y.labels, model.decision_function(y.features))
    assert transfer(x, y, "linear", permutations=9).value == pytest.approx(expected, abs=1e-12)
    away = [((y.features - x.features[x.labels == label].mean(axis=0)) ** 2).sum(axis=1) for label in (0, 1)]
    expected = roc_auc_score(y.labels, away[0] - away[1])
    assert transfer(x, y, "prototype", permutations=9).value == pytest.approx(expected, abs=1e-12)


def test_labels_are_permuted_within_subjects_only(random):
    # The score knows the subject and the subject tells the label: within a subject nothing is left to be found.
    y = cohort("h", random, subjects=8, clips=4, between=0)
    labels = np.array([1, 1, 1, 0] * 4 + [1, 0, 0, 0] * 4)
    y = replace(y, labels=labels, features=y.features + 50 * np.repeat([1, 0], 16)[:, None])
    figure = transfer(planted("r", random), y, "prototype", permutations=199)
    assert figure.value > 0.6
    assert figure.null_low > 0.55
    assert figure.p > 0.05


# --- What few subjects cannot tell ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rodents", "humans", "ways", "smallest"), [(2, 2, 6, 2 / 6), (2, 3, 10, 0.1), (3, 3, 20, 0.1)]
)
def test_few_subjects_are_relabelled_in_every_way_and_the_smallest_p_is_told(random, rodents, humans, ways, smallest):
    x, y = cohort("r", random, subjects=rodents), cohort("h", random, subjects=humans, offset=50)
    found = alike(x, y, permutations=999)
    for figure in (found.within.cka, found.a_distance):
        assert figure.relabellings == ways - 1
        assert figure.smallest_p == pytest.approx(smallest)
        assert figure.p * ways == pytest.approx(round(figure.p * ways))
    assert found.a_distance.p == pytest.approx(smallest)


def test_few_clips_are_relabelled_in_every_way(random):
    x = planted("r", random)
    y = cohort("h", random, subjects=2, clips=2, labelled=True)
    y = replace(y, features=y.features + 30 * np.outer(y.labels, np.eye(5)[0]))
    figure = transfer(x, y, "prototype")
    assert (figure.value, figure.relabellings, figure.p, figure.smallest_p) == (1, 3, 0.5, 0.5)


def test_what_cannot_be_said_has_a_reason_and_no_number(random):
    x, y = cohort("r", random, labelled=True), cohort("h", random, labelled=True)
    empty = Group("h", [], [], np.empty((0, 5)), np.empty(0, dtype=int))
    alone = replace(y, subjects=["h00"] * len(y.clips))
    flat = replace(y, features=np.full_like(y.features, 0.1))
    for other, reason in ((empty, "no clip"), (alone, "1 subject"), (flat, "the same for every clip")):
        found = alike(x, other, permutations=9)
        for figure in (found.whole.cka, found.within.cka, found.whole.corrected, found.a_distance):
            assert (figure.value, figure.p) == (None, None)
            assert reason in figure.unsaid
    for source, target, reason in (
        (x, empty, "no positive clip in h"),
        (replace(x, labels=0 * x.labels), y, "no positive clip in r"),
        (x, replace(y, labels=0 * y.labels + 1), "no negative clip in h"),
        (x, alone, "h has 1 subject"),
        (x, flat, "the same for every clip"),
    ):
        for rule in ("prototype", "linear"):
            figure = transfer(source, target, rule)
            assert (figure.value, figure.p) == (None, None)
            assert reason in figure.unsaid


def test_a_rule_that_scores_all_alike_says_nothing(random):
    x = cohort("r", random, labelled=True, clips=2)
    x = replace(x, features=x.features[np.arange(len(x.clips)) // 2 * 2])  # both classes have the same clips
    assert "alike" in transfer(x, cohort("h", random, labelled=True), "prototype").unsaid


def test_subjects_of_one_class_each_give_a_value_and_no_p(random):
    y = cohort("h", random, labelled=True, clips=2)
    y = replace(y, labels=np.repeat([0, 1], 6))
    figure = transfer(planted("r", random), y, "linear")
    assert figure.value is not None
    assert figure.p is None
    assert "nothing to permute" in figure.unsaid


def test_one_clip_a_subject_leaves_nothing_within_and_three_subjects_no_halves(random):
    found = alike(cohort("r", random, clips=1), cohort("h", random, subjects=3, clips=1), permutations=9)
    assert "two clips that differ" in found.within.cka.unsaid
    assert found.whole.cka.value > 0
    assert found.whole.ceiling_rodent.value > 0
    assert "there are 3" in found.whole.ceiling_human.unsaid
    assert found.whole.corrected.unsaid == found.whole.ceiling_human.unsaid


# --- Repeatable ----------------------------------------------------------------------------------------------------


def test_order_of_rows_changes_nothing_and_the_same_seed_gives_the_same_numbers(random):
    x, y = planted("r", random), cohort("h", random, labelled=True, clips=2)
    shuffled = [group.take(random.permutation(len(group.clips))) for group in (x, y)]
    assert alike(x, y, permutations=19, seed=3) == alike(*shuffled, permutations=19, seed=3)
    assert transfer(x, y, "linear", seed=3) == transfer(*shuffled, "linear", seed=3)
    assert alike(x, y, permutations=19, seed=3) != alike(x, y, permutations=19, seed=4)


def test_holm_worked_by_hand():
    assert holm([0.01, None, 0.04, 0.03, 0.9]) == pytest.approx([0.04, None, 0.09, 0.09, 0.9], nan_ok=False)


# --- Under a true null ----------------------------------------------------------------------------------------------


def rejected(ps):
    return np.mean(np.array(ps) <= 0.05)


def test_cka_within_subjects_errs_as_often_as_it_says(monkeypatch):
    # Species far apart, subjects unlike each other, other numbers of subjects and clips: only the directions are alike.
    monkeypatch.setattr("benchmark.score.consistency._a_distance", lambda *_: None)
    monkeypatch.setattr("benchmark.score.consistency.HALVES", 1)
    monkeypatch.setattr("benchmark.score.consistency.Alike", lambda used, whole, within, distance: within)
    ps = []
    for number in range(200):
        random = np.random.default_rng([number, 1])
        x = cohort("r", random, subjects=5, clips=6, width=30, offset=9, between=2)
        ps.append(
            alike(x, cohort("h", random, subjects=8, clips=2, width=30, between=2), permutations=99, seed=number).cka.p
        )
    assert 0.01 <= rejected(ps) <= 0.08
    assert np.mean(ps) == pytest.approx(0.5, abs=0.07)


def test_the_domain_test_errs_as_often_as_it_says(monkeypatch):
    # A nearest-mean classifier stands in for the slower regression: folds and relabellings are what is tried here.
    def nearest_mean(features, labels, asked, class_weight):
        a, b = (features[labels == kind].mean(axis=0) for kind in (False, True))
        return (asked - (a + b) / 2) @ (b - a)

    monkeypatch.setattr("benchmark.score.consistency._logits", nearest_mean)
    monkeypatch.setattr("benchmark.score.consistency.HALVES", 1)
    ps = []
    for number in range(200):
        random = np.random.default_rng([number, 2])
        x, y = (cohort(n, random, subjects=s, clips=k, between=2) for n, s, k in (("r", 4, 5), ("h", 6, 3)))
        ps.append(alike(x, y, permutations=59, seed=number).a_distance.p)
    assert 0.01 <= rejected(ps) <= 0.08
    assert 0.43 < np.mean(ps) < 0.65  # ties of so coarse an error make it cautious


@pytest.mark.parametrize("rule", ["prototype", "linear"])
def test_the_test_of_transfer_errs_as_often_as_it_says(rule):
    # The source has a direction, the target has strong subjects, prevalence differs between them, and no effect.
    source = planted("r", np.random.default_rng(0))
    ps = []
    for number in range(200):
        random = np.random.default_rng([number, 3])
        y = cohort("h", random, subjects=8, clips=4, between=3)
        labels = np.concatenate([random.permutation([1] * k + [0] * (4 - k)) for k in (1, 2, 3, 2, 1, 3, 2, 2)])
        ps.append(transfer(source, replace(y, labels=labels), rule, permutations=99, seed=number).p)
    assert 0.01 <= rejected(ps) <= 0.08
    assert np.mean(ps) == pytest.approx(0.5, abs=0.07)
