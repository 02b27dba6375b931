"""Windows are labelled by rule; each case here can be checked on paper."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import BadInput
from tasks.spec import TaskSpec, load_task
from tasks.windows import CLIP_COLUMNS, Rule, kept, label_windows

SPEC = load_task("forecast_5s")


def recordings(duration_s=300.0, **changes):
    row = {"recording_id": "r", "subject_id": "p", "species": "human", "split": "evaluate", "duration_s": duration_s}
    return pd.DataFrame([{**row, **changes}])


def events(*spans, kind="clinical", event_type="sz"):
    rows = [("r", onset, end - onset, event_type, kind) for onset, end in spans]
    return pd.DataFrame(rows, columns=["recording_id", "onset_s", "duration_s", "event_type", "onset_type"]).astype(
        {"onset_s": float, "duration_s": float}
    )


def watched(*spans):
    rows = [("r", start, end) for start, end in spans or [(0, 300)]]
    return pd.DataFrame(rows, columns=["recording_id", "start_s", "end_s"])


def rule_at(clips, start_s):
    return clips.set_index("start_s").loc[start_s, "rule_id"]


def before_thinning(start_s, seizures, spec=SPEC, **tables):
    """The rule of the one window that starts at `start_s`, undisturbed by its neighbours."""
    one = spec.model_copy(update={"stride_s": 10.0})
    clips = label_windows(
        tables.get("recordings", recordings()), seizures, tables.get("watched", watched()), one, "evaluate"
    )
    return rule_at(clips, start_s)


def test_onset_at_the_end_of_the_horizon_is_positive_and_just_beyond_it_is_not():
    assert before_thinning(100.0, events((110, 130))) == Rule.PRE_ICTAL
    assert before_thinning(100.0, events((110.001, 130))) == Rule.TOO_CLOSE_TO_SEIZURE


def test_window_that_ends_at_the_onset_is_left_out():
    assert before_thinning(100.0, events((105, 130))) == Rule.TOO_CLOSE_TO_SEIZURE
    assert before_thinning(100.0, events((105.001, 130))) == Rule.PRE_ICTAL


def test_sph_shifts_the_horizon():
    later = SPEC.model_copy(update={"sph_s": 2.0})
    assert before_thinning(100.0, events((107, 130)), later) == Rule.TOO_CLOSE_TO_SEIZURE
    assert before_thinning(100.0, events((107.5, 130)), later) == Rule.PRE_ICTAL
    assert before_thinning(100.0, events((112, 130)), later) == Rule.PRE_ICTAL


def test_ictal_and_post_ictal_time_is_never_in_a_forecasting_window():
    assert before_thinning(100.0, events((104.9, 130))) == Rule.TOUCHES_ICTAL
    assert before_thinning(130.0, events((104, 130))) == Rule.TOUCHES_POST_ICTAL
    assert before_thinning(190.0, events((104, 130))) == Rule.TOO_CLOSE_TO_SEIZURE


def test_window_before_a_second_seizure_but_after_the_first_is_post_ictal_not_positive():
    assert before_thinning(150.0, events((104, 130), (157, 170))) == Rule.TOUCHES_POST_ICTAL


def test_negatives_keep_the_minimum_gap_on_both_sides():
    assert before_thinning(0.0, events((80, 100))) == Rule.INTER_ICTAL
    assert before_thinning(0.0, events((79.9, 100))) == Rule.TOO_CLOSE_TO_SEIZURE
    assert before_thinning(180.0, events((80, 105))) == Rule.INTER_ICTAL
    assert before_thinning(180.0, events((80, 105.1))) == Rule.TOO_CLOSE_TO_SEIZURE


def test_eeg_onsets_make_no_clinical_positive_yet_keep_negatives_away():
    both = pd.concat([events((110, 130), kind="eeg")])
    assert before_thinning(100.0, both) == Rule.TOO_CLOSE_TO_SEIZURE


def test_background_events_are_no_seizures():
    assert before_thinning(100.0, events((110, 130), event_type="bckg")) == Rule.INTER_ICTAL


def test_unwatched_time_gives_no_window_and_touching_intervals_join():
    assert before_thinning(100.0, events(), watched=watched((0, 104))) == Rule.NOT_WATCHED
    assert before_thinning(100.0, events(), watched=watched((0, 103), (103, 200))) == Rule.INTER_ICTAL
    assert before_thinning(100.0, events(), watched=watched((0, 102), (103, 200))) == Rule.NOT_WATCHED


def test_other_species_other_split_and_short_recordings_are_named():
    assert before_thinning(0.0, events(), recordings=recordings(species="rat")) == Rule.OTHER_SPECIES
    assert before_thinning(0.0, events(), recordings=recordings(split="develop")) == Rule.OTHER_SPLIT
    assert before_thinning(0.0, events(), recordings=recordings(duration_s=4.9)) == Rule.SHORTER_THAN_WINDOW


def test_detection_labels_windows_wholly_inside_a_seizure():
    spec = load_task("detect_ictal")
    assert before_thinning(110.0, events((110, 115)), spec) == Rule.ICTAL
    assert before_thinning(110.0, events((110.5, 130)), spec) == Rule.TOUCHES_ICTAL
    assert before_thinning(0.0, events((110, 130)), spec) == Rule.INTER_ICTAL


def test_one_seizure_gives_one_positive_window_and_kept_windows_share_no_frame():
    clips = kept(label_windows(recordings(), events((150, 170)), watched(), SPEC))
    assert (clips["label"] == 1).sum() == 1
    assert (clips["label"] == 0).sum() == 15 + 11  # in [0, 75] and in [245, 300], by the 5 s
    assert (clips["start_s"].to_numpy()[1:] >= clips["end_s"].to_numpy()[:-1]).all()


def test_lead_times_spread_over_the_horizon_and_follow_from_the_name_alone():
    gaps = []
    for number in range(40):
        name = f"r{number}"
        tables = [table.assign(recording_id=name) for table in (recordings(), events((150.5, 170)), watched())]
        clips = kept(label_windows(*tables, SPEC))
        gaps.append(clips.loc[clips["label"] == 1, "gap_to_next_onset_s"].item())
    assert {round(gap, 1) for gap in gaps} == {0.5, 1.5, 2.5, 3.5, 4.5}


def test_horizons_of_two_seizures_that_nearly_touch_give_no_clips_that_share_a_frame():
    """Starts 38 to 97 s are positive by the first onset, 99 to 104 s by the second, and 98 s by neither."""
    later = load_task("forecast_60s", sph_s=7.5)
    for number in range(40):
        tables = (recordings(), events((109.6, 110.1), (170.6, 171.1)), watched())
        clips = kept(label_windows(*(table.assign(recording_id=f"r{number}") for table in tables), later))
        assert set(clips.loc[clips["start_s"].between(38, 104), "label"]) == {1.0}
        assert (clips["start_s"].to_numpy()[1:] >= clips["end_s"].to_numpy()[:-1]).all()
        first_run = clips["start_s"].between(38, 97).sum()
        second_run = clips["start_s"].between(99, 104).sum()
        assert first_run == 12
        assert second_run in (1, 2)


def test_further_horizons_use_the_same_negatives():
    tables = recordings(), events((150, 170)), watched()
    near, far = (kept(label_windows(*tables, load_task(name))) for name in ("forecast_5s", "forecast_60s"))
    assert set(near.loc[near["label"] == 0, "clip_id"]) == set(far.loc[far["label"] == 0, "clip_id"])
    assert (far["label"] == 1).sum() == 12


def test_row_order_changes_nothing():
    many = pd.concat([recordings(recording_id=f"r{i}", subject_id=f"p{i}") for i in range(4)])
    seizures = pd.concat([events((150, 170), (260, 270)).assign(recording_id=f"r{i}") for i in range(4)])
    seen = pd.concat([watched((0, 200), (200, 300)).assign(recording_id=f"r{i}") for i in range(4)])
    forward = label_windows(many, seizures, seen, SPEC)
    backward = label_windows(many[::-1], seizures[::-1], seen[::-1], SPEC)
    pd.testing.assert_frame_equal(forward, backward)


def test_no_recordings_give_an_empty_table_with_its_columns():
    empty = label_windows(recordings()[:0], events(), watched(), SPEC)
    assert tuple(empty.columns) == CLIP_COLUMNS
    assert empty.empty


@given(
    onsets=st.lists(st.floats(0, 290), max_size=3),
    window=st.sampled_from([3.0, 5.0, 10.0]),
    sop=st.sampled_from([5.0, 10.0, 30.0, 60.0]),
    sph=st.sampled_from([0.0, 7.5]),
)
def test_every_kept_window_obeys_its_definition(onsets, window, sop, sph):
    spans = []
    for onset in sorted(onsets):
        if not spans or onset > spans[-1][1]:
            spans.append((onset, min(onset + 8, 300)))
    spec = SPEC.model_copy(update={"window_s": window, "sop_s": sop, "sph_s": sph, "min_gap_s": 80.0})
    clips = label_windows(recordings(), events(*spans), watched(), spec)
    assert set(clips["rule_id"]) <= {str(rule) for rule in Rule}
    for clip in kept(clips).to_dict("records"):
        assert clip["end_s"] - clip["start_s"] == pytest.approx(window)
        assert all(clip["end_s"] <= onset or clip["start_s"] >= offset for onset, offset in spans)
        leads = [onset - clip["end_s"] - sph for onset, _ in spans]
        assert any(0 < lead <= sop + 1e-6 for lead in leads) == (clip["label"] == 1)
    starts, ends = kept(clips)["start_s"].to_numpy(), kept(clips)["end_s"].to_numpy()
    assert (starts[1:] >= ends[:-1] - 1e-6).all()


def test_shipped_tasks_load_and_share_their_windows():
    names = ("forecast_5s", "forecast_10s", "forecast_30s", "forecast_60s", "detect_ictal")
    specs = [load_task(name) for name in names]
    assert [spec.sop_s for spec in specs[:4]] == [5, 10, 30, 60]
    assert {(s.window_s, s.stride_s, s.min_gap_s, s.postictal_s) for s in specs} == {(5, 1, 75, 60)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window_s": 2.9}, "window_s"),
        ({"window_s": 10.1}, "window_s"),
        ({"min_gap_s": 9.0}, "at least 10"),
        ({"sop": 5}, "did you mean sop_s"),
        ({"onset_type": "guess"}, "onset_type"),
    ],
)
def test_wrong_task_fields_are_named(changes, words):
    with pytest.raises(BadInput, match=words):
        load_task("forecast_5s", **changes)


def test_unknown_task_suggests_a_near_name():
    with pytest.raises(BadInput, match="did you mean forecast_5s"):
        load_task("forecast_5")


def test_own_task_is_read_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    fields = {**SPEC.model_dump(), "name": "mine", "min_gap_s": 3600.0}
    path.write_text("\n".join(f"{key}: {value!r}" for key, value in fields.items()))
    assert load_task(str(path)) == TaskSpec(**fields)
