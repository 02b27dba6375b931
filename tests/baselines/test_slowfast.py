"""SlowFast: pytorchvideo's own network and file, to the last bit, and its two pathways."""

from __future__ import annotations

import pytest
import torch

from baselines.slowfast import SlowFast, SlowFastSettings
from tests.baselines import published
from tests.baselines.published import BASE, FRAME_SIZES, TINY, clip, randomise, save_as

SLOW = [0, 4, 8, 13, 17, 22, 26, 31]  # 32 frames, every fourth, from the first to the last


def adapter(scale=BASE):
    return SlowFast(SlowFastSettings(), scale)


def tiny_state():
    network = adapter(TINY).build(None, seed=0)
    head = {"blocks.6.proj.weight": torch.zeros(400, 1280), "blocks.6.proj.bias": torch.zeros(400)}
    return {**network.backbone.network.state_dict(), **head}


def test_a_published_file_gives_upstreams_features_and_logits_bit_by_bit(tmp_path):
    from pytorchvideo.models.hub import slowfast_r50

    upstream = randomise(slowfast_r50(pretrained=False))
    path = save_as("pytorchvideo", upstream.state_dict(), tmp_path / "SLOWFAST_8x8_R50.pyth")
    network, batch = adapter().build(path, seed=1), clip(1, 3, 32, 224, 224)
    assert network.head.in_features == 2304
    published.same_bits(upstream, upstream.blocks[6].proj, [batch[:, :, SLOW], batch], network, batch)


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_the_network_sees_pytorchvideos_pixels(size, tmp_path):
    wanted = adapter().input
    path = published.textured_video(tmp_path / "video.mp4", *FRAME_SIZES[size])
    theirs = published.by_pytorchvideo(published.whole_frames(path), wanted)
    assert published.furthest(published.our_pixels(path, wanted), theirs, wanted) < 0.51  # we round to whole levels


def test_input_is_the_published_one():
    sampling = adapter().input.sampling
    assert (sampling.frames, sampling.spacing_s, sampling.size, sampling.short_side) == (32, 2 / 30, 224, 256)


def test_a_batch_may_be_read_twice():
    """Upstream changes the list that it is given; the caller's batch must stay."""
    network, batch = randomise(adapter(TINY).build(None, 0)), clip(2, 3, 16, 64, 64)
    before = batch.clone()
    with torch.no_grad():
        first, second = network(batch), network(batch)
    assert torch.equal(first, second)
    assert torch.equal(batch, before)


def test_slow_pathway_sees_every_fourth_frame_and_the_fast_one_all():
    network = randomise(adapter(TINY).build(None, 0))
    pathways = network.backbone.network.blocks[0].multipathway_blocks
    seen = []
    for pathway in pathways:
        pathway.register_forward_hook(lambda _, given, made: seen.append(given[0]))
    batch = clip(1, 3, 16, 64, 64)
    with torch.no_grad():
        network(batch)
    assert torch.equal(seen[0], batch[:, :, [0, 5, 10, 15]])
    assert torch.equal(seen[1], batch)


def test_arithmetic_is_the_papers():
    """65.7 GMAC at 256 pixels (Feichtenhofer et al. 2019, table 5), so 49/64 of it at 224."""
    assert adapter().forward_flop() / 2e9 == pytest.approx(65.7 * 49 / 64, rel=0.005)


def test_a_file_with_harmed_tensors_is_refused_by_name(tmp_path):
    published.refuses_harmed_tensors(adapter(TINY).build, "pytorchvideo", tiny_state(), tmp_path)


def test_checkpointing_changes_no_gradient():
    published.checkpointing_changes_nothing(adapter(TINY).build(None, 0), clip(2, 3, 16, 64, 64))


def test_every_weight_learns_from_the_first_step():
    assert published.asleep(adapter(TINY).build(None, 0), clip(2, 3, 16, 64, 64)) == []
