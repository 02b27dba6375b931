"""CNN + LSTM: torchvision's own ResNet and file, to the last bit; the LSTM is new and drawn from the seed."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

from baselines.cnn_lstm import CnnLstm, CnnLstmSettings
from tests.baselines import published
from tests.baselines.published import BASE, FRAME_SIZES, TINY, clip, randomise, save_as


def adapter(scale=BASE):
    return CnnLstm(CnnLstmSettings(), scale)


def tiny_state():
    network = adapter(TINY).build(None, seed=0)
    return {**network.backbone.cnn.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def upstream():
    from torchvision.models import resnet18

    return randomise(resnet18(weights=None))


@pytest.fixture(scope="module")
def network(upstream, tmp_path_factory):
    path = save_as("torchvision", upstream.state_dict(), tmp_path_factory.mktemp("weights") / "resnet18.pth")
    return adapter().build(path, seed=1)


def test_a_published_file_gives_upstreams_features_of_each_frame_bit_by_bit(upstream, network):
    class Frames(nn.Module):
        features = network.backbone.cnn

    batch = clip(3, 3, 224, 224)
    published.same_bits(upstream, upstream.fc, batch, Frames(), batch)


@torch.inference_mode()
def test_a_feature_is_the_lstms_last_state_each_way_over_a_clips_own_frames(network):
    torch.set_num_threads(1)
    batch = clip(2, 4, 3, 224, 224)
    lstm, cnn = network.backbone.lstm, network.backbone.cnn
    one_by_one = [lstm(cnn(frames)[None])[1][0].flatten() for frames in batch]
    assert torch.allclose(network.features(batch), torch.stack(one_by_one), atol=1e-6)


def test_the_lstm_is_drawn_from_the_seed_and_leaves_the_global_generator_alone(tmp_path):
    path = save_as("torchvision", tiny_state(), tmp_path / "resnet.pth")
    before = torch.random.get_rng_state()
    first, same, other = (adapter(TINY).build(path, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    drawn = [name for name in first if not torch.equal(first[name], other[name])]
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert all(name.startswith(("backbone.lstm.", "head.")) for name in drawn)
    assert sum(name.startswith("backbone.lstm.") for name in drawn) == 8


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_the_network_sees_torchvisions_pixels(size, tmp_path):
    from torchvision.models import ResNet18_Weights

    wanted = adapter().input
    path = published.textured_video(tmp_path / "video.mp4", *FRAME_SIZES[size])
    transforms = ResNet18_Weights.IMAGENET1K_V1.transforms()
    theirs = torch.stack([transforms(Image.fromarray(frame)) for frame in published.whole_frames(path)])[None]
    assert published.furthest(published.our_pixels(path, wanted), theirs, wanted) < 1.01


def test_input_is_the_published_one():
    sampling = adapter().input.sampling
    assert (sampling.frames, sampling.spacing_s, sampling.size, sampling.short_side) == (16, 2 / 30, 224, 256)


def test_arithmetic_is_the_papers():
    """ResNet-18: 1.81 GMAC a frame (torchvision's table), 16 frames."""
    assert adapter().forward_flop() / 2e9 == pytest.approx(16 * 1.814, rel=0.005)


def test_a_file_with_harmed_tensors_is_refused_by_name(tmp_path):
    published.refuses_harmed_tensors(adapter(TINY).build, "torchvision", tiny_state(), tmp_path)


def test_a_file_from_before_torch_counted_batches_is_taken(tmp_path):
    state = {name: tensor for name, tensor in tiny_state().items() if not name.endswith("num_batches_tracked")}
    network = adapter(TINY).build(save_as("torchvision", state, tmp_path / "old.pth"), 0)
    assert torch.equal(network.backbone.cnn.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])


def test_what_is_no_checkpoint_is_refused_and_not_run(tmp_path):
    published.refuses_wrecked_files(adapter(TINY).build, "torchvision", tiny_state(), tmp_path)


def test_checkpointing_changes_no_gradient():
    published.checkpointing_changes_nothing(adapter(TINY).build(None, 0), clip(2, 16, 3, 64, 64))


def test_every_weight_learns_from_the_first_step():
    assert published.asleep(adapter(TINY).build(None, 0), clip(2, 16, 3, 64, 64)) == []
