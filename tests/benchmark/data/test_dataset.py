"""What a method is given: canonical order, no label in a query, stage-1 clips of patients outside the task."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmark.data.clips import Alteration
from benchmark.data.dataset import TaskData, open_stores, seed_of
from benchmark.data.frames import Sampling
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task

QUIET = Progress(quiet=True)
SAMPLING = Sampling(frames=4, spacing_s=0.5, place="last", size=32)


@pytest.fixture
def data(data_set, short_task, cache):
    return TaskData(
        read_manifest(data_set), load_task(short_task), load_protocol("patient_disjoint"), 0, open_stores(cache), cache
    )


def test_pool_is_balanced_and_from_evaluation_patients(data):
    assert set(data.pool["subject_id"]) == {"p0", "p1", "p2", "p3"}
    assert (data.pool["label"] == 1).sum() == (data.pool["label"] == 0).sum() == 16


def test_support_carries_its_labels_in_the_order_of_its_clips_and_a_seed_of_its_own(data):
    first, second = draw_episodes(data.pool, data.protocol, 2, 0)[:2]
    support = data.support(first, SAMPLING)
    assert support.ids == first.support
    assert support.labels.tolist() == [data.label_of[clip] for clip in first.support]
    assert support.seed == data.support(first, None).seed != data.support(second, None).seed


def test_frames_come_from_the_store_and_only_once(data):
    episode = draw_episodes(data.pool, data.protocol, 2, 0)[0]
    data.decode_pool(SAMPLING, 1, QUIET)
    assert data.decode_pool(SAMPLING, 1, QUIET) == 0
    frames = data.query(episode, SAMPLING).frames()
    assert {f.shape for f in frames} == {(1, 4, 32, 32, 3)}
    with pytest.raises(ValueError, match="read-only"):
        frames[0][:] = 0


def test_stage_1_has_clips_of_10_s_from_rats_with_their_condition(data):
    clips, _ = data.pretraining(SAMPLING, "+R(Y/N)+H", 1, QUIET)
    assert clips.ids == tuple(f"m{i}r{j}@0.000-10.000" for i in (0, 1) for j in (0, 1))
    assert clips.species == ("rat",) * 4
    assert clips.seizure == (False, True, False, True)
    assert set(clips.subjects) == {"m0", "m1"}


def test_human_stage_1_recordings_are_cut_into_5_s_and_leave_the_task(data_set, short_task, cache, tmp_path):
    changed = tmp_path / "set"
    shutil.copytree(data_set, changed)
    table = (changed / "recordings.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in table]
    split = ["split"] + ["pretrain" if row[1].startswith(("m", "p3")) else "evaluate" for row in rows[1:]]
    (changed / "recordings.tsv").write_text(
        "\n".join("\t".join([*row, side]) for row, side in zip(rows, split, strict=True))
    )
    manifest = read_manifest(changed)
    data = TaskData(manifest, load_task(short_task), load_protocol("patient_disjoint"), 0, open_stores(cache), cache)
    assert "p3" not in set(data.pool["subject_id"])
    clips, _ = data.pretraining(SAMPLING, "+R(Y/N)+H", 1, QUIET)
    human = [clip for clip, species in zip(clips.ids, clips.species, strict=True) if species == "human"]
    seizures = [row["clip_id"] for row in data.stage1_windows if row["species"] == "human" and row["seizure"]]
    assert seizures == [f"p3r{n}@{at}" for n in (0, 1) for at in ("20.000-25.000", "25.000-30.000")]
    assert len(human) == 2 * (8 - 2)
    assert not set(human) & set(seizures)  # no mix takes them


def test_stage_1_without_set_aside_recordings_is_refused(data):
    people = data.manifest.recordings[data.manifest.recordings["species"] == "human"]
    with pytest.raises(BadInput, match="stage 1 has nothing to train on"):
        replace(data, manifest=replace(data.manifest, recordings=people)).pretraining(SAMPLING, "+R(Y)", 1, QUIET)


def test_only_what_the_mix_asks_for_is_decoded(data):
    clips, _ = data.pretraining(SAMPLING, "+R(Y)", 1, QUIET)
    assert clips.ids == tuple(row["clip_id"] for row in data.stage1_draw("+R(Y)").windows)
    assert clips.ids == ("m0r1@0.000-10.000", "m1r1@0.000-10.000")
    assert len(data.pretraining(SAMPLING, "base", 1, QUIET)[0]) == 0


def test_patients_of_the_task_in_stage_1_are_refused_before_a_video_is_opened_unless_allowed(data, tmp_path):
    recordings = data.manifest.recordings.copy()
    also = recordings["recording_id"].isin(["p1r0", "p2r1"])  # both patients have another recording in the task
    recordings.loc[also, "split"] = "pretrain"
    torn = replace(data, manifest=replace(data.manifest, recordings=recordings, root=tmp_path / "no videos here"))
    with pytest.raises(BadInput, match=r"subject 'p1' \(and 1 more\) .* split, .* mix .*--allow-pretrained-patients"):
        torn.pretraining(SAMPLING, "+H", 1, QUIET)
    allowed = replace(torn, manifest=replace(torn.manifest, root=data.manifest.root), allow_pretrained=True)
    clips, _ = allowed.pretraining(SAMPLING, "+H", 1, QUIET)
    assert allowed.pretrained_patients(clips.declaration) == ("p1", "p2")
    assert allowed.pretrained_patients(allowed.pretraining(SAMPLING, "+R(N)", 1, QUIET)[0].declaration) == ()


class Counting:
    """An encoder that counts what it embeds."""

    def __init__(self, key):
        self.embedding_key, self.seen = key, 0

    def embed(self, frames):
        self.seen += len(frames)
        return np.array([[clip.mean(), clip.std()] for clip in frames], dtype=np.float32)


def test_a_clip_is_embedded_once_for_each_encoder_over_episodes(data):
    data.decode_pool(SAMPLING, 1, QUIET)
    first, other = Counting("a"), Counting("b")
    episodes = draw_episodes(data.pool, data.protocol, 2, 0)
    for episode in episodes:
        data.query(episode, SAMPLING).embeddings(first)
    assert first.seen == len(data.pool)
    query = data.query(episodes[0], SAMPLING)
    expected = [[clip.mean(), clip.std()] for clip in query.frames()]
    np.testing.assert_allclose(query.embeddings(other), expected, rtol=1e-6)
    assert other.seen == len(query)


def test_damaged_feature_is_computed_again(data, tmp_path):
    data.decode_pool(SAMPLING, 1, QUIET)
    query = data.query(draw_episodes(data.pool, data.protocol, 2, 0)[0], SAMPLING)
    whole = query.embeddings(Counting("c"))
    for path in data.stores.features.root.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:50])
    again, later = Counting("c"), replace(query, stores=open_stores(data.cache))
    np.testing.assert_array_equal(later.embeddings(again), whole)
    assert again.seen == len(query)


def test_seeds_differ_by_every_part_and_fit_63_bits():
    seeds = {seed_of(0, "a"), seed_of(1, "a"), seed_of(0, "b")}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_overlapping_watched_intervals_give_each_stage_1_clip_once(data):
    watched = data.manifest.annotated_intervals
    twice = pd.concat([watched, watched.assign(start_s=2.0, end_s=7.0)])
    doubled = replace(data, manifest=replace(data.manifest, annotated_intervals=twice))
    assert doubled.stage1_windows == data.stage1_windows


def darker(frames):
    return frames // 2


def mirrored(frames):
    return frames[:, :, :, ::-1]


def marked(frames):
    """Not to be exchanged with the two above: the corner is 7 whatever it was."""
    frames = frames.copy()
    frames[:, :, 0, 0] = 7
    return frames


@pytest.fixture
def query(data):
    data.decode_pool(SAMPLING, 1, QUIET)
    return data.query(draw_episodes(data.pool, data.protocol, 2, 0)[0], SAMPLING)


def test_altered_clips_show_other_frames_and_the_clips_themselves_the_old_ones(query):
    before = [frames.copy() for frames in query.frames()]
    seen = query.altered(Alteration("darker", 1, darker)).frames()
    np.testing.assert_array_equal(seen, [frames // 2 for frames in before])
    np.testing.assert_array_equal(query.frames(), before)
    with pytest.raises(ValueError, match="read-only"):
        seen[0][:] = 0


def test_alterations_are_done_one_after_the_other(query):
    dark, mark = Alteration("darker", 1, darker), Alteration("marked", 1, marked)
    assert query.altered(dark).altered(mark).frames()[0][0, 0, 0, 0, 0] == 7
    assert query.altered(mark).altered(dark).frames()[0][0, 0, 0, 0, 0] == 3


def test_altered_frames_have_addresses_of_their_own_by_name_version_and_order(query):
    dark, mark = Alteration("darker", 1, darker), Alteration("marked", 1, marked)
    kinds = [
        query,
        query.altered(dark),
        query.altered(mark),
        query.altered(Alteration("darker", 2, darker)),
        query.altered(dark).altered(mark),
        query.altered(mark).altered(dark),
    ]
    keys = [key for clips in kinds for key in clips.frame_keys]
    assert len(set(keys)) == len(keys) == 6 * len(query)
    assert query.altered(dark).frame_keys == kinds[1].frame_keys


def test_features_of_altered_clips_are_computed_apart_and_once(query):
    encoder = Counting("of altered clips")
    plain = query.embeddings(encoder)
    dark = query.altered(Alteration("darker", 1, darker))
    assert not np.array_equal(dark.embeddings(encoder), plain)
    np.testing.assert_allclose(dark.embeddings(encoder)[:, 0], [np.mean(f // 2) for f in query.frames()], rtol=1e-6)
    np.testing.assert_array_equal(query.embeddings(encoder), plain)
    assert encoder.seen == 2 * len(query)


def test_an_altered_support_keeps_labels_and_seed(data):
    support = data.support(draw_episodes(data.pool, data.protocol, 2, 0)[0], SAMPLING)
    altered = support.altered(Alteration("mirrored", 1, mirrored))
    assert (altered.labels.tolist(), altered.seed, altered.ids) == (support.labels.tolist(), support.seed, support.ids)


def test_the_first_training_has_the_seed_of_the_only_one_and_each_other_its_own(data):
    first, second = draw_episodes(data.pool, data.protocol, 2, 0)[:2]
    assert data.support(first, None).seed == seed_of(0, first.digest) == data.support(first, None, 0).seed
    seeds = [data.support(episode, None, k).seed for episode in (first, second) for k in range(5)]
    assert len(set(seeds)) == 10
    assert data.support(first, None, 3).ids == first.support
