"""The feature store computes once, reads once, and forgets the oldest when a process holds too much."""

import numpy as np
import pytest

from benchmark.data import features
from benchmark.data.features import FeatureStore


@pytest.fixture
def embed():
    """Counts the clips that it was asked about; a clip's feature is its first pixel, a thousand times."""

    def embedding(frames):
        embedding.seen += len(frames)
        return np.stack([np.full(1000, clip.flat[0], dtype=np.float32) for clip in frames])

    embedding.seen = 0
    return embedding


def clip(key):
    return np.full((1, 1, 1, 1, 3), int(key), dtype=np.uint8)


def test_a_clip_is_embedded_once_and_read_from_its_file_once(tmp_path, embed):
    store = FeatureStore(tmp_path)
    first = store.fetch("encoder", ["1", "2"], clip, embed)
    assert first[:, 0].tolist() == [1.0, 2.0]
    for file in tmp_path.rglob("*.npy"):
        file.unlink()
    np.testing.assert_array_equal(store.fetch("encoder", ["2", "1"], clip, embed), first[::-1])
    assert embed.seen == 2
    assert FeatureStore(tmp_path).fetch("encoder", ["1"], clip, embed)[0, 0] == 1.0
    assert embed.seen == 3


def test_another_process_reads_what_one_has_computed_and_another_encoder_does_not(tmp_path, embed):
    FeatureStore(tmp_path).fetch("encoder", ["1"], clip, embed)
    FeatureStore(tmp_path).fetch("encoder", ["1"], clip, embed)
    assert embed.seen == 1
    FeatureStore(tmp_path).fetch("other", ["1"], clip, embed)
    assert embed.seen == 2


def test_a_process_keeps_no_more_than_its_share_of_memory(tmp_path, embed, monkeypatch):
    monkeypatch.setattr(features, "MEMORY", 10_000)  # two vectors of 4,000 bytes
    store = FeatureStore(tmp_path)
    store.fetch("encoder", ["1", "2", "3"], clip, embed)
    for file in tmp_path.rglob("*.npy"):
        file.unlink()
    store.fetch("encoder", ["3", "2"], clip, embed)
    assert embed.seen == 3
    store.fetch("encoder", ["1"], clip, embed)
    assert embed.seen == 4
