"""Episodes are drawn from names and a seed: even, disjoint, and the same whatever the order of rows."""

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.episodes import Episode, assert_disjoint, draw_episodes, one_class, permuted, thin_negatives
from protocols.spec import load_protocol
from tasks.errors import BadInput

PATIENT = load_protocol("patient_disjoint")
PAPER = load_protocol("paper")


def clips(**counts):
    """clips(a=(2, 3)): patient a with 2 positive and 3 negative clips."""
    rows = [
        (f"{patient}-{kind}{i}", patient, label)
        for patient, (positive, negative) in counts.items()
        for kind, label, number in (("pos", 1.0, positive), ("neg", 0.0, negative))
        for i in range(number)
    ]
    return pd.DataFrame(rows, columns=["clip_id", "subject_id", "label"])


def twelve():
    return clips(**{f"p{i:02d}": (2, 2) for i in range(12)})


def by_clip(table, column):
    return dict(zip(table["clip_id"], table[column], strict=True))


@pytest.mark.parametrize("shots", [1, 2, 3, 4])
def test_no_donor_is_queried_and_both_classes_have_n_shots(shots):
    table = twelve()
    patient, label = by_clip(table, "subject_id"), by_clip(table, "label")
    for episode in draw_episodes(table, PATIENT, shots, seed=0):
        assert Counter(label[c] for c in episode.support) == {1.0: shots, 0.0: shots}
        donors = {patient[c] for c in episode.support}
        assert len(donors) == min(2, shots)
        assert {patient[c] for c in episode.query} == set(patient.values()) - donors
        for donor in donors:
            assert {label[c] for c in episode.support if patient[c] == donor} == {0.0, 1.0}


@pytest.mark.parametrize("shots", [2, 3, 4])
def test_every_patient_donates_as_often_as_any_other(shots):
    table = twelve()
    patient = by_clip(table, "subject_id")
    episodes = draw_episodes(table, PATIENT, shots, seed=3)
    donated = Counter(p for e in episodes for p in {patient[c] for c in e.support})
    assert len(episodes) == 20
    assert set(donated.values()) == {3, 4}  # 40 places for 12 patients
    assert set(donated) == set(patient.values())


def test_paper_protocol_queries_every_unused_clip():
    table = twelve()
    episodes = draw_episodes(table, PAPER, 3, seed=0)
    assert len(episodes) == 5
    for episode in episodes:
        assert set(episode.support) | set(episode.query) == set(table["clip_id"])
        assert not set(episode.support) & set(episode.query)
        assert len(episode.query) == 48 - 6


@given(order=st.randoms(use_true_random=False), seed=st.integers(0, 5))
def test_row_order_changes_no_episode(order, seed):
    table = twelve()
    rows = list(range(len(table)))
    order.shuffle(rows)
    for spec in (PATIENT, PAPER):
        straight = [e.digest for e in draw_episodes(table, spec, 2, seed)]
        assert [e.digest for e in draw_episodes(table.iloc[rows], spec, 2, seed)] == straight


def test_another_seed_draws_other_episodes():
    first, second = (draw_episodes(twelve(), PATIENT, 2, seed) for seed in (0, 1))
    assert {e.digest for e in first}.isdisjoint(e.digest for e in second)


def test_shots_that_the_donors_cannot_serve_are_refused_with_the_numbers():
    with pytest.raises(BadInput, match=r"needs 1 patients with at least 3 clips of each class.* the data have 0"):
        draw_episodes(twelve(), PATIENT, 5, seed=0)


def test_shots_that_leave_no_query_class_are_refused():
    table = clips(a=(2, 2), b=(2, 2))
    with pytest.raises(BadInput, match="0 positive and 0 negative clips for the query"):
        draw_episodes(table, PATIENT, 2, seed=0)
    with pytest.raises(BadInput, match=r"needs at least 5 positive clips .* the data have 4"):
        draw_episodes(table, PAPER, 4, seed=0)


def test_zero_shots_are_refused():
    with pytest.raises(BadInput, match="--shots 0"):
        draw_episodes(twelve(), PATIENT, 0, seed=0)


def test_thinning_takes_each_patients_own_share_before_patients_without_seizures():
    table = pd.concat([clips(a=(2, 9), b=(1, 9)), clips(**{f"free{i}": (0, 5) for i in range(30)})])
    thin = thin_negatives(table, PATIENT, seed=0)
    negatives = Counter(thin.loc[thin["label"] == 0, "subject_id"])
    assert negatives == {"a": 2, "b": 1}


def test_thinning_fills_up_from_others_where_patients_with_seizures_have_no_negatives():
    thin = thin_negatives(clips(a=(2, 0), b=(2, 0), c=(0, 3), d=(0, 2)), PATIENT, seed=0)
    assert Counter(thin.loc[thin["label"] == 0, "subject_id"]) == {"c": 2, "d": 2}


def test_thinning_does_not_depend_on_row_order_and_null_keeps_all():
    table = clips(a=(2, 9), b=(1, 9))
    pd.testing.assert_frame_equal(thin_negatives(table, PATIENT, 1), thin_negatives(table[::-1], PATIENT, 1))
    every = load_protocol("patient_disjoint", negatives_per_positive=None)
    assert len(thin_negatives(table, every, 1)) == len(table)


def test_run_time_check_catches_a_shared_patient():
    table = twelve()
    patient = by_clip(table, "subject_id")
    honest = draw_episodes(table, PATIENT, 2, seed=0)[0]
    assert assert_disjoint(honest, patient, PATIENT) == {"shared_clips": 0, "shared_patients": 0}
    leaky = draw_episodes(table, PAPER, 2, seed=0)[0]
    assert assert_disjoint(leaky, patient, PAPER)["shared_patients"] > 0
    with pytest.raises(AssertionError, match="share"):
        assert_disjoint(leaky, patient, PATIENT)


def test_digest_covers_the_whole_episode():
    episodes = draw_episodes(twelve(), PATIENT, 2, seed=0)
    assert len({e.digest for e in episodes}) == len(episodes)


def test_donors_are_refused_with_clip_disjointness():
    with pytest.raises(BadInput, match="donors"):
        load_protocol("paper", donors=2)


# Controls


def labelled(**patients):
    """labelled(a="001"): patient a with clips a-0, a-1, a-2, the last one positive."""
    rows = [(f"{who}-{n}", who, float(label)) for who, labels in patients.items() for n, label in enumerate(labels)]
    return pd.DataFrame(rows, columns=["clip_id", "subject_id", "label"])


def dealt(table, index, seed=0):
    """The labels that a control's episode of this index deals, in the order of the table."""
    everything = Episode("p", 1, index, (), tuple(table["clip_id"]))
    positives = permuted(everything, table, seed).dealt_positives
    return "".join(str(int(clip in positives)) for clip in table["clip_id"])


@given(st.dictionaries(st.sampled_from("abcd"), st.text("01", min_size=1, max_size=6), min_size=1), st.integers(0, 99))
def test_dealing_keeps_each_patients_labels_and_asks_nothing_but_names_and_seed(patients, seed):
    table = labelled(x="01", **patients)
    before, after = "".join(str(int(label)) for label in table["label"]), dealt(table, 0, seed)
    for who in table["subject_id"].unique():
        own = table.index[table["subject_id"] == who]
        assert sorted(after[i] for i in own) == sorted(before[i] for i in own)
    assert dealt(table[::-1], 0, seed)[::-1] == after


def test_every_episode_deals_otherwise_and_each_clip_is_positive_half_of_the_time():
    table = labelled(a="00001111", b="00001111")
    deals = [dealt(table, index) for index in range(20)]
    assert len(set(deals)) == 20
    assert all(labels[:8] != labels[8:] for labels in deals)
    # Of 20 fair draws fewer than 3 or more than 17 are one in 2,500.
    assert all(3 <= sum(map(int, clip)) <= 17 for clip in zip(*deals, strict=True))
    assert dealt(table, 0, seed=1) != deals[0]


@pytest.mark.parametrize("spec", [PATIENT, PAPER], ids=["patient", "clip"])
def test_an_episode_of_a_control_keeps_its_shape_and_its_donors(spec):
    table = twelve()
    patient = by_clip(table, "subject_id")
    for shots in (1, 3):
        for episode in draw_episodes(table, spec, shots, seed=0):
            control = permuted(episode, table, 0)
            assert control.digest != episode.digest
            assert len(control.query) == len(episode.query)
            assert not set(control.support) & set(control.query)
            assert sum(clip in control.dealt_positives for clip in control.support) == shots
            assert Counter(map(patient.get, control.support)) == Counter(map(patient.get, episode.support))


def test_patients_with_one_class_keep_their_labels_and_none_with_two_is_refused():
    table = labelled(a="01", b="111", c="0")
    assert one_class(table) == ("b", "c")
    assert {dealt(table, index)[2:] for index in range(9)} == {"1110"}
    with pytest.raises(BadInput, match=r"--permute-labels: none of the 2 patients has clips of both classes"):
        dealt(labelled(b="111", c="0"), 0)


def test_a_result_has_the_digest_that_it_had_before_there_were_controls():
    episode = Episode("p", 1, 0, ("a",), ("b",))
    assert episode.digest == "fb8fb1115cb9f538f99c2e48587a08be98542d62a68428aa52698ad571224e63"
