"""The adapter contract: all that a new method must know.

A method is a class with `@register("name")` in a file of its own under `baselines/`:

    baseline = Name(settings, scale)   cheap; no weights are read yet
    baseline.input                     which frames it wants, or None for none
    baseline.setup(context)            once a run: weights, pre-training
    baseline.fit(support)              once an episode, always from the same state
    baseline.predict(query)            P(onset within the horizon) for each clip

A query carries no label and no time to the seizure, so nothing can be learnt from it. What `Clips`, `Support` and
`Sampling` hold stands in CONTRIBUTING.md and in their docstrings (`benchmark/data/clips.py`, `frames.py`).
Optional capabilities stand at the end: `Loads` (published weights), `Embeds` (frozen features, which the harness
keeps), `Pretrains` (a first stage), `Described` (what a row must say), `Costed` (arithmetic told beforehand) and
`Chooses` (a class that stands for several).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from benchmark.data.dataset import Clips, PretrainClips, Support
from benchmark.data.frames import Sampling
from benchmark.progress import Progress
from benchmark.weights.catalogue import PublishedWeights

Size = Literal["tiny", "base"]
Init = Literal["random", "k400-ssl", "k400", "imagenet"]
Scores = NDArray[np.float64]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BaselineSettings(BaseModel):
    """Base of every adapter's settings: what `--set key=value` may change. Part of the work unit's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Scale:
    """At which size and from which weights a network runs, and how long the task's windows are (seconds)."""

    size: Size
    init: Init
    window_s: float


@dataclass(frozen=True)
class Input:
    """The frames a method wants, and how its network expects them.

    `sampling` is read from the video once, as uint8; `mean` and `std` (of values in 0-1) and `layout` are
    applied when a batch is put together.
    """

    sampling: Sampling
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    layout: Literal["TCHW", "CTHW"] = "TCHW"


@dataclass(frozen=True)
class Context:
    """What the harness gives to `setup`.

    `weights` is the file of the published tensors that `Loads` asked for. `pretraining(sampling, mix)` draws and
    decodes the clips of a mix. `stage1(self)` gives the checkpoint of a method that `Pretrains`: the one that the user
    named, the one in the cache, or one trained now.
    """

    seed: int
    device: str
    threads: int
    cache: Path
    weights: Path | None
    pretraining: Callable[[Sampling, str], PretrainClips]
    stage1: Callable[[Pretrains], Path]
    progress: Progress


class Baseline(Protocol):
    """A method under test.

    `inits` are the initial weights that a network can start from at its published size, the default first; `random`
    is always possible. Empty for a method without weights: its rows carry no size and no init.
    """

    Settings: ClassVar[type[Any]]
    inits: ClassVar[tuple[Init, ...]]

    def __init__(self, settings: Any, scale: Scale) -> None: ...

    @property
    def input(self) -> Input | None: ...

    def setup(self, context: Context) -> None:
        """Read weights, run or load a first stage. Raises BadInput where weights are missing."""

    def fit(self, support: Support) -> None:
        """Learn from the support, forgetting every earlier fit: the order of episodes never matters."""

    def predict(self, query: Clips) -> Scores:
        """Scores in [0, 1], shape (N,), or (R, N) for R seeds of the same untrained rule."""


@runtime_checkable
class Loads(Protocol):
    """Published weights. The harness finds and hashes their files before anything is decoded, or refuses the run."""

    @property
    def published(self) -> PublishedWeights | None:
        """What these settings and this scale start from; None for random weights."""

    def build(self, weights: Path | None, seed: int) -> Any:
        """The network (torch.nn.Module) as it is before any training of ours.

        Raises:
            BadInput: a tensor is missing, left over or of another shape, or the file is no checkpoint.
        """


@runtime_checkable
class Embeds(Protocol):
    """Frozen features. `Clips.embeddings(self)` calls `embed` for clips never seen with this `embedding_key`."""

    @property
    def input(self) -> Input | None: ...

    @property
    def embedding_key(self) -> str:
        """Covers whatever can change a feature: weights, library versions, pooling, preprocessing."""

    def embed(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Features (N, D) of N clips, each of shape (V, T, H, W, 3); the views are averaged."""


@dataclass(frozen=True)
class Site:
    """Where a first stage is trained, and who watches.

    `folder` keeps what a killed training resumes from: `save_every_s` apart (seconds; 0: after each step) a checkpoint
    is put into its folder `checkpoints`, of which the last `keep` (at least one) stay; with 0 the harness removes them
    once the card is written. `shown` are the places of the clips whose frames
    may become pictures. `tracker` is one that accelerate knows, `workers` how many processes read ahead (None: as suits
    the device).
    """

    folder: Path
    save_every_s: float = 120.0
    keep: int = 0
    shown: tuple[int, ...] = ()
    tracker: str | None = None
    workers: int | None = None


@runtime_checkable
class Pretrains(Protocol):
    """A first stage on unlabelled or other-species video. The harness draws the clips and keeps the checkpoint."""

    settings: Any

    @property
    def mix(self) -> str:
        """Which clips it wants (`benchmark.data.mixes`); `base` for none."""

    @property
    def stage1_input(self) -> Input:
        """Which frames of them."""

    @property
    def stage1_settings(self) -> dict[str, Any]:
        """Those of its settings that the checkpoint follows from, `mix` among them."""

    @property
    def stage1_key(self) -> str:
        """Covers what else of the method can change the checkpoint: code, library versions."""

    def pretrain(self, clips: PretrainClips, context: Context, site: Site) -> dict[str, Any]:
        """Train to `site.folder`/model.safetensors, or go on where a killed call stopped; facts for the card.

        Every process of a distributed training calls this; only the first writes.
        """


@runtime_checkable
class Described(Protocol):
    """What a row must say of a method beyond its name: pooling, sha256 of its weights."""

    def card(self) -> dict[str, str]:
        """Short texts, known after `setup`."""


@runtime_checkable
class Costed(Protocol):
    """A method that can tell its arithmetic beforehand, in FLOP."""

    def setup_flop(self, stage1_clips: int) -> float:
        """Of stage 1, when it is not in the cache yet."""

    def episode_flop(self, support: int, query: int) -> float:
        """Of one fit and its predictions."""


@runtime_checkable
class Chooses(Protocol):
    """A class that stands for several, with other settings and other initial weights: one of its settings says which.

    The class itself is asked, before its `Settings` and `inits` are looked at.
    """

    def chosen(self, given: Mapping[str, Any]) -> type[Baseline]:
        """The class for what `--set` gives. A value that is none changes nothing: `Settings` refuses it."""
