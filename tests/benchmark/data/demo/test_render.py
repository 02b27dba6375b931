"""Rendered files: same bytes for any number of workers, as long as declared, ictal time visible, brightness mute."""

from dataclasses import replace

import av
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.data.demo.design import Seizure, complete_design
from benchmark.data.demo.render import draw_frames, render, tables
from benchmark.data.demo.rooms import bedroom
from benchmark.data.manifest import read_manifest
from benchmark.files import sha256_of
from tasks.errors import BadInput
from tasks.spec import load_task
from tasks.windows import label_windows

BY_ID = {plan.recording_id: plan for plan in complete_design()}
SEIZURE = Seizure(onset_s=22.37, duration_s=9.0, lead_s=12.0, jerk_hz=4.0, side=1)
SHORT = tuple(
    replace(BY_ID[name], frames=round(36 * BY_ID[name].fps), seizure=SEIZURE)
    for name in ("pt01_s1", "pt01_s2", "pt04_s1", "dv02_s1")
) + tuple(plan for plan in BY_ID.values() if plan.subject_id == "rd03")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "set"
    render(SHORT, out, workers=1)
    return out


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]).astype(np.float32)


def motion(gray):
    """Mean absolute change from frame to frame above the noise, (T-1,)."""
    change = np.abs(np.diff(gray, axis=0))
    return np.where(change > 15, change, 0).mean(axis=(1, 2))


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_workers_and_a_second_time_give_the_same_bytes(rendered, tmp_path):
    done = []
    render(SHORT, tmp_path / "again", workers=2, progress=lambda count, total: done.append((count, total)))
    assert content(tmp_path / "again") == content(rendered)
    assert done == [(count, len(SHORT)) for count in range(1, len(SHORT) + 1)]


def test_order_of_rendering_changes_no_file(rendered, tmp_path):
    render(SHORT[:1:-5], tmp_path / "some", workers=1)
    for path in (tmp_path / "some" / "videos").iterdir():
        assert path.read_bytes() == (rendered / "videos" / path.name).read_bytes()


def test_manifest_is_valid_and_tells_each_file_s_true_length_rate_and_size(rendered):
    manifest = read_manifest(rendered)
    assert len(manifest.recordings) == len(SHORT)
    for row in manifest.recordings.to_dict("records"):
        path = manifest.path_of(row["recording_id"])
        assert sha256_of(path) == row["sha256"]
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            times = [frame.time for frame in container.decode(video=0)]
            assert (stream.codec_context.width, stream.codec_context.height) == (row["width"], row["height"])
            assert float(stream.average_rate) == row["fps"]
        assert len(times) / row["fps"] == pytest.approx(row["duration_s"], abs=1e-9)
        assert times[-1] + 1 / row["fps"] == pytest.approx(row["duration_s"], abs=1e-3)
    watched = manifest.annotated_intervals.merge(manifest.recordings, on="recording_id")
    assert (watched["end_s"] - watched["start_s"] == watched["duration_s"]).all()


def test_a_human_seizure_moves_far_more_than_ordinary_time(rendered):
    for plan in SHORT[:4]:
        energy = motion(frames_of(rendered / "videos" / f"{plan.recording_id}.mp4"))
        t = np.arange(len(energy)) / float(plan.fps)
        clonic = energy[(t > SEIZURE.onset_s + 3) & (t < SEIZURE.onset_s + SEIZURE.duration_s)]
        ordinary = energy[t < SEIZURE.onset_s - SEIZURE.lead_s]
        assert clonic.mean() > 3 * ordinary.mean()


def test_pre_ictal_jerks_show_in_every_patient_s_camera_and_are_smaller_than_ictal_ones():
    for plan in (plan for plan in BY_ID.values() if plan.split == "evaluate"):
        t, onset_s = np.arange(plan.frames) / float(plan.fps), plan.seizure.onset_s
        body = [stroke.end for stroke in bedroom(plan).strokes if stroke.opacity is None]

        def furthest_step_px(start_s, end_s, t=t, body=body):
            during = (t > start_s) & (t < end_s)
            return max(np.abs(np.diff(points[during], axis=0)).max() for points in body)

        assert 1 < furthest_step_px(onset_s - 5, onset_s) < furthest_step_px(onset_s + 8, onset_s + 13)


def test_a_rodent_clip_with_a_seizure_ends_with_more_movement_than_one_without(rendered):
    energies = {True: [], False: []}
    for plan in SHORT[4:]:
        energy = motion(frames_of(rendered / "videos" / f"{plan.recording_id}.mp4"))
        energies[plan.seizure is not None].append(energy[-round(2.5 * plan.fps) :].mean())
    assert np.mean(energies[True]) > 2 * np.mean(energies[False])


def test_brightness_does_not_predict_the_label():
    """Over six patients of the real design (12 seizures): the mean brightness of a clip, tolerance 0.15 of AUC."""
    plans = [plan for plan in BY_ID.values() if plan.subject_id in {f"pt{n:02d}" for n in (1, 2, 4, 7, 8, 10)}]
    clips = label_windows(*tables(plans, {plan.recording_id: "0" * 64 for plan in plans}), load_task("forecast_5s"))
    clips = clips[clips["label"].notna()]
    brightness = {plan.recording_id: np.array([frame.mean() for frame in draw_frames(plan)]) for plan in plans}

    def mean_of(clip):
        fps = float(BY_ID[clip.recording_id].fps)
        return brightness[clip.recording_id][round(clip.start_s * fps) : round(clip.end_s * fps)].mean()

    values = clips.apply(mean_of, axis=1)
    own = values - values.groupby(clips["recording_id"]).transform("mean")
    assert clips["label"].sum() == 12
    assert roc_auc_score(clips["label"], values) == pytest.approx(0.5, abs=0.15)
    assert roc_auc_score(clips["label"], own) == pytest.approx(0.5, abs=0.15)


def test_an_occupied_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(BadInput, match="not empty"):
        render(SHORT[-1:], tmp_path, workers=1)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_empty_folder_is_filled(tmp_path):
    render(SHORT[-1:], tmp_path, workers=1)
    assert len(read_manifest(tmp_path).recordings) == 1


def test_a_render_that_is_stopped_leaves_nothing(tmp_path):
    def stop(count, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(SHORT[-2:], tmp_path / "set", workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_same_room_serves_both_recordings_of_a_patient_and_no_other():
    pictures = {}
    for name in ("pt05_s1", "pt05_s2", "pt08_s1"):
        plan = replace(BY_ID[name], night=True, width=128, height=96)
        pictures[name] = next(iter(draw_frames(plan))).astype(float)[:24, :24]  # a corner: room, no patient
    same = np.corrcoef(pictures["pt05_s1"].ravel(), pictures["pt05_s2"].ravel())[0, 1]
    other = np.corrcoef(pictures["pt05_s1"].ravel(), pictures["pt08_s1"].ravel())[0, 1]
    assert same > other
