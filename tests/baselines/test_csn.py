"""CSN: the networks, files and pixels of mmaction2 (152 layers) and pytorchvideo (101), to the last bit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from baselines.common.finetune import FineTuner
from baselines.csn import CSN, CsnSettings
from tasks.errors import BadInput
from tests.baselines import published
from tests.baselines.published import BASE, FRAME_SIZES, TINY, clip, randomise, save_as

CONFIG = ".mim/configs/recognition/csn/{}csn_r152_32x2x1-180e_kinetics400-rgb.py"
SHAPE = (1, 3, 32, 224, 224)


def adapter(variant="ip152", scale=BASE):
    return CSN(CsnSettings(variant=variant), scale)


def mmaction2_recogniser(variant):
    """The whole network of mmaction2's own configuration, with its preprocessor and classifier."""
    import mmaction.models
    from mmaction.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    config = Config.fromfile(Path(mmaction.__file__).parent / CONFIG.format(variant.removesuffix("152")))
    assert config.model.backbone.pretrained is None
    with DefaultScope.overwrite_default_scope("mmaction"):
        return MODELS.build(config.model).eval()


@pytest.fixture(scope="module")
def ip152():
    return randomise(mmaction2_recogniser("ip152"))


def tiny_state(variant="ip152"):
    """All tensors of a published file, at the tiny size."""
    network = adapter(variant, TINY).build(None, seed=0)
    if variant == "r101":
        head = {"blocks.5.proj.weight": torch.zeros(400, 512), "blocks.5.proj.bias": torch.zeros(400)}
        return {**network.backbone.state_dict(), **head}
    backbone = {f"backbone.{name}": tensor for name, tensor in network.backbone[0].state_dict().items()}
    return {**backbone, "cls_head.fc_cls.weight": torch.zeros(400, 1024), "cls_head.fc_cls.bias": torch.zeros(400)}


@pytest.mark.parametrize("variant", ["ip152", "ir152"])
def test_mmaction2s_file_gives_its_features_and_logits_bit_by_bit(variant, ip152, tmp_path):
    upstream = ip152 if variant == "ip152" else randomise(mmaction2_recogniser(variant))
    path = save_as("mmaction2", upstream.state_dict(), tmp_path / "csn.pth")
    network, batch = adapter(variant).build(path, seed=1), clip(*SHAPE)
    whole = nn.Sequential(upstream.backbone, upstream.cls_head)
    published.same_bits(whole, upstream.cls_head.fc_cls, batch, network, batch)


def test_pytorchvideos_file_gives_its_features_and_logits_bit_by_bit(tmp_path):
    from pytorchvideo.models.hub import csn_r101

    upstream = randomise(csn_r101(pretrained=False))
    path = save_as("pytorchvideo", upstream.state_dict(), tmp_path / "CSN_32x2_R101.pyth")
    network, batch = adapter("r101").build(path, seed=1), clip(*SHAPE)
    published.same_bits(upstream, upstream.blocks[5].proj, batch, network, batch)


def by_mmaction2(recogniser, frames):
    """Its test pipeline with the centre crop, then the preprocessor of its model."""
    from mmaction.registry import TRANSFORMS

    steps = [
        {"type": "Resize", "scale": (-1, 256)},
        {"type": "CenterCrop", "crop_size": 224},
        {"type": "FormatShape", "input_format": "NCTHW"},
        {"type": "PackActionInputs"},
    ]
    results = {"imgs": list(frames), "img_shape": frames.shape[1:3], "original_shape": frames.shape[1:3]}
    results |= {"modality": "RGB", "num_clips": 1, "clip_len": len(frames), "label": 0}
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    packed = {"inputs": [results["inputs"]], "data_samples": [results["data_samples"]]}
    return recogniser.data_preprocessor(packed)["inputs"][0]


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_152_layers_see_mmaction2s_pixels(size, ip152, tmp_path):
    wanted = adapter().input
    path = published.textured_video(tmp_path / "video.mp4", *FRAME_SIZES[size])
    theirs = by_mmaction2(ip152, published.whole_frames(path))
    assert published.furthest(published.our_pixels(path, wanted), theirs, wanted) < 1.01


@pytest.mark.skipif(not published.REAL_VIDEO.is_file(), reason="the real videos are not here")
def test_a_filmed_video_gives_each_librarys_pixels(ip152):
    frames = published.whole_frames(published.REAL_VIDEO)
    of_mmaction2, of_pytorchvideo = adapter().input, adapter("r101").input
    theirs = by_mmaction2(ip152, frames)
    assert published.furthest(published.our_pixels(published.REAL_VIDEO, of_mmaction2), theirs, of_mmaction2) < 1.01
    theirs = published.by_pytorchvideo(frames, of_pytorchvideo)
    ours = published.our_pixels(published.REAL_VIDEO, of_pytorchvideo)
    assert published.furthest(ours, theirs, of_pytorchvideo) < 0.51


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_101_layers_see_pytorchvideos_pixels(size, tmp_path):
    wanted = adapter("r101").input
    path = published.textured_video(tmp_path / "video.mp4", *FRAME_SIZES[size])
    theirs = published.by_pytorchvideo(published.whole_frames(path), wanted)
    assert published.furthest(published.our_pixels(path, wanted), theirs, wanted) < 0.51


@pytest.mark.parametrize("variant", ["ip152", "ir152", "r101"])
def test_input_is_the_published_one(variant):
    sampling = adapter(variant).input.sampling
    assert (sampling.frames, sampling.spacing_s, sampling.size, sampling.short_side) == (32, 2 / 30, 224, 256)


@pytest.mark.parametrize(("variant", "gmac"), [("ip152", 108.8), ("ir152", 96.7)])
def test_arithmetic_is_the_papers(variant, gmac):
    """At 256 pixels (Tran et al. 2019, table 5), so 49/64 of it at 224."""
    assert adapter(variant).forward_flop() / 2e9 == pytest.approx(gmac * 49 / 64, rel=0.005)


@pytest.mark.parametrize("variant", ["ip152", "r101"])
def test_a_file_with_harmed_tensors_is_refused_by_name(variant, tmp_path):
    form = "pytorchvideo" if variant == "r101" else "mmaction2"
    published.refuses_harmed_tensors(adapter(variant, TINY).build, form, tiny_state(variant), tmp_path)


def test_a_file_of_another_variant_is_refused(tmp_path):
    for given, taken, first in (("ir152", "ip152", "conv2.1"), ("ip152", "ir152", "conv2.1")):
        path = save_as("mmaction2", tiny_state(given), tmp_path / f"{given}.pth")
        with pytest.raises(BadInput, match=first):
            adapter(taken, TINY).build(path, 0)


def test_what_is_no_checkpoint_is_refused_and_not_run(tmp_path):
    published.refuses_wrecked_files(adapter(scale=TINY).build, "mmaction2", tiny_state(), tmp_path)


def test_a_checkpoint_that_was_not_stripped_for_publishing_is_refused_and_not_run(tmp_path):
    from mmengine.logging import HistoryBuffer

    loss = HistoryBuffer([1.0], [1])
    torch.save({"state_dict": tiny_state(), "message_hub": {"log_scalars": {"loss": loss}}}, tmp_path / "own.pth")
    with pytest.raises(BadInput, match="nothing in it was run"):
        adapter(scale=TINY).build(tmp_path / "own.pth", 0)


@pytest.mark.parametrize("variant", ["ip152", "r101"])
def test_checkpointing_changes_no_gradient(variant):
    published.checkpointing_changes_nothing(adapter(variant, TINY).build(None, 0), clip(2, 3, 16, 64, 64))


class OneClipEach:
    """A support of two clips, labelled 0 and 1."""

    seed, labels, frame_keys = 3, np.array([0, 1]), ("dark", "light")

    def frames(self):
        return [np.full((1, 16, 64, 64, 3), shade, dtype=np.uint8) for shade in (40, 200)]


@pytest.mark.parametrize("variant", ["ip152", "ir152", "r101"])
def test_training_moves_all_weights_of_the_norms_and_none_of_their_statistics(variant):
    """mmaction2's own `train()` would freeze both by its configuration."""
    torch.set_num_threads(1)
    baseline = adapter(variant, TINY)
    network = randomise(baseline.build(None, 0))
    scale = published.Scale("tiny", "k400", 5.0)  # as from a file: statistics are not measured anew
    tuner = FineTuner(network, baseline.input, CsnSettings(variant=variant, epochs=2), scale, "cpu")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tuner.fit(OneClipEach())
    after = network.state_dict()
    norms = [name for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    assert len(norms) > 10
    for name in norms:
        assert not torch.equal(before[f"{name}.weight"], after[f"{name}.weight"])
        for statistic in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.equal(before[f"{name}.{statistic}"], after[f"{name}.{statistic}"])


def test_building_leaves_no_global_scope_behind():
    from mmengine.registry import DefaultScope

    before = DefaultScope.get_current_instance()
    adapter(scale=TINY).build(None, 0)
    assert DefaultScope.get_current_instance() is before


@pytest.mark.parametrize(("variant", "module", "library"), [
    ("ip152", "mmaction.models", "mmaction2"),
    ("r101", "pytorchvideo.models.hub", "pytorchvideo"),
])  # fmt: skip
def test_a_library_that_does_not_import_is_named(variant, module, library, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match=rf"{library} cannot be imported.*make setup"):
        adapter(variant, TINY).build(None, 0)


@pytest.mark.parametrize("variant", ["ip152", "ir152", "r101"])
def test_every_weight_learns_from_the_first_step(variant):
    assert published.asleep(adapter(variant, TINY).build(None, 0), clip(2, 3, 16, 64, 64)) == []
