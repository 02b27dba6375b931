"""Initial weights and published files, settled before anything is decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from benchmark import registry
from benchmark.baseline import BaselineSettings, Scale
from benchmark.run.plan import Wanted, initial_weights, plan_methods, plan_units
from benchmark.run.units import DataCard, RunCard
from benchmark.weights.catalogue import PublishedWeights, WeightsFile
from protocols.episodes import Episode
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task

EPISODE = Episode("paper", 1, 0, ("a", "b"), ("c",))
CARD = RunCard(
    task=load_task("forecast_5s"),
    protocol=load_protocol("paper"),
    seed=0,
    data=DataCard(name="d", rendered=False, manifest="m", pool="p", patients=1, positives=2, negatives=2, left_out={}),
)


class PretendSettings(BaselineSettings):
    """A setting that asks for another checkpoint."""

    variant: str = Field(default="one")


class Pretend:
    """Starts from one of two published files."""

    Settings = PretendSettings
    inits = ("k400", "imagenet")
    input = None

    def __init__(self, settings: PretendSettings, scale: Scale) -> None:
        self.settings, self.scale = settings, scale

    @property
    def published(self) -> PublishedWeights | None:
        if self.scale.init == "random":
            return None
        file = WeightsFile(path=f"{self.settings.variant}.pth", address="https://example.org/x.pth")
        return PublishedWeights(
            name="x", init=self.scale.init, trained_on="nothing", licence="none", source="here", files=(file,)
        )

    def build(self, weights: Path | None, seed: int) -> None: ...
    def setup(self, context: object) -> None: ...
    def fit(self, support: object) -> None: ...
    def predict(self, query: object) -> None: ...


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda name: Pretend)


def unit(folder: Path, changes: tuple[str, ...] = (), init: str | None = None):
    methods = plan_methods(["pretend"], changes, Wanted("base", init, 5.0, folder))  # type: ignore[arg-type]
    return plan_units(methods, [EPISODE], CARD)[0][1]


def test_a_network_starts_from_its_first_weights_at_base_and_from_random_ones_at_tiny() -> None:
    assert initial_weights("p", Pretend, "base", None) == "k400"  # type: ignore[type-abstract, arg-type]
    assert initial_weights("p", Pretend, "base", "imagenet") == "imagenet"  # type: ignore[arg-type]
    assert initial_weights("p", Pretend, "base", "random") == "random"  # type: ignore[arg-type]
    assert initial_weights("p", Pretend, "tiny", None) == "random"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "init", "words"),
    [("base", "k400-ssl", "p has no such initial weights; it knows k400, imagenet, random"), ("tiny", "k400", "tiny")],
)
def test_weights_that_a_method_does_not_know_are_refused(size: str, init: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        initial_weights("p", Pretend, size, init)  # type: ignore[arg-type]


def test_missing_weights_are_refused_by_the_plan_with_address_and_place(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"one\.pth: missing.*https://example\.org/x\.pth"):
        unit(tmp_path)


def test_other_bytes_make_another_unit_in_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "one.pth").write_bytes(b"first")
    first = unit(tmp_path)
    (tmp_path / "one.pth").write_bytes(b"second")
    second = unit(tmp_path)
    assert first.key == second.key
    assert first != second
    assert first.weights != second.weights


def test_settings_choose_the_file_and_random_weights_need_none(tmp_path: Path) -> None:
    (tmp_path / "two.pth").write_bytes(b"first")
    assert len(unit(tmp_path, ("variant=two",)).weights) == 64
    assert unit(tmp_path, init="random").weights == "-"
