"""Laws of VideoMAE's pre-training and of its features, each against arithmetic written out here or upstream's own."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import VideoMAEForPreTraining
from transformers.models.videomae.modeling_videomae import VideoMAEEmbeddings, VideoMAESelfAttention

from baselines.common.batches import to_batch
from baselines.videomae.encoder import (
    ClipClassifier,
    Encoder,
    all_tokens,
    initial_encoder,
    pretraining_network,
    videomae_config,
    videomae_input,
)
from baselines.videomae.masking import tube_mask
from baselines.videomae.pretrain import Stage1Settings, train
from benchmark.baseline import Context, Scale, Site
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from protocols.spec import load_protocol
from tasks.spec import load_task

TINY, BASE = (Scale(size, "random", 3.0) for size in ("tiny", "base"))
QUIET = Progress(quiet=True)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network():
    """Small, with a decoder, no bias zero."""
    network = pretraining_network(TINY, None, 0)
    network.load_state_dict(random_tensors(network))
    return network.eval()


def random_tensors(network):
    """Weights some way from their start, where biases are 0 and layer norms trivial."""
    generator = torch.Generator().manual_seed(1)
    state = network.state_dict()
    return {name: t + 0.05 * torch.randn(t.shape, generator=generator) for name, t in state.items()}


def noise(clips, seed=0, side=64):
    return np.random.default_rng(seed).integers(0, 256, (clips, 16, side, side, 3), dtype=np.uint8)


def masks(clips, ratio=0.3):
    return torch.from_numpy(np.stack([tube_mask(ratio, 8, 16, 0, 0, sample) for sample in range(clips)]))


def patches_of(frames):
    """Pixels in 0-1 by token, (128, 512, 3): slot, row, column of the patch; in it frame, row, column; colour."""
    pixels = frames.astype(np.float64) / 255
    cut = pixels.reshape(8, 2, 4, 16, 4, 16, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    return cut.reshape(8 * 4 * 4, 2 * 16 * 16, 3)


def loss_by_hand(frames, mask, reconstruction, norm_pix_loss):
    """He et al. 2022, section 3 and VideoMAE: mean squared error over the masked patches alone.

    With `norm_pix_loss` each patch is first brought to mean 0 and (unbiased) variance 1, each colour by itself. The
    target is the plain pixel in 0-1: the normalisation by ImageNet's statistics is undone.
    """
    target = patches_of(frames)
    if norm_pix_loss:
        target = (target - target.mean(1, keepdims=True)) / (np.sqrt(target.var(1, ddof=1, keepdims=True)) + 1e-6)
    return np.mean((reconstruction.astype(np.float64) - target.reshape(128, -1)[mask]) ** 2)


def test_published_network_sees_1104_of_1568_tokens_at_ratio_0_3_the_same_138_places_in_every_slot():
    config = videomae_config(BASE)
    mask = tube_mask(0.3, 8, all_tokens(config) // 8, 3, 1, 2)
    assert (all_tokens(config), mask.sum(), (~mask).sum()) == (1568, 464, 1104)
    slots = mask.reshape(8, 14, 14)
    assert (slots == slots[0]).all()
    embeddings = VideoMAEEmbeddings(config)
    with torch.no_grad():
        embeddings.patch_embeddings.projection.weight.zero_()
        embeddings.patch_embeddings.projection.bias.zero_()
        seen = embeddings(torch.zeros(1, 16, 3, 224, 224), torch.from_numpy(mask)[None])
    assert torch.equal(seen[0], embeddings.position_embeddings[0, ~mask])  # what is left are the places
    assert seen.shape == (1, 1104, 768)


def test_a_masked_patch_cannot_reach_the_encoder(network):
    """Else the task would be to copy it."""
    frames, mask = noise(1), masks(1)
    hidden = frames.copy()
    hidden_patch = int(np.flatnonzero(mask[0].numpy())[0])  # in slot 0, and masked in all slots
    row, column = divmod(hidden_patch, 4)
    hidden[:, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 0
    with torch.inference_mode():
        one, other = (network(to_batch(f, videomae_input(TINY, "last"), "cpu"), mask) for f in (frames, hidden))
    assert torch.equal(one.logits, other.logits)
    assert one.loss != other.loss


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("ratio", [0.3, 0.75])
def test_loss_is_the_mean_squared_error_on_masked_patches_to_a_hundred_thousandth(network, norm_pix_loss, ratio):
    network.config.norm_pix_loss = norm_pix_loss
    frames, mask = noise(3), masks(3, ratio)
    with torch.inference_mode():
        out = network(to_batch(frames, videomae_input(TINY, "last"), "cpu"), mask)
    by_hand = [
        loss_by_hand(frames[n], mask[n].numpy(), out.logits[n].numpy(), norm_pix_loss) for n in range(len(frames))
    ]
    assert out.loss.item() == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_the_target_is_un_normalised_by_the_statistics_that_our_input_is_normalised_by(network):
    """A network that reconstructs exactly (its head gives a constant) has no loss on a picture of that one colour."""
    network.config.norm_pix_loss = False
    frames = np.full((1, 16, 64, 64, 3), (255, 51, 0), dtype=np.uint8)
    with torch.no_grad():
        network.decoder.head.weight.zero_()
        network.decoder.head.bias.copy_(torch.tensor([1.0, 0.2, 0.0]).repeat(512))
    with torch.inference_mode():
        out = network(to_batch(frames, videomae_input(TINY, "last"), "cpu"), masks(1))
    assert out.loss.item() < 1e-12


@pytest.fixture(scope="module")
def data(data_set, short_task, cache):
    spec = load_protocol("patient_disjoint", episodes=2)
    return TaskData(read_manifest(data_set), load_task(short_task), spec, 0, open_stores(cache), cache)


def unasked(*_):
    raise AssertionError("training asks for nothing more")


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_stage_1_descends_on_upstreams_own_loss_with_the_masks_of_seed_epoch_and_sample(data, tmp_path, norm_pix_loss):
    """The first epoch in one step: its loss is that of the initial weights. Which of three views is drawn is free."""
    wanted = videomae_input(TINY, "several")
    clips = data.pretraining(wanted.sampling, "+R(Y/N)", 1, QUIET)[0]
    chosen = Stage1Settings(stage1_epochs=1, stage1_batch_size=64, norm_pix_loss=norm_pix_loss)
    network = pretraining_network(TINY, None, 5)
    network.config.norm_pix_loss = norm_pix_loss
    context = Context(5, "cpu", 1, tmp_path, None, unasked, unasked, QUIET)
    recorded = train(network, clips, chosen, wanted, context, Site(tmp_path))["loss_first_epoch"]

    upstream = VideoMAEForPreTraining(videomae_config(TINY))
    upstream.load_state_dict(pretraining_network(TINY, None, 5).state_dict())
    upstream.config.norm_pix_loss = norm_pix_loss
    losses = []
    with torch.inference_mode():
        for sample, views in enumerate(clips.frames()):
            mask = torch.from_numpy(tube_mask(0.3, 8, 16, 5, 0, sample))[None]
            batches = [to_batch([view], wanted, "cpu") for view in views]
            losses.append([upstream(batch, mask).loss.item() for batch in batches])
    possible = np.array([np.mean(choice) for choice in itertools.product(*losses)])
    assert abs(possible - recorded).min() < 1e-5 * recorded
    other_mask = torch.from_numpy(tube_mask(0.3, 8, 16, 6, 0, 0))[None]
    with torch.inference_mode():
        assert abs(upstream(batches[0], other_mask).loss.item() - losses[-1][0]) > 1e-4 * recorded


def with_attention(kind, network):
    """The same weights; `sdpa` is torch's fused kernel, `eager` the two products and the softmax written out."""
    config = videomae_config(TINY)
    config._attn_implementation = kind
    twin = VideoMAEForPreTraining(config)
    twin.load_state_dict(network.state_dict())
    used = [
        module.config._attn_implementation for module in twin.modules() if isinstance(module, VideoMAESelfAttention)
    ]
    assert used == [kind] * 5
    return twin.train()


def test_fused_attention_equals_the_written_out_one(network):
    """Reconstruction (values to 3) to 1e-5, gradients (values to 0.02) to 1e-7 or a ten-thousandth of themselves."""
    results = []
    for kind in ("sdpa", "eager"):
        twin = with_attention(kind, network)
        out = twin(to_batch(noise(2), videomae_input(TINY, "last"), "cpu"), masks(2))
        out.loss.backward()
        results.append((out.logits.detach(), {name: p.grad for name, p in twin.named_parameters()}))
    (fused, fused_gradients), (written_out, gradients) = results
    torch.testing.assert_close(fused, written_out, atol=1e-5, rtol=1e-5)
    assert fused_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, atol=1e-7, rtol=1e-4, msg=name)
        assert gradient.any(), name


def gradients_of(network, loss):
    network.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def layers_that_run(network):
    """A list that grows by one with each layer that runs."""
    seen = []
    for layer in network.modules():
        if type(layer).__name__ == "VideoMAELayer":
            layer.layernorm_before.register_forward_hook(lambda module, given, output: seen.append(module))
    return seen


def test_checkpointing_changes_no_bit_of_a_classifiers_gradients():
    network = ClipClassifier(initial_encoder(TINY, None, 0, "mean")).train()
    batch = to_batch(noise(2), videomae_input(TINY, "last"), "cpu")
    layers = layers_that_run(network)
    plain = gradients_of(network, network(batch).square().sum())
    assert len(layers) == 4
    network.use_checkpointing()
    layers.clear()
    recomputed = gradients_of(network, network(batch).square().sum())
    assert len(layers) == 8  # each layer twice
    assert plain.keys() == recomputed.keys()
    assert len(plain) > 60
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


def test_checkpointing_changes_no_bit_of_pre_trainings_gradients(network):
    network.train()
    batch = to_batch(noise(2), videomae_input(TINY, "last"), "cpu")
    layers = layers_that_run(network)
    plain = gradients_of(network, network(batch, masks(2)).loss)
    assert len(layers) == 5
    network.activation_checkpointing_enable({"use_reentrant": False})
    layers.clear()
    recomputed = gradients_of(network, network(batch, masks(2)).loss)
    assert len(layers) == 10
    assert plain.keys() == recomputed.keys() == dict(network.named_parameters()).keys()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_a_clips_feature_does_not_depend_on_the_batch_it_is_in_to_1e_5(network, pool):
    encoder, clips = (
        Encoder(network.videomae, None, pool).eval(),
        to_batch(noise(7), videomae_input(TINY, "last"), "cpu"),
    )

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=9))
    def law(chosen):
        with torch.inference_mode():
            together = encoder(clips[chosen])
        torch.testing.assert_close(together, alone[chosen], atol=1e-5, rtol=0)

    with torch.inference_mode():
        alone = torch.cat([encoder(clip[None]) for clip in clips])
    assert (alone[0] - alone[1]).abs().max() > 1e-2
    law()


def test_evaluation_has_no_chance_in_it(network):
    encoder = Encoder(network.videomae, None, "mean").eval()
    batch = to_batch(noise(2), videomae_input(TINY, "last"), "cpu")
    with torch.inference_mode():
        assert torch.equal(encoder(batch), encoder(batch))
        assert torch.equal(encoder.train()(batch), encoder.eval()(batch))  # no dropout in the published configuration
