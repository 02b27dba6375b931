"""The head over time: it is the formula that it claims to be, it hears order, and nothing of it outlives an episode."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from baselines.common.batches import to_batch
from baselines.common.finetune import FineTuner, FinetuneSettings, draw_linear
from baselines.videomae.encoder import (
    ClipClassifier,
    Encoder,
    TemporalAttention,
    initial_encoder,
    pretraining_network,
    videomae_input,
)
from baselines.videomae.human_only import HumanOnly, HumanOnlySettings
from baselines.videomae.xspecies import CrossSpeciesSettings
from benchmark.baseline import Input, Scale
from benchmark.data.frames import Sampling
from tests.baselines.videomae.test_laws import gradients_of, noise

TINY = Scale("tiny", "random", 3.0)
COLOURS = Input(Sampling(frames=16, spacing_s=0.1, place="last", size=8), mean=(0.5,) * 3, std=(0.5,) * 3)
RED, GREEN, GREY = (200, 40, 90), (40, 200, 90), (90, 90, 90)
BOTH = pytest.mark.parametrize("settings", [HumanOnlySettings, CrossSpeciesSettings])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@dataclass
class Clip:
    """What FineTuner reads of a support or a query."""

    views: list[np.ndarray]
    labels: np.ndarray
    seed: int = 7

    @property
    def frame_keys(self) -> list[str]:
        return [hashlib.sha256(view.tobytes()).hexdigest() for view in self.views]

    def frames(self) -> list[np.ndarray]:
        return self.views


class Colours(nn.Module):
    """An encoder that sees the mean colour of each time slot and nothing else."""

    width, slots = 3, 8

    def over_time(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean(dim=(3, 4)).unflatten(1, (8, 2)).mean(dim=2)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.over_time(batch).mean(dim=1)


def two_flashes(seed: int = 0, pairs: int = 4) -> Clip:
    """Label 0: red in the second slot, green in the seventh; label 1: the same pictures with these two exchanged."""
    rng, views = np.random.default_rng(seed), []
    slots = np.tile(np.array(GREY, dtype=np.uint8), (8, 1))
    slots[[1, 6]] = RED, GREEN
    for _ in range(pairs):
        frames = np.repeat(slots, 2, axis=0)[:, None, None, :] + rng.integers(0, 8, (16, 8, 8, 3), dtype=np.uint8)
        exchanged = frames.copy()
        exchanged[[2, 3, 12, 13]] = frames[[12, 13, 2, 3]]
        views += [frames[None], exchanged[None]]
    return Clip(views, np.tile([0, 1], pairs))


def tuner(head: str, **changes: object) -> FineTuner:
    settings = FinetuneSettings(**{"epochs": 40, "lr": 0.03, "smallest_crop": 1, "flip": False, **changes})
    return FineTuner(ClipClassifier(Colours(), head), COLOURS, settings, TINY, "cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_learns_the_order_of_two_moments_and_says_so_on_unseen_clips(precision):
    it = tuner("temporal-attention", precision=precision)
    it.fit(two_flashes())
    scores = it.predict(two_flashes(seed=1))
    assert scores[1::2].min() > 0.8
    assert scores[0::2].max() < 0.2


def test_a_linear_layer_over_the_mean_cannot_tell_the_order():
    it = tuner("linear")
    it.fit(two_flashes())
    scores = it.predict(two_flashes(seed=1))
    np.testing.assert_allclose(scores[0::2], scores[1::2], atol=1e-6)


def drawn(width=6, slots=4, seed=0, query=1.0):
    head, generator = TemporalAttention(width, slots), torch.Generator().manual_seed(seed)
    head.draw(generator)
    with torch.no_grad():
        head.query.copy_(query * torch.randn(1, width, generator=generator))
        head.norm.weight.copy_(torch.rand(width, generator=generator) + 0.5)
    return head


def test_a_logit_is_the_weighted_mean_over_time_written_out():
    head, features = drawn(), torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        given = head(features).numpy()
        values, time, query = head.norm(features).numpy(), head.time.numpy(), head.query.numpy()[0]
        weight, bias = head.linear.weight.numpy()[0], head.linear.bias.numpy()[0]
    for clip in range(3):
        rates = np.exp((values[clip] + time) @ query / np.sqrt(6))
        by_hand = (rates / rates.sum()) @ values[clip] @ weight + bias
        assert given[clip, 0] == pytest.approx(by_hand, abs=1e-6)
        assert rates.max() > 1.2 * rates.min()


def test_a_new_head_is_nearly_a_linear_layer_on_the_mean_over_time():
    """So that what it gains is gained by learning when to look."""
    head, features = TemporalAttention(192, 8), torch.randn(5, 8, 192, generator=torch.Generator().manual_seed(1))
    head.draw(torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(head(features), head.linear(head.norm(features).mean(1)), atol=0.01, rtol=0)
        assert head(features).std() > 0.05


def test_every_parameter_is_drawn_from_the_generator_and_from_nothing_else():
    head = TemporalAttention(6, 4)
    states = []
    for seed in (3, 3, 4):
        with torch.no_grad():
            for tensor in head.parameters():
                tensor.fill_(torch.rand(()).item() + 5)  # as an earlier episode might have left it
        head.draw(torch.Generator().manual_seed(seed))
        states.append({name: tensor.clone() for name, tensor in head.state_dict().items()})
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {name for name in first if not torch.equal(first[name], other[name])} == {"time", "query", "linear.weight"}


def test_an_episode_does_not_depend_on_the_one_before():
    it, clips = tuner("temporal-attention", epochs=3), two_flashes()
    it.fit(clips)
    first = it.predict(clips)
    it.fit(Clip(clips.views, 1 - clips.labels, seed=8))
    assert not np.array_equal(it.predict(clips), first)
    it.fit(clips)
    np.testing.assert_array_equal(it.predict(clips), first)


def test_the_linear_head_draws_what_it_always_drew():
    """0.02 times the generator's first normal numbers, and no bias: published figures of linear heads stand on it."""
    layer = nn.Linear(192, 1)
    draw_linear(layer, torch.Generator().manual_seed(7))
    expected = torch.randn((1, 192), generator=torch.Generator().manual_seed(7)) * 0.02
    assert torch.equal(layer.weight, expected)
    assert torch.equal(layer.bias, torch.zeros(1))
    it = tuner("linear", epochs=0)
    it.fit(two_flashes())
    drawn_first = torch.randn((1, 3), generator=torch.Generator().manual_seed(7)) * 0.02
    assert torch.equal(it.network.head.weight, drawn_first)


def test_slots_are_the_encoders_tokens_by_time():
    """A token covers two frames; those of the first two come first."""
    embed = pretraining_network(TINY, None, 0).videomae.embeddings.patch_embeddings
    dark = torch.zeros(1, 16, 3, 64, 64)
    for slot in (0, 3, 7):
        lit = dark.clone()
        lit[:, 2 * slot : 2 * slot + 2] = 1.0
        with torch.no_grad():
            changed = (embed(lit) != embed(dark)).any(dim=2)[0]
        assert torch.equal(changed.nonzero()[:, 0], torch.arange(16 * slot, 16 * slot + 16))


@pytest.mark.parametrize("fine_tuned", [False, True])
def test_a_slot_is_the_mean_of_its_patches_through_the_norm_of_its_checkpoint(fine_tuned):
    network, norm = pretraining_network(TINY, None, 0), nn.LayerNorm(192)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(192) + 0.5)
    encoder = Encoder(network.videomae, norm if fine_tuned else None, "mean").eval()
    batch = to_batch(noise(2), videomae_input(TINY, "last"), "cpu")
    with torch.inference_mode():
        tokens, given = encoder.backbone(batch).last_hidden_state, encoder.over_time(batch)
        for slot in range(8):
            mean = tokens[:, 16 * slot : 16 * slot + 16].mean(dim=1)
            torch.testing.assert_close(given[:, slot], norm(mean) if fine_tuned else mean)
    assert given.shape == (2, 8, 192)


def test_checkpointing_changes_no_bit_of_the_gradients():
    network = ClipClassifier(initial_encoder(TINY, None, 0, "mean"), "temporal-attention").train()
    network.head.draw(torch.Generator().manual_seed(0))
    batch = to_batch(noise(2), videomae_input(TINY, "last"), "cpu")
    plain = gradients_of(network, network(batch).square().sum())
    network.use_checkpointing()
    recomputed = gradients_of(network, network(batch).square().sum())
    assert plain.keys() == recomputed.keys() == {name for name, _ in network.named_parameters()}
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
    assert all(plain[name].any() for name in plain if name.startswith("head."))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bit_gives_the_same_logits_to_three_hundredths(precision):
    network = ClipClassifier(initial_encoder(TINY, None, 0, "mean"), "temporal-attention").eval()
    network.head.draw(torch.Generator().manual_seed(0))
    batch = to_batch(noise(2), videomae_input(TINY, "last"), "cpu")
    with torch.inference_mode():
        whole = network(batch)
        with torch.autocast("cpu", dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[precision]):
            halved = network(batch)
    torch.testing.assert_close(halved.float(), whole, atol=0.03, rtol=0)


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_the_head_has_as_many_numbers_as_the_card_says(size):
    card = Path(__file__).parents[3] / "docs" / "methods" / "human_only.md"
    printed = re.search(r"([\d,]+) parameters at tiny and ([\d,]+) at base", " ".join(card.read_text().split()))
    scale = Scale(size, "random", 5.0)
    with torch.device("meta"):
        encoder = initial_encoder(scale, None, 0, "mean")
        heads = [ClipClassifier(encoder, head).head for head in ("linear", "temporal-attention")]
        side = videomae_input(scale, "last").sampling.size
        assert ClipClassifier(encoder, "temporal-attention")(torch.empty(1, 16, 3, side, side)).shape == (1,)
    count = [sum(parameter.numel() for parameter in head.parameters()) for head in heads]
    assert f"{count[1]:,}" == printed[("tiny", "base").index(size) + 1]
    assert count[0] == encoder.width + 1


@BOTH
def test_the_head_is_linear_unless_asked_for_and_another_is_refused(settings):
    assert settings().head == "linear"
    assert settings(head="temporal-attention").pool == "mean"
    with pytest.raises(ValueError, match="linear"):
        settings(head="deep")


@BOTH
def test_one_token_alone_has_no_times_to_look_at(settings):
    with pytest.raises(ValueError, match="leave pool at mean"):
        settings(head="temporal-attention", pool="first")
    assert settings(pool="first").head == "linear"


@pytest.mark.parametrize(("head", "kind"), [("linear", nn.Linear), ("temporal-attention", TemporalAttention)])
def test_a_row_says_its_head(head, kind):
    method = HumanOnly(HumanOnlySettings(head=head), TINY)
    method.setup(SimpleNamespace(weights=None, seed=0, device="cpu"))
    assert method.card()["head"] == head
    assert isinstance(method.tuner.network.head, kind)
