"""Weights are loaded whole or not at all, and features are what the formula says."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEForPreTraining

from baselines.videomae.encoder import (
    encoder_flop,
    initial_encoder,
    pretraining_network,
    stage1_encoder,
    use_checkpointing,
    videomae_config,
    videomae_input,
)
from benchmark.baseline import Scale
from tasks.errors import BadInput

TINY = Scale("tiny", "random", 5.0)


@pytest.fixture
def checkpoint(tmp_path):
    network = pretraining_network(TINY, None, seed=3)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("query.bias"):
                value.fill_(0.01)
    network.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def changed(checkpoint, change):
    path = checkpoint / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})
    return checkpoint


def test_encoder_of_a_checkpoint_has_its_exact_weights(checkpoint):
    saved = load_file(checkpoint / "model.safetensors")
    loaded = stage1_encoder(checkpoint, "mean").backbone.state_dict()
    assert loaded
    for name, value in loaded.items():
        published = name.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
        assert torch.equal(value, saved[f"videomae.{published}"]), name


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_feature_is_the_pooled_last_hidden_state_after_the_layer_norm(checkpoint, pool):
    batch = torch.randn(2, 16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = VideoMAEForPreTraining.from_pretrained(checkpoint).videomae(batch).last_hidden_state
        feature = stage1_encoder(checkpoint, pool)(batch)
    assert tokens.shape == (2, 8 * 4 * 4, 192)
    torch.testing.assert_close(feature, tokens.mean(dim=1) if pool == "mean" else tokens[:, 0])
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros(2, 128), atol=1e-5, rtol=0)


def remove(state):
    del state["videomae.encoder.layer.0.attention.output.dense.weight"]


def add(state):
    state["videomae.encoder.layer.99.weight"] = torch.ones(1)


def reshape(state):
    state["mask_token"] = torch.ones(1, 1, 7)


def zero_biases(state):
    for name in state:
        if name.endswith("q_bias"):
            state[name] = torch.zeros_like(state[name])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove, "1 weights are missing .*attention.output.dense.weight"),
        (add, "1 weights are left over"),
        (reshape, "1 weights are of another shape .*mask_token"),
        (zero_biases, "every query bias is zero .* transformers >= 5.18"),
    ],
)
def test_hole_leftover_or_lost_bias_is_an_error_never_a_random_layer(checkpoint, change, words):
    with pytest.raises(BadInput, match=words):
        stage1_encoder(changed(checkpoint, change), "mean")


def test_truncated_checkpoint_is_refused(checkpoint):
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInput, match="cannot be loaded"):
        stage1_encoder(checkpoint, "mean")


def test_base_size_without_weights_names_the_address_and_the_place(tmp_path):
    base = Scale("base", "k400-ssl", 5.0)
    with pytest.raises(BadInput, match=r"MCG-NJU/videomae-base .*--weights"):
        initial_encoder(base, None, 0, "mean")
    with pytest.raises(BadInput, match=r"videomae-base/config\.json is missing"):
        initial_encoder(base, tmp_path, 0, "mean")


def test_stage_1_refuses_a_checkpoint_without_decoder(tmp_path):
    with pytest.raises(BadInput, match="no decoder"):
        pretraining_network(Scale("base", "k400", 5.0), tmp_path, 0)


def test_base_configuration_is_the_published_one():
    config = videomae_config(Scale("base", "random", 5.0))
    published = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    published |= {"image_size": 224, "patch_size": 16, "num_frames": 16, "tubelet_size": 2}
    published |= {"decoder_hidden_size": 384, "decoder_num_hidden_layers": 4, "use_mean_pooling": False}
    assert {key: getattr(config, key) for key in published} == published
    assert json.dumps(videomae_input(Scale("base", "random", 5.0), "last").sampling.size) == "224"


def test_gradient_checkpointing_changes_no_gradient():
    batch = torch.randn(2, 16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    gradients = []
    for device in ("cpu", "cuda"):  # only the second switches it on; the network itself stays on the CPU
        encoder = initial_encoder(TINY, None, 0, "mean").train()
        use_checkpointing(encoder, device)
        encoder(batch).square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 50
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_flop_of_the_base_encoder_are_those_of_the_reference():
    """180.3 GMAC for ViT-B at 1568 tokens, patch embedding (1.85 GMAC) included."""
    assert encoder_flop(Scale("base", "random", 5.0)) / 2e9 == pytest.approx(180.3, rel=0.02)


def test_initial_weights_follow_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second, other = (pretraining_network(TINY, None, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
