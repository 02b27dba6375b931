"""X3D: pytorchvideo's own network and files, to the last bit; its own pixels, to less than a grey level."""

from __future__ import annotations

import sys

import pytest
import torch

from baselines.videomae.encoder import videomae_input
from baselines.x3d import X3D, X3dSettings
from tasks.errors import BadInput
from tests.baselines import published
from tests.baselines.published import BASE, FRAME_SIZES, TINY, clip, randomise, save_as

SHAPES = {"m": (1, 3, 16, 224, 224), "s": (1, 3, 13, 160, 160)}


def adapter(variant="m", scale=BASE):
    return X3D(X3dSettings(variant=variant), scale)


def tiny_state():
    network = adapter(scale=TINY).build(None, seed=0)
    head = {"blocks.5.proj.weight": torch.zeros(400, 512), "blocks.5.proj.bias": torch.zeros(400)}
    return {**network.backbone.state_dict(), **head}


@pytest.mark.parametrize("variant", ["m", "s"])
def test_a_published_file_gives_upstreams_features_and_logits_bit_by_bit(variant, tmp_path):
    from pytorchvideo.models import hub

    upstream = randomise(getattr(hub, f"x3d_{variant}")(pretrained=False))
    path = save_as("pytorchvideo", upstream.state_dict(), tmp_path / "X3D.pyth")
    network, batch = adapter(variant).build(path, seed=1), clip(*SHAPES[variant])
    published.same_bits(upstream, upstream.blocks[5].proj, batch, network, batch)


@pytest.mark.parametrize("size", FRAME_SIZES)
@pytest.mark.parametrize("variant", ["m", "s"])
def test_the_network_sees_pytorchvideos_pixels(variant, size, tmp_path):
    wanted = adapter(variant).input
    path = published.textured_video(tmp_path / "video.mp4", *FRAME_SIZES[size])
    theirs = published.by_pytorchvideo(published.whole_frames(path), wanted)
    assert published.furthest(published.our_pixels(path, wanted), theirs, wanted) < 0.51  # we round to whole levels


def test_another_librarys_scaling_would_be_noticed(tmp_path):
    wanted = adapter().input
    path = published.textured_video(tmp_path / "video.mp4", *FRAME_SIZES["landscape"])
    theirs = published.by_pytorchvideo(published.whole_frames(path), wanted)
    for rule in ("transformers", "torchvision"):
        other = published.with_rule(wanted, rule)
        assert published.furthest(published.our_pixels(path, other), theirs, wanted) > 10


@pytest.mark.parametrize(("variant", "gmac"), [("m", 4.73), ("s", 1.96)])
def test_arithmetic_is_the_papers(variant, gmac):
    """Feichtenhofer 2020, table 4."""
    assert adapter(variant).forward_flop() / 2e9 == pytest.approx(gmac, rel=0.005)


def test_input_is_the_published_one():
    sampling = adapter("s").input.sampling
    assert (sampling.frames, sampling.spacing_s, sampling.size, sampling.short_side) == (13, 0.2, 160, 182)
    sampling = adapter("m").input.sampling
    assert (sampling.frames, sampling.spacing_s, sampling.size, sampling.short_side) == (16, 5 / 30, 224, 256)


def test_tiny_networks_read_videomaes_tiny_frames_so_that_a_clip_is_decoded_once():
    assert adapter(scale=TINY).input.sampling == videomae_input(TINY, "last").sampling


def test_variants_have_the_same_tensors_so_only_name_and_hash_tell_their_files_apart():
    shapes = [
        {name: tensor.shape for name, tensor in adapter(variant).network().state_dict().items()}
        for variant in ("m", "s")
    ]
    assert shapes[0] == shapes[1]
    assert adapter("m").published.files[0].path != adapter("s").published.files[0].path


def test_a_file_with_harmed_tensors_is_refused_by_name(tmp_path):
    published.refuses_harmed_tensors(adapter(scale=TINY).build, "pytorchvideo", tiny_state(), tmp_path)


def test_what_is_no_checkpoint_is_refused_and_not_run(tmp_path):
    published.refuses_wrecked_files(adapter(scale=TINY).build, "pytorchvideo", tiny_state(), tmp_path)


def test_a_file_without_the_key_is_refused(tmp_path):
    path = save_as("torchvision", tiny_state(), tmp_path / "bare.pyth")
    with pytest.raises(BadInput, match="model_state"):
        adapter(scale=TINY).build(path, 0)


def test_checkpointing_changes_no_gradient():
    published.checkpointing_changes_nothing(adapter(scale=TINY).build(None, 0), clip(2, 3, 16, 64, 64))


def test_a_library_that_does_not_import_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorchvideo.models.x3d", None)
    with pytest.raises(BadInput, match=r"pytorchvideo cannot be imported.*make setup"):
        adapter(scale=TINY).build(None, 0)


def test_every_weight_learns_from_the_first_step():
    assert published.asleep(adapter(scale=TINY).build(None, 0), clip(2, 3, 16, 64, 64)) == []
