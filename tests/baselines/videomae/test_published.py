"""Both published VideoMAE checkpoints at full size: our adapters compute what transformers computes, bit for bit.

The published numbers are not here; their layout is (`published_files.py`), with random numbers in every tensor.
Upstream reads the same file by its own `from_pretrained`, which shares no line with ours.
"""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from transformers import (
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    VideoMAEImageProcessorPil,
)

from baselines.common.batches import to_batch
from baselines.videomae.encoder import VideoMAESettings, stage1_encoder, videomae_input
from baselines.videomae.human_only import HumanOnly, HumanOnlySettings
from baselines.videomae.linear_probe import LinearProbe
from baselines.videomae.xspecies import CrossSpeciesSettings, CrossSpeciesVideoMAE
from benchmark.baseline import IMAGENET_STD, Scale
from benchmark.data.decode import read_frames
from benchmark.data.picture import to_square
from tests.baselines.videomae.published_files import PREPROCESSOR, random_network, write_published
from tests.videos import make_video

SSL, FINE_TUNED, RANDOM = (Scale("base", init, 5.0) for init in ("k400-ssl", "k400", "random"))
REAL_VIDEOS = Path(__file__).parents[4] / "shared" / "real_videos"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def big(tmp_path):
    """A folder whose 350 MB are gone after the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def clip():
    frames = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), dtype=np.uint8)
    return to_batch([frames], videomae_input(SSL, "last"), "cpu")


def same_tensors(network, reference):
    ours, theirs = network.state_dict(), reference.state_dict()
    assert list(ours) == list(theirs)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def self_supervised():
    return random_network(fine_tuned=False)


def test_the_self_supervised_checkpoint_gives_upstreams_tokens_and_features_to_the_last_bit(big, clip, self_supervised):
    weights = write_published(big / "videomae-base", self_supervised)
    upstream = VideoMAEForPreTraining.from_pretrained(weights.parent, attn_implementation="sdpa").eval()
    probe = LinearProbe(VideoMAESettings(pool="first"), SSL).build(weights, seed=0)
    pretrained = CrossSpeciesVideoMAE(CrossSpeciesSettings(), SSL).build(weights, seed=0)
    assert same_tensors(pretrained, upstream)
    assert same_tensors(probe.backbone, upstream.videomae)
    seen = []
    probe.backbone.register_forward_hook(lambda module, given, output: seen.append(output.last_hidden_state))
    with torch.inference_mode():
        tokens = upstream.videomae(clip).last_hidden_state
        first = probe(clip)
    assert tokens.shape == (1, 1568, 768)
    assert torch.equal(seen[0], tokens)
    assert torch.equal(first, tokens[:, 0])


def test_the_fine_tuned_checkpoint_gives_upstreams_logits_to_the_last_bit(big, clip):
    weights = write_published(big / "videomae-base-finetuned-kinetics", random_network(fine_tuned=True))
    upstream = VideoMAEForVideoClassification.from_pretrained(weights.parent, attn_implementation="sdpa").eval()
    ours = HumanOnly(HumanOnlySettings(), FINE_TUNED).build(weights, seed=0).encoder
    assert same_tensors(ours.backbone, upstream.videomae)
    seen = []
    for network in (upstream.videomae, ours.backbone):
        network.register_forward_hook(lambda module, given, output: seen.append(output.last_hidden_state))
    with torch.inference_mode():
        logits = upstream(clip).logits
        feature = ours(clip)
        assert torch.equal(seen[0], seen[1])
        assert torch.equal(feature, upstream.fc_norm(seen[0].mean(dim=1)))
        assert torch.equal(upstream.classifier(feature), logits)
    assert logits.shape == (1, 400)


def test_what_transformers_saves_today_loads_at_full_size_too(big, self_supervised):
    self_supervised.save_pretrained(big / "today")
    weights = big / "today" / "model.safetensors"
    assert same_tensors(CrossSpeciesVideoMAE(CrossSpeciesSettings(), SSL).build(weights, 0), self_supervised)
    assert same_tensors(stage1_encoder(big / "today", "mean").backbone, self_supervised.videomae)


def test_base_size_from_random_weights_gives_one_logit_a_clip(clip):
    network = HumanOnly(HumanOnlySettings(), RANDOM).build(None, seed=0).eval()
    with torch.inference_mode():
        logits = network(clip)
    assert logits.shape == (1,)
    assert logits.isfinite().all()


def write_noise(path, width, height, frames=4):
    """A lossless video without two pixels alike, which shows every difference in scaling."""
    rng = np.random.default_rng(width)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for _ in range(frames):
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module", params=[VideoMAEImageProcessorPil, VideoMAEImageProcessor])
def processor(request, tmp_path_factory):
    """With PIL, as when the checkpoints were published, and with torchvision, today's default."""
    folder = tmp_path_factory.mktemp("processor")
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return request.param.from_pretrained(folder)


def differences(path, times, processor):
    """Between our batch and upstream's, value by value, in steps of a pixel (1/255)."""
    wanted = videomae_input(SSL, "last")
    theirs = processor(list(read_frames(path, times)), return_tensors="pt").pixel_values
    ours = to_batch([read_frames(path, times, wanted.sampling.picture)], wanted, "cpu")
    assert ours.shape == theirs.shape == (1, len(times), 3, 224, 224)
    return ((ours - theirs) * torch.tensor(IMAGENET_STD).view(3, 1, 1) * 255).abs()


SIZES = [(320, 240), (240, 426), (427, 241), (241, 427), (225, 224), (160, 120), (97, 201), (224, 224), (1919, 1079)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixels_of_noise_are_those_of_the_published_preprocessor(tmp_path, processor, width, height):
    """The same as torchvision's; from PIL's, which rounds otherwise, one step away, two once in 100 000 values."""
    found = differences(write_noise(tmp_path / "noise.mkv", width, height), [0.0, 0.1, 0.3], processor)
    assert found.max() <= (2.001 if isinstance(processor, VideoMAEImageProcessorPil) else 0.001)
    assert (found > 1.001).double().mean() <= 5e-5


@pytest.mark.parametrize(("width", "height"), [(426, 240), (240, 426), (160, 120)])
def test_pixels_of_an_h264_video_are_those_of_the_published_preprocessor(tmp_path, processor, width, height):
    make_video(tmp_path / "numbers.mp4", frames=20, width=width, height=height)
    assert differences(tmp_path / "numbers.mp4", [0.0, 0.1, 0.7], processor).max() <= 1.001


@pytest.mark.skipif(not REAL_VIDEOS.is_dir(), reason="the real videos are not here")
@pytest.mark.parametrize("name", ["human_1080p.mp4", "human_mpeg4.avi", "human_rate_29_97.mp4", "mouse_openfield.mp4"])
def test_pixels_of_real_videos_are_those_of_the_published_preprocessor(processor, name):
    assert differences(REAL_VIDEOS / name, [0.0, 0.4, 1.1], processor).max() <= 1.001


def test_another_way_of_scaling_would_be_noticed(tmp_path):
    """The tolerance is not so wide that plain bilinear scaling, without averaging, fits into it."""
    picture = videomae_input(SSL, "last").sampling.picture
    frame = read_frames(write_noise(tmp_path / "noise.mkv", 320, 240), [0.0])[0]
    ours, plain = (to_square(frame, p).astype(int) for p in (picture, replace(picture, rule="mmaction2")))
    assert abs(ours - plain).max() > 10
