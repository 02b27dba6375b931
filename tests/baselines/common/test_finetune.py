"""The shared recipe on a network whose every step can be followed: one linear layer over mean colours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from baselines.common.finetune import FineTuner, FinetuneSettings, rate_share
from benchmark.baseline import Input, Scale
from benchmark.data.frames import Sampling

TINY, PUBLISHED = Scale("tiny", "random", 3.0), Scale("base", "k400", 3.0)
INPUT = Input(Sampling(frames=2, spacing_s=0.5, place="last", size=8), mean=(0.5,) * 3, std=(0.5,) * 3, layout="CTHW")
PLAIN = {"smallest_crop": 1, "flip": False}


@dataclass
class Clip:
    """What FineTuner reads of a support or a query."""

    views: list[np.ndarray]
    labels: np.ndarray = field(default_factory=lambda: np.array([0, 1, 0, 1]))
    seed: int = 7

    @property
    def frame_keys(self) -> list[str]:
        return [hashlib.sha256(view.tobytes()).hexdigest() for view in self.views]

    def frames(self) -> list[np.ndarray]:
        return self.views


class Small(nn.Module):
    """Batch norm over colours, dropout, and a head over their means."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm, self.dropout, self.head = nn.BatchNorm3d(3), nn.Dropout(dropout), nn.Linear(3, 1)
        self.checkpointed = False

    def use_checkpointing(self) -> None:
        self.checkpointed = True

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.norm(batch).mean(dim=(2, 3, 4)))).squeeze(-1)


def support(seed: int = 0) -> Clip:
    """Dark clips labelled 0 and bright ones labelled 1: (1, 2, 8, 8, 3) each."""
    rng = np.random.default_rng(seed)
    return Clip([rng.integers(150 * label, 150 * label + 90, (1, 2, 8, 8, 3), dtype=np.uint8) for label in (0, 1) * 2])


def tuner(scale: Scale = TINY, dropout: float = 0.0, **changes: object) -> FineTuner:
    settings = FinetuneSettings(**{**PLAIN, "lr": 0.05, **changes})  # type: ignore[arg-type]
    torch.manual_seed(0)
    return FineTuner(Small(dropout), INPUT, settings, scale, "cpu")  # type: ignore[arg-type]


def weights(of: FineTuner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.network.state_dict().items()}


def test_one_adam_step_from_the_drawn_head_is_what_pencil_and_paper_give() -> None:
    """Adam's first step moves every weight by the rate, against the sign of its gradient."""
    it, clips = tuner(PUBLISHED, epochs=1, batch_size=4, warmup=0, schedule="constant"), support()
    it.settings = it.settings.model_copy(update={"epochs": 0})
    it.fit(clips)
    before = weights(it)
    it.settings = it.settings.model_copy(update={"epochs": 1})
    it.fit(clips)
    bright = torch.tensor([np.mean(view) for view in clips.views])
    assert bright[1] > bright[0]  # so the gradient of each colour's weight is negative
    assert torch.allclose(weights(it)["head.weight"] - before["head.weight"], torch.full((1, 3), 0.05), atol=1e-4)


def test_published_batch_norm_statistics_never_move_and_the_rest_does() -> None:
    it = tuner(PUBLISHED)
    it.fit(support())
    moved = {name for name, value in weights(it).items() if not torch.equal(value, it.start[name])}
    assert moved == {"norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_random_batch_norms_are_measured_on_the_support_and_then_stay() -> None:
    it, clips = tuner(epochs=0), support()
    it.fit(clips)
    colours = np.stack([view[0] for view in clips.views]) / 255 * 2 - 1
    pairs = [colours[:2].mean(axis=(0, 1, 2, 3)), colours[2:].mean(axis=(0, 1, 2, 3))]
    np.testing.assert_allclose(it.network.norm.running_mean, np.mean(pairs, axis=0), atol=1e-5)
    measured = it.network.norm.running_var.clone()
    it.settings = it.settings.model_copy(update={"epochs": 5})
    it.fit(clips)
    assert torch.equal(it.network.norm.running_var, measured)


def test_scores_do_not_depend_on_the_query_as_a_whole() -> None:
    it = tuner()
    it.fit(support())
    query = support(seed=3)
    together = it.predict(query)
    np.testing.assert_allclose(together[:1], it.predict(Clip(query.views[:1])), atol=1e-6)


def test_batches_shrink_until_they_fit_and_the_scores_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    it, query = tuner(), support(seed=3)
    it.fit(support())
    whole, tried = it.predict(query), []
    logits = it._logits

    def little_memory(batch: torch.Tensor) -> torch.Tensor:
        tried.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return logits(batch)

    monkeypatch.setattr(it, "_logits", little_memory)
    np.testing.assert_allclose(it.predict(query), whole, atol=1e-6)
    assert tried == [4, 4, 4, 2, 2]
    monkeypatch.setattr(it, "_logits", lambda batch: little_memory(torch.cat([batch] * 3)))
    with pytest.raises(torch.OutOfMemoryError):
        it.predict(query)


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.5}, {"smallest_crop": 0.3, "flip": True}])
def test_a_fit_repeats_bit_for_bit_whatever_the_global_generator_did(changes: dict[str, float]) -> None:
    it, clips = tuner(**changes), support()
    it.fit(clips)
    first = weights(it)
    torch.rand(13)
    before = torch.get_rng_state()
    it.fit(clips)
    assert all(torch.equal(value, first[name]) for name, value in weights(it).items())
    assert torch.equal(torch.get_rng_state(), before)  # and leaves it as it was


@pytest.mark.parametrize("changes", [{"dropout": 0.5}, {"smallest_crop": 0.3}])
def test_another_episode_draws_other_randomness(changes: dict[str, float]) -> None:
    it, clips = tuner(epochs=1, **changes), support()
    it.fit(clips)
    first = weights(it)
    it.fit(Clip(clips.views, seed=8))
    assert not torch.equal(weights(it)["norm.weight"], first["norm.weight"])


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_optimiser_and_precision_separates_bright_from_dark(optimiser: str, precision: str) -> None:
    it, clips = tuner(optimiser=optimiser, precision=precision, lr=0.1, epochs=40), support()
    it.fit(clips)
    scores = it.predict(support(seed=9))
    assert scores[[1, 3]].min() > scores[[0, 2]].max()
    assert it.card()["precision"] == precision


@pytest.mark.filterwarnings("error:Detected call of `lr_scheduler")
def test_steps_that_the_gradient_scaler_skips_are_counted_and_told() -> None:
    """Activations of 60,000 times a gradient that the scaler multiplies by 65,536 at first are beyond float16.

    The drawn head is so sure of every clip that its gradient is 0 where it is right; so it must be made wrong.
    """
    it, clips = tuner(PUBLISHED, precision="fp16", epochs=3, batch_size=4), support()
    it.fit(clips)
    assert it.card()["skipped_steps"] == "0"
    it.start["norm.weight"].fill_(6e4)
    skipped = []
    for labels in (clips.labels, 1 - clips.labels):
        it.fit(Clip(clips.views, labels))
        skipped.append(it.card()["skipped_steps"])
        assert torch.equal(weights(it)["norm.bias"], it.start["norm.bias"])
    assert sorted(skipped) == ["0", "3"]


def test_fp32_tells_of_no_scaler() -> None:
    it = tuner()
    it.fit(support())
    assert "skipped_steps" not in it.card()


def test_weight_decay_pulls_the_weights_down() -> None:
    free, bound = tuner(optimiser="adamw"), tuner(optimiser="adamw", weight_decay=5.0)
    for it in (free, bound):
        it.fit(support())
    assert bound.network.head.weight.norm() < free.network.head.weight.norm()


@pytest.mark.parametrize(("asked", "used"), [(None, False), (True, True), (False, False)])
def test_checkpointing_is_for_gpus_unless_asked_for(asked: bool | None, used: bool) -> None:
    assert tuner(checkpointing=asked).network.checkpointed is used


@pytest.mark.parametrize(("size", "rate"), [(TINY, "tiny"), (PUBLISHED, "base")])
def test_the_default_rate_goes_by_size_and_is_told(size: Scale, rate: str) -> None:
    from baselines.common.finetune import RATE

    assert tuner(size, lr=None).card()["lr"] == f"{RATE[rate]:g}"
    assert tuner(size, lr=0.25).card()["lr"] == "0.25"


@pytest.mark.parametrize(
    ("through", "share"), [(0.0, 0.01), (0.125, 0.5), (0.25, 1.0), (0.625, 0.5), (1.0, 0.0), (0.4375, 0.853553)]
)
def test_the_rate_climbs_for_a_quarter_and_then_falls_by_half_a_cosine(through: float, share: float) -> None:
    assert rate_share(through, 0.25, "cosine") == pytest.approx(share, abs=1e-6)


def test_a_constant_rate_stays() -> None:
    settings = FinetuneSettings(schedule="constant", warmup=0)
    assert [rate_share(x, settings.warmup, settings.schedule) for x in (0, 0.3, 1)] == [1, 1, 1]
