"""Weights are loaded whole or not at all, whatever lies in the folder, and features are what the formula says.

Small networks in the layout of the published files; the same at full size: test_published.py.
"""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from safetensors.torch import load_file, save_file

from baselines.videomae import encoder
from baselines.videomae.encoder import (
    TINY,
    _refuse_faulty_transformers,
    encoder_flop,
    initial_encoder,
    pretraining_network,
    stage1_encoder,
    videomae_config,
    videomae_input,
)
from benchmark.baseline import Scale
from tasks.errors import BadInput
from tests.baselines.videomae.published_files import config_of, random_network, write_published

RANDOM, SSL, FINE_TUNED = (Scale("tiny", init, 5.0) for init in ("random", "k400-ssl", "k400"))
QUERY = "videomae.encoder.layer.0.attention.attention.q_bias"
DENSE = "videomae.encoder.layer.0.attention.output.dense.weight"


@pytest.fixture
def self_supervised(tmp_path):
    """The path of the tensors of a small checkpoint with a decoder."""
    return write_published(tmp_path / "self-supervised", random_network(False, **TINY), **TINY)


@pytest.fixture
def fine_tuned(tmp_path):
    """The path of the tensors of a small checkpoint with a classifier."""
    return write_published(tmp_path / "fine-tuned", random_network(True, **TINY), **TINY)


@pytest.fixture
def batch():
    return torch.randn(2, 16, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def in_one_sentence(refused):
    """The text of a refusal, which must be one sentence of one line."""
    text = str(refused.value)
    assert "\n" not in text
    assert len(text) < 600
    return text


def change_tensors(weights, change):
    state = load_file(weights)
    change(state)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights, metadata={"format": "pt"})


def change_config(weights, **changes):
    path = weights.parent / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def today(name):
    return name.replace("q_bias", "query.bias").replace("v_bias", "value.bias")


def test_every_tensor_of_the_file_is_in_its_place(self_supervised, fine_tuned):
    for weights, network in (
        (self_supervised, pretraining_network(SSL, self_supervised, 0)),
        (self_supervised, initial_encoder(SSL, self_supervised, 0, "mean").backbone),
        (fine_tuned, initial_encoder(FINE_TUNED, fine_tuned, 0, "mean").backbone),
    ):
        saved = {today(name): tensor for name, tensor in load_file(weights).items()}
        loaded = network.state_dict()
        assert len(loaded) > 60
        for name, tensor in loaded.items():
            assert torch.equal(tensor, saved[name if name in saved else f"videomae.{name}"]), name


def test_names_of_every_release_of_transformers_load_alike(self_supervised):
    """5.5.4 to 5.17 wrote `query.bias`."""
    published = pretraining_network(SSL, self_supervised, 0).state_dict()
    change_tensors(self_supervised, lambda state: [state.update({today(n): state.pop(n)}) for n in list(state)])
    assert QUERY not in load_file(self_supervised)
    between = pretraining_network(SSL, self_supervised, 0).state_dict()
    assert all(torch.equal(between[name], published[name]) for name in published)


def test_loading_draws_no_random_number_and_does_not_look_at_the_seed(self_supervised):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, other = (pretraining_network(SSL, self_supervised, seed).state_dict() for seed in (1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_self_supervised_feature_is_pooled_after_the_final_layer_norm(self_supervised, batch, pool):
    encoder = initial_encoder(SSL, self_supervised, 0, pool)
    norm = encoder.backbone.layernorm
    with torch.inference_mode():
        tokens = encoder.backbone.encoder(encoder.backbone.embeddings(batch, None)).last_hidden_state
        expected = norm(tokens).mean(dim=1) if pool == "mean" else norm(tokens[:, 0])
        feature = encoder(batch)
    assert tokens.shape == (2, 8 * 4 * 4, 192)
    torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_fine_tuned_feature_is_pooled_before_its_layer_norm(fine_tuned, batch, pool):
    encoder = initial_encoder(FINE_TUNED, fine_tuned, 0, pool)
    saved = load_file(fine_tuned)
    with torch.inference_mode():
        tokens = encoder.backbone.encoder(encoder.backbone.embeddings(batch, None)).last_hidden_state
        pooled = tokens.mean(dim=1) if pool == "mean" else tokens[:, 0]
        by_hand = (pooled - pooled.mean(1, keepdim=True)) / (pooled.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        feature = encoder(batch)
    torch.testing.assert_close(feature, by_hand * saved["fc_norm.weight"] + saved["fc_norm.bias"])


def remove(state):
    del state[DENSE]


def remove_bias(state):
    del state[QUERY]


def add(state):
    state["videomae.encoder.layer.99.weight"] = torch.ones(1)


def rename(state):
    state["backbone.mask_token"] = state.pop("mask_token")


def twice(state):
    state[today(QUERY)] = state[QUERY].clone()


def reshape(state):
    state["mask_token"] = torch.ones(1, 1, 7)


def turn(state):
    """The same number of values."""
    name = "videomae.encoder.layer.0.intermediate.dense.weight"
    state[name] = state[name].T


def halve(state):
    state[DENSE] = state[DENSE].half()


def spoil(state):
    state[DENSE][3, 5] = float("nan")


def blow_up(state):
    state["decoder.head.bias"][0] = float("inf")


def zero(kind):
    def change(state):
        for name in state:
            if name.endswith(f"{kind}_bias"):
                state[name] = torch.zeros_like(state[name])

    return change


DAMAGE = [
    (remove, rf"1 tensors are missing \(first: {re.escape(DENSE)}\)"),
    (remove_bias, r"1 tensors are missing \(first: .*layer\.0\.attention\.attention\.query\.bias\)"),
    (add, r"1 tensors are left over \(first: videomae\.encoder\.layer\.99\.weight\)"),
    (rename, r"1 tensors are missing \(first: mask_token\)"),
    (twice, r"attention\.query\.bias is there twice"),
    (reshape, r"1 tensors are of another shape \(first: mask_token \(\(1, 1, 7\) instead of \(1, 1, 96\)\)\)"),
    (turn, r"of another shape \(first: .*intermediate\.dense\.weight \(\(192, 768\) instead of \(768, 192\)\)\)"),
    (halve, rf"{re.escape(DENSE)} is torch\.float16"),
    (spoil, rf"{re.escape(DENSE)} holds numbers that are not finite"),
    (blow_up, r"decoder\.head\.bias holds numbers that are not finite"),
    (zero("q"), r"every query bias is zero.* transformers >= 5\.18"),
    (zero("v"), r"every value bias is zero.* transformers >= 5\.18"),
]


@pytest.mark.parametrize(("change", "words"), DAMAGE, ids=lambda case: getattr(case, "__name__", None))
def test_damaged_tensors_are_refused_by_name(self_supervised, change, words):
    pretraining_network(SSL, self_supervised, 0)
    change_tensors(self_supervised, change)
    with pytest.raises(BadInput, match=words) as refused:
        pretraining_network(SSL, self_supervised, 0)
    assert in_one_sentence(refused).startswith(str(self_supervised))


def test_one_bias_that_is_zero_is_no_fault(self_supervised):
    change_tensors(self_supervised, lambda state: state[QUERY].zero_())
    assert not pretraining_network(SSL, self_supervised, 0).state_dict()[today(QUERY)].any()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def html(weights, marker):
    weights.write_text("<!DOCTYPE html><html><title>Sign in</title></html>")


def truncated(weights, marker):
    weights.write_bytes(weights.read_bytes()[:-1000])


def cut_in_the_header(weights, marker):
    weights.write_bytes(weights.read_bytes()[:100])


def empty(weights, marker):
    weights.write_bytes(b"")


def no_tensors(weights, marker):
    save_file({}, weights)


def gone(weights, marker):
    weights.unlink()


def pickled(weights, marker):
    weights.write_bytes(pickle.dumps(Bomb(marker)))


def torch_file(weights, marker):
    torch.save({"mask_token": Bomb(marker)}, weights)


def pickle_instead(weights, marker):
    weights.unlink()
    torch.save({"mask_token": Bomb(marker)}, weights.with_name("pytorch_model.bin"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (html, "it is an HTML page"),
        (truncated, "cannot be read as a file of weights"),
        (cut_in_the_header, "cannot be read as a file of weights"),
        (empty, "cannot be read as a file of weights"),
        (no_tensors, "holds no tensors"),
        (gone, "No such file"),
        (pickled, "cannot be read as a file of weights"),
        (torch_file, "cannot be read as a file of weights"),
        (pickle_instead, "No such file"),
    ],
)
def test_what_is_no_whole_safetensors_file_is_refused_and_nothing_in_it_runs(self_supervised, tmp_path, damage, words):
    marker = tmp_path / "bomb went off"
    damage(self_supervised, marker)
    with pytest.raises(BadInput, match=words) as refused:
        pretraining_network(SSL, self_supervised, 0)
    assert in_one_sentence(refused).startswith(str(self_supervised))
    assert not marker.exists()


def test_other_files_beside_the_tensors_are_never_opened(self_supervised, tmp_path):
    """transformers would follow an adapter or an index, and fall back on a pickle."""
    marker, folder = tmp_path / "bomb went off", self_supervised.parent
    torch.save({"mask_token": Bomb(marker)}, folder / "pytorch_model.bin")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "other"}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"mask_token": "../other"}}))
    (folder / "modeling_videomae.py").write_text(f"open({str(marker)!r}, 'w')")
    assert pretraining_network(SSL, self_supervised, 0).config.hidden_size == 192
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auto_map": {"AutoModel": "modeling_own.Own"}}, "auto_map asks for code from elsewhere, and none was run"),
        ({"model_type": "vit"}, "model_type is vit; wanted is a VideoMAEForPreTraining"),
        ({"architectures": ["Own"]}, r"architectures is \['Own'\]; wanted is a VideoMAEForPreTraining"),
        ({"architectures": "Own" * 1000}, "architectures is OwnOwn"),
        ({"hidden_size": "9" * 1000}, "hidden_size is '999"),
        ({"hidden_size": 384}, "hidden_size is 384 and must be 192"),
        ({"hidden_size": None}, "hidden_size is 768 and must be 192"),
        ({"num_hidden_layers": 12}, "num_hidden_layers is 12 and must be 4"),
        ({"num_attention_heads": 6}, "num_attention_heads is 6 and must be 3"),
        ({"patch_size": 8}, "patch_size is 8 and must be 16"),
        ({"num_frames": 32}, "num_frames is 32 and must be 16"),
        ({"tubelet_size": 1}, "tubelet_size is 1 and must be 2"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu' and must be 'gelu'"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06 and must be 1e-12"),
        ({"hidden_dropout_prob": 0.1}, "hidden_dropout_prob is 0.1 and must be 0.0"),
        ({"qkv_bias": False}, "qv_bias is False and must be True"),
        ({"qv_bias": False}, "qv_bias is False and must be True"),
        ({"use_mean_pooling": True}, "use_mean_pooling is True and must be False"),
        ({"decoder_num_attention_heads": 6}, "decoder_num_attention_heads is 6 and must be 3"),
    ],
)
def test_a_config_that_describes_another_network_is_refused(self_supervised, changes, words):
    """Some of these have the same tensors, and another function."""
    change_config(self_supervised, **changes)
    with pytest.raises(BadInput, match=words) as refused:
        pretraining_network(SSL, self_supervised, 0)
    assert in_one_sentence(refused).startswith(str(self_supervised.parent / "config.json"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>not here</html>", "is no JSON"),
        (b'{"hidden_size": 768', "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1, 2]", "holds no settings by name"),
        (None, "cannot be read .No such file"),
    ],
)
def test_a_config_that_is_none_is_refused(self_supervised, content, words):
    path = self_supervised.parent / "config.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(BadInput, match=words) as refused:
        pretraining_network(SSL, self_supervised, 0)
    assert in_one_sentence(refused).startswith(str(path))


def test_the_other_kind_of_checkpoint_is_refused_with_what_it_lacks(self_supervised, fine_tuned):
    with pytest.raises(BadInput, match=r"wanted is a VideoMAEForPreTraining, with a decoder and videomae\.layernorm"):
        pretraining_network(SSL, fine_tuned, 0)
    with pytest.raises(BadInput, match="wanted is a VideoMAEForVideoClassification, with fc_norm and a classifier"):
        initial_encoder(FINE_TUNED, self_supervised, 0, "mean")


def test_the_other_kind_is_refused_by_its_tensors_where_the_config_is_exchanged(self_supervised, fine_tuned):
    ours, theirs = (weights.parent / "config.json" for weights in (self_supervised, fine_tuned))
    config = ours.read_text()
    ours.write_text(theirs.read_text())
    theirs.write_text(config)
    with pytest.raises(BadInput, match=r"tensors are missing \(first: decoder\.decoder_layers\.0\."):
        pretraining_network(SSL, fine_tuned, 0)
    with pytest.raises(BadInput, match=r"4 tensors are missing \(first: classifier\.bias\)"):
        initial_encoder(FINE_TUNED, self_supervised, 0, "mean")


def test_base_is_vit_b_whatever_the_config_asks_for(self_supervised):
    """A small checkpoint under the published name; and the same with the published description."""
    base = Scale("base", "k400-ssl", 5.0)
    with pytest.raises(BadInput, match="image_size is 64 and must be 224; remove it and fetch the published files"):
        pretraining_network(base, self_supervised, 0)
    (self_supervised.parent / "config.json").write_text(json.dumps(config_of(False)))
    with pytest.raises(BadInput, match=r"tensors are missing \(first: decoder\.decoder_layers\.1\."):
        pretraining_network(base, self_supervised, 0)


@pytest.mark.parametrize("scale", [SSL, FINE_TUNED])
def test_published_weights_that_are_not_given_are_never_random_ones(scale):
    with pytest.raises(BadInput, match=f"--init {scale.init}: the weights of videomae-base.* are not given"):
        initial_encoder(scale, None, 0, "mean")


def test_a_stage_1_checkpoint_loads_and_a_damaged_one_says_how_to_get_another(tmp_path):
    network = random_network(False, **TINY)
    network.save_pretrained(tmp_path / "stage1")
    loaded = stage1_encoder(tmp_path / "stage1", "mean").backbone.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.videomae.state_dict().items())
    weights = tmp_path / "stage1" / "model.safetensors"
    change_tensors(weights, remove)
    with pytest.raises(BadInput, match=r"1 tensors are missing .* remove its folder, and stage 1 is trained again"):
        stage1_encoder(weights.parent, "mean")
    change_config(weights, num_hidden_layers=40)
    with pytest.raises(BadInput, match="num_hidden_layers is 40 and must be 4; remove its folder"):
        stage1_encoder(weights.parent, "mean")


@pytest.mark.parametrize("sound", ["4.57.1", "5.0.0", "5.5.3", "5.18", "5.18.0", "5.23.0", "6.0.0"])
def test_releases_of_transformers_that_load_soundly_pass(sound):
    _refuse_faulty_transformers(sound)


@pytest.mark.parametrize("faulty", ["5.5.4", "5.6.0", "5.10.2", "5.17.0", "5.17.9"])
def test_releases_of_transformers_that_lose_the_biases_are_refused(faulty):
    with pytest.raises(BadInput, match=f"transformers {re.escape(faulty)} .* install transformers >= 5.18"):
        _refuse_faulty_transformers(faulty)


def test_no_weights_are_loaded_with_a_faulty_release(self_supervised, monkeypatch):
    monkeypatch.setattr(encoder, "version", lambda name: {"transformers": "5.17.0"}[name])
    with pytest.raises(BadInput, match=r"transformers 5\.17\.0"):
        pretraining_network(SSL, self_supervised, 0)


@given(st.tuples(st.integers(4, 6), st.integers(0, 40), st.integers(0, 9)))
def test_the_faulty_releases_are_one_range(parts):
    installed = ".".join(map(str, parts))
    refused = (5, 5, 4) <= parts < (5, 18, 0)
    assert refused == (Version("5.5.4") <= Version(installed) < Version("5.18"))
    try:
        _refuse_faulty_transformers(installed)
    except BadInput:
        assert refused
    else:
        assert not refused


def test_base_configuration_is_the_published_one():
    base = videomae_config(Scale("base", "random", 5.0))
    published = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    published |= {"image_size": 224, "patch_size": 16, "num_frames": 16, "tubelet_size": 2}
    published |= {"decoder_hidden_size": 384, "decoder_num_hidden_layers": 4, "use_mean_pooling": False}
    assert {key: getattr(base, key) for key in published} == published
    assert videomae_config(Scale("base", "k400", 5.0)).use_mean_pooling
    assert videomae_input(Scale("base", "random", 5.0), "last").sampling.size == 224


def test_flop_of_the_base_encoder_are_those_of_the_reference():
    """180.3 GMAC for ViT-B at 1568 tokens, patch embedding (1.85 GMAC) included."""
    assert encoder_flop(Scale("base", "random", 5.0)) / 2e9 == pytest.approx(180.3, rel=0.02)


def test_initial_weights_follow_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second, other = (pretraining_network(RANDOM, None, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
