"""Probes that should fail: what shows a seizure coming is taken out of every clip, and a method reads what is left.

    probe_first_frame     every frame is the clip's first                       one picture, no movement
    probe_shuffled_time   the same frames, in an order that means nothing       the pictures, no course of time
    probe_background      what moved is gone, the rest one blurred picture      the room, not who moves in it

`--set of=` says which method reads, with all that it can: its settings, weights, first stage and cost. It is set up as
ever, stage 1 on clips that nobody altered; what it learns from and is asked about is altered. The default,
`linear_probe`, has seconds to spare and learns a difference in brightness or place from 4 clips a class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, create_model
from scipy.ndimage import gaussian_filter, maximum_filter

from baselines.cnn_lstm import CnnLstm
from baselines.csn import CSN
from baselines.simple_cues import MotionFeatures
from baselines.slowfast import SlowFast
from baselines.videomae.human_only import HumanOnly
from baselines.videomae.linear_probe import LinearProbe
from baselines.videomae.xspecies import CrossSpeciesVideoMAE
from baselines.videomae.zero_shot import ZeroShot
from baselines.x3d import X3D
from benchmark.baseline import Baseline, Context, Init, Input, Scale, Scores
from benchmark.data.clips import Alteration
from benchmark.data.dataset import Clips, Support, seed_of
from benchmark.data.features import Frames
from benchmark.registry import register

READERS: dict[str, type[Any]] = {
    "linear_probe": LinearProbe,
    "motion_features": MotionFeatures,
    "zero_shot": ZeroShot,
    "human_only": HumanOnly,
    "xspecies_videomae": CrossSpeciesVideoMAE,
    "csn": CSN,
    "x3d": X3D,
    "slowfast": SlowFast,
    "cnn_lstm": CnnLstm,
}
OF: Any = Literal[tuple(READERS)]
DEFAULT = "linear_probe"
# What a reader may be besides a Baseline. Not `Embeds`: its features are those of clips that nobody altered.
CAPABILITIES = (
    *("published", "build"),
    *("mix", "stage1_input", "stage1_settings", "stage1_key", "pretrain"),
    *("setup_flop", "episode_flop"),
)
MOVED = 24  # of 255
SHARE = 16  # of a picture's side is the reach of a mask, and of a blur


def first_frame(frames: Frames) -> Frames:
    """Every frame of every view is the first view's first."""
    return np.broadcast_to(frames[:1, :1], frames.shape)


def shuffled_time(frames: Frames) -> Frames:
    """The clip's frames, those of all views together, in an order drawn from what is on them."""
    flat = frames.reshape(-1, *frames.shape[2:])
    content = hashlib.sha256(flat.tobytes()).hexdigest()
    order = sorted(range(len(flat)), key=lambda place: seed_of(content, place))
    return flat[order].reshape(frames.shape)


def background(frames: Frames) -> Frames:
    """One still, blurred picture of what never moved in the clip, in every frame.

    A pixel moved where some channel's values over the clip lie more than MOVED apart, and where such a pixel is at most
    side/SHARE away, up or down and along. All others are still; their colour is the mean over the clip. Each pixel,
    moved or still, becomes the mean of the still ones about it, weighted by a Gaussian of standard deviation
    side/SHARE; beyond 4 of these, the mean of all still ones. With no still pixel the picture is grey, 128.

    A patch of one colour in the place of what moved would tell how much moved, and where: on the rendered demo set such
    pictures told ictal from inter-ictal windows with a ROC-AUC of 0.96. So the whole picture is blurred alike, and no
    outline is left (0.69 at most, by the same readings).
    """
    side = min(frames.shape[2:4])
    spread = (frames.max(axis=(0, 1)) - frames.min(axis=(0, 1))).max(axis=-1)
    still = ~maximum_filter(spread > MOVED, size=2 * (side // SHARE) + 1, mode="nearest")
    if not still.any():
        return np.broadcast_to(np.uint8(128), frames.shape)
    colours = frames.mean(axis=(0, 1)) * still[..., None]
    mean = colours.sum(axis=(0, 1)) / still.sum()
    sigma, little = side / SHARE, 1e-3
    weight = gaussian_filter(still.astype(np.float64), sigma, mode="nearest")[..., None]
    nearby = gaussian_filter(colours, (sigma, sigma, 0), mode="nearest")
    picture = (nearby + little * mean) / (weight + little)
    return np.broadcast_to(picture.round().astype(np.uint8), frames.shape)


class Probe:
    """A method, `inner`, that is only ever shown altered clips."""

    alteration: ClassVar[Alteration]
    reader: ClassVar[str]
    Settings: ClassVar[type[Any]]
    inits: ClassVar[tuple[Init, ...]]

    def __init_subclass__(cls, reader: str = DEFAULT) -> None:
        """Take over what the reader's class has: settings, initial weights and whatever else it can do."""
        inner = READERS[reader]
        cls.reader, cls.inits = reader, inner.inits
        of = Field(default=DEFAULT, description="the method that reads the altered clips")
        cls.Settings = create_model(f"{cls.__name__}Settings", __base__=inner.Settings, of=(OF, of))
        for capability in CAPABILITIES:
            if hasattr(inner, capability):
                setattr(cls, capability, property(attrgetter(f"inner.{capability}")))

    @classmethod
    def chosen(cls, given: Mapping[str, Any]) -> type[Baseline]:
        """The same probe by another reader."""
        reader = given.get("of", cls.reader)
        if reader == cls.reader or reader not in READERS:
            return cls
        about = {"alteration": cls.alteration, "__module__": cls.__module__, "__doc__": cls.__doc__}
        other: type[Any] = type(cls.__name__, (Probe,), about, reader=reader)
        return other

    def __init__(self, settings: Any, scale: Scale) -> None:
        assert settings.of == self.reader, "a row would name another reader"
        self.settings, self.scale = settings, scale
        self.inner = READERS[self.reader](settings, scale)

    @property
    def input(self) -> Input | None:
        """The reader's."""
        wanted: Input | None = self.inner.input
        return wanted

    def setup(self, context: Context) -> None:
        """The reader's, on clips as they are."""
        self.inner.setup(context)

    def fit(self, support: Support) -> None:
        """Learn from the altered support."""
        self.inner.fit(support.altered(self.alteration))

    def predict(self, query: Clips) -> Scores:
        """Score the altered query."""
        scores: Scores = self.inner.predict(query.altered(self.alteration))
        return scores

    def card(self) -> dict[str, str]:
        """What was altered, and what the reader says of itself."""
        own = {"clips": f"{self.alteration.name} {self.alteration.version}"}
        return own | (self.inner.card() if hasattr(self.inner, "card") else {})


@register("probe_first_frame")
class FirstFrame(Probe):
    """Should fail: another method, shown clips that stand still at their first frame."""

    alteration = Alteration("first-frame", 1, first_frame)


@register("probe_shuffled_time")
class ShuffledTime(Probe):
    """Should fail: another method, shown clips whose frames are out of order."""

    alteration = Alteration("shuffled-time", 1, shuffled_time)


@register("probe_background")
class Background(Probe):
    """Should fail: another method, shown what never moves in a clip, blurred."""

    alteration = Alteration("background", 1, background)
