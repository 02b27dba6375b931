"""The fast step against transformers' own forward: losses, gradients, and the FLOP that torch counts in both."""

import shutil

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from baselines.common.batches import to_batch
from baselines.videomae.attention import attend, attention_by_head
from baselines.videomae.encoder import all_tokens, videomae_config, videomae_input
from baselines.videomae.masking import tube_mask
from baselines.videomae.step import Reconstruction, patched, split_tokens, step_flop, stock_flop, targets
from benchmark.baseline import Scale
from tasks.errors import BadInput

TINY, BASE = (Scale(size, "random", 3.0) for size in ("tiny", "base"))
# Three decoder layers (tiny has one), heads of 16, a picture of 3 x 3 patches.
OTHER = {
    "num_frames": 4,
    "image_size": 24,
    "patch_size": 8,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "decoder_hidden_size": 48,
    "decoder_num_hidden_layers": 3,
    "decoder_num_attention_heads": 3,
    "decoder_intermediate_size": 80,
}
CONFIGS = {
    "tiny": lambda: videomae_config(TINY),
    "deeper decoder": lambda: VideoMAEConfig(use_mean_pooling=False, **OTHER),
    "no final norm, no biases": lambda: VideoMAEConfig(use_mean_pooling=True, qv_bias=False, **OTHER),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(config, norm_pix_loss=True):
    """Weights some way from their start, where biases are 0, layer norms trivial and the mask token 0."""
    torch.manual_seed(1)
    network = VideoMAEForPreTraining(config).train()
    network.config.norm_pix_loss = norm_pix_loss
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return network


def clips_of(config, clips=2, ratio=0.3):
    """Noise, and masks of which no two are alike."""
    shape = (clips, config.num_frames, config.image_size, config.image_size, 3)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    slots = config.num_frames // config.tubelet_size
    patches = all_tokens(config) // slots
    masks = np.stack([tube_mask(ratio, slots, patches, 0, 0, sample) for sample in range(clips)])
    return frames, torch.from_numpy(masks)


def pixels_of(frames):
    return to_batch(list(frames.numpy()), videomae_input(TINY, "last"), "cpu")


def gradients_of(network, loss):
    network.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def assert_same_gradients(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.any(), name
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("ratio", [0.12, 0.3, 0.75, 0.9])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_loss_is_transformers_to_a_millionth_and_each_gradient_to_a_hundred_thousandth(config, ratio, norm_pix_loss):
    network = built(config(), norm_pix_loss)
    frames, masks = clips_of(network.config, 2, ratio)
    assert not torch.equal(masks[0], masks[1])
    stock = network(pixels_of(frames), masks).loss
    expected = gradients_of(network, stock)
    losses = Reconstruction(network)(frames, masks)
    assert (losses.shape, losses.dtype) == ((2,), torch.float32)
    assert losses.mean().item() == pytest.approx(stock.item(), rel=1e-6)
    assert_same_gradients(gradients_of(network, losses.mean()), expected, 1e-5)


def test_a_clips_loss_is_its_own():
    network = built(videomae_config(TINY))
    frames, masks = clips_of(network.config, 3)
    with torch.no_grad():
        losses = Reconstruction(network)(frames, masks)
        for clip in range(3):
            alone = network(pixels_of(frames[clip : clip + 1]), masks[clip : clip + 1]).loss
            assert losses[clip].item() == pytest.approx(alone.item(), rel=1e-6)


def test_the_networks_parameters_are_the_only_state():
    network = built(videomae_config(TINY))
    step = Reconstruction(network)
    assert [name for name, _ in step.named_parameters()] == [f"network.{n}" for n, _ in network.named_parameters()]
    assert list(step.state_dict()) == [f"network.{name}" for name in network.state_dict()]


def test_checkpointing_runs_each_layer_twice_and_changes_no_bit_of_a_gradient():
    network = built(CONFIGS["deeper decoder"]())
    clips = clips_of(network.config)
    ran = []
    for layer in [*network.videomae.encoder.layer, *network.decoder.decoder_layers]:
        layer.layernorm_before.register_forward_hook(lambda *_: ran.append(1))
    plain = gradients_of(network, Reconstruction(network)(*clips).mean())
    assert len(ran) == 5
    recomputed = gradients_of(network, Reconstruction(network, checkpointing=True)(*clips).mean())
    assert len(ran) == 5 + 10
    assert_same_gradients(recomputed, plain, 0)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compiled_and_checkpointed_in_bfloat16_it_gives_the_same_gradients_to_the_rounding_of_bfloat16():
    network = built(CONFIGS["deeper decoder"]())
    clips = clips_of(network.config)
    exact = gradients_of(network, Reconstruction(network)(*clips).mean())
    with torch.autocast("cpu", torch.bfloat16):
        loss = Reconstruction(network, checkpointing=True, compiled=True)(*clips).mean()
    assert loss.dtype == torch.float32
    assert_same_gradients(gradients_of(network, loss), exact, 0.02)


def test_bfloat16_is_as_near_to_float32_as_transformers_is_with_the_target_kept_exact():
    network = built(videomae_config(TINY))
    frames, masks = clips_of(network.config)
    exact = gradients_of(network, network(pixels_of(frames), masks).loss)
    with torch.autocast("cpu", torch.bfloat16):
        losses = Reconstruction(network)(frames, masks)
        stock = network(pixels_of(frames), masks).loss
    assert losses.dtype == torch.float32
    ours, theirs = gradients_of(network, losses.mean()), gradients_of(network, stock)

    def error(gradients):
        return torch.stack([(gradients[n] - exact[n]).norm() for n in exact]).norm()

    assert error(ours) < 1.2 * error(theirs)
    assert error(ours) > 0  # else nothing ran in bfloat16


def test_attention_by_head_is_the_formula_and_its_gradient_is_the_formulas():
    torch.manual_seed(0)
    query = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(2, 5, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weights = torch.einsum("nqhd,nkhd->nhqk", query, key).softmax(-1)
    torch.testing.assert_close(attention_by_head(query, key, value), torch.einsum("nhqk,nkhd->nqhd", weights, value))
    assert torch.autograd.gradcheck(attention_by_head, (query, key, value))
    torch.library.opcheck(attention_by_head, (query, key, value))


def test_both_attentions_scale_by_the_root_of_the_heads_width():
    torch.manual_seed(0)
    query, key, value = (3 * torch.randn(1, 7, 2, 48) for _ in range(3))
    fused = attend(query, key, value)
    by_head = attend(*(part.bfloat16() for part in (query, key, value)))
    assert by_head.dtype == torch.bfloat16
    assert (by_head.float() - fused).norm() < 0.02 * fused.norm()


def test_a_patch_is_cut_by_frame_row_column_and_colour():
    config = VideoMAEConfig(image_size=4, patch_size=2, num_frames=4, tubelet_size=2)
    frames = torch.arange(4 * 4 * 4 * 3, dtype=torch.uint8).view(1, 4, 4, 4, 3)
    tokens = patched(frames, config)
    assert tokens.shape == (1, 8, 24)
    assert torch.equal(tokens[0, 7].view(2, 2, 2, 3), frames[0, 2:4, 2:4, 2:4])
    assert torch.equal(tokens[0, 1].view(2, 2, 2, 3), frames[0, 0:2, 0:2, 2:4])


def test_a_flat_patch_has_a_target_of_zero():
    """Transformers divides the rounding of its un-normalised pixels by 1e-6 there."""
    assert not targets(torch.full((1, 1, 24), 77, dtype=torch.uint8), norm_pix_loss=True).any()


def test_tokens_are_split_in_their_order():
    visible, hidden = split_tokens(torch.tensor([[True, False, True, False], [False, False, True, True]]))
    assert (visible.tolist(), hidden.tolist()) == ([[1, 3], [0, 1]], [[0, 2], [2, 3]])


@pytest.mark.parametrize("rows", [[[1, 0, 0], [1, 1, 0]], [[0, 0, 0]], [[1, 1, 1]]])
def test_rows_masked_unequally_or_wholly_or_not_at_all_are_refused(rows):
    with pytest.raises(BadInput, match="of 3 tokens are masked"):
        split_tokens(torch.tensor(rows, dtype=torch.bool))


def test_a_wrong_count_is_refused():
    with pytest.raises(BadInput, match="1"):
        split_tokens(torch.tensor([[True, False, False]]), count=2)


@pytest.mark.parametrize(
    "change", [{"hidden_dropout_prob": 0.1}, {"attention_probs_dropout_prob": 0.1}, {"hidden_act": "relu"}]
)
def test_a_configuration_that_is_not_covered_is_refused_by_name(change):
    network = VideoMAEForPreTraining(VideoMAEConfig(use_mean_pooling=False, **OTHER, **change))
    with pytest.raises(BadInput, match=next(iter(change))):
        Reconstruction(network)


def test_frames_of_another_size_or_already_normalised_are_refused():
    network = built(videomae_config(TINY))
    frames, masks = clips_of(network.config)
    for wrong in (frames[:, :, :48, :48], frames.float(), frames.permute(0, 1, 4, 2, 3)):
        with pytest.raises(ValueError, match="expected are"):
            Reconstruction(network)(wrong, masks)


def counted(run):
    with FlopCounterMode(display=False) as forward, sdpa_kernel(SDPBackend.MATH):
        loss = run()
    with FlopCounterMode(display=False) as backward, sdpa_kernel(SDPBackend.MATH):
        loss.backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()


@pytest.mark.parametrize("ratio", [0.3, 0.9])
@pytest.mark.parametrize(
    "config", [*list(CONFIGS.values())[:2], lambda: videomae_config(BASE)], ids=["tiny", "other", "base"]
)
def test_flop_of_our_step_is_what_torch_counts(config, ratio):
    """On tensors without values, so the published size costs nothing."""
    with torch.device("meta"):
        network = VideoMAEForPreTraining(config()).train()
    step = Reconstruction(network).to("meta")
    frames, masks = clips_of(network.config, 1, ratio)
    count = int(masks.sum())
    found = counted(lambda: step(frames.to("meta"), masks.to("meta"), count).mean())
    flop = step_flop(network.config, ratio)
    assert found == (flop.forward, flop.training)


def test_flop_of_transformers_step_is_what_torch_counts():
    network = built(CONFIGS["deeper decoder"]())
    frames, masks = clips_of(network.config, 1, 0.75)
    pixels = pixels_of(frames)
    flop = stock_flop(network.config, 0.75)
    assert counted(lambda: network(pixels, masks).loss) == (flop.forward, flop.training)


def test_published_step_costs_137_giga_multiply_adds_and_ours_134():
    config = videomae_config(BASE)
    assert stock_flop(config, 0.3).forward == pytest.approx(2 * 137.3e9, rel=1e-3)
    assert step_flop(config, 0.3).forward == pytest.approx(2 * 133.8e9, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("masks_on", ["cpu", "cuda"])
def test_on_a_gpu_the_loss_is_the_cpus_to_a_hundred_thousandth(masks_on):
    network = built(videomae_config(TINY))
    frames, masks = clips_of(network.config)
    on_cpu = Reconstruction(network)(frames, masks).detach()
    on_gpu = Reconstruction(network).to("cuda")(frames.to("cuda"), masks.to(masks_on), int(masks[0].sum()))
    torch.testing.assert_close(on_gpu.detach().cpu(), on_cpu, rtol=1e-5, atol=0)
