"""How far do simple cues get? A method that does not beat these has seen nothing that they have not.

All three fit a logistic regression on a few numbers a clip, standardised by the support alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.common.linear import LinearClassifier
from benchmark.baseline import BaselineSettings, Context, Input, Scale, Scores
from benchmark.data.dataset import Clips, Support
from benchmark.data.frames import Sampling
from benchmark.registry import register

SPACING_S = 1 / 15
CLONIC_BAND_HZ = (3.0, 6.0)
BLOCK = 8

Features = NDArray[np.float64]


def grey_movie(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The first view's brightness, block-averaged: (V, T, H, W, 3) uint8 to (T, blocks) in 0-1."""
    grey = frames[0].mean(axis=-1) / 255
    time, height, width = grey.shape
    rows, columns = height // BLOCK, width // BLOCK
    blocks = grey[:, : rows * BLOCK, : columns * BLOCK].reshape(time, rows, BLOCK, columns, BLOCK)
    return np.asarray(blocks.mean(axis=(2, 4)).reshape(time, -1), dtype=np.float64)


def motion_energy(movie: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean absolute change from each frame to the next, (T-1,)."""
    return np.asarray(np.abs(np.diff(movie, axis=0)).mean(axis=1))


def band_share(movie: NDArray[np.float64], spacing_s: float) -> float:
    """Share of the movie's temporal power (above 0.5 Hz) that lies in the clonic band, 3 to 6 Hz."""
    power = (np.abs(np.fft.rfft(movie - movie.mean(axis=0), axis=0)) ** 2).sum(axis=1)
    hertz = np.fft.rfftfreq(len(movie), spacing_s)
    moving = power[hertz > 0.5].sum()
    low, high = CLONIC_BAND_HZ
    return float(power[(hertz >= low) & (hertz <= high)].sum() / moving) if moving > 0 else 0.0


class _Cue:
    """Shared plumbing: features of the support go into a classifier, those of the query through it."""

    Settings = BaselineSettings
    inits = ()

    def __init__(self, settings: BaselineSettings, scale: Scale) -> None:
        self.classifier = LinearClassifier()

    def setup(self, context: Context) -> None:
        """No weights to read."""

    def features(self, clips: Clips) -> Features:
        raise NotImplementedError

    def fit(self, support: Support) -> None:
        self.classifier = LinearClassifier().fit(self.features(support), support.labels)

    def predict(self, query: Clips) -> Scores:
        return self.classifier.predict(self.features(query))


class _MotionCue(_Cue):
    input = Input(Sampling(frames=None, spacing_s=SPACING_S, place="last", size=64))


@register("motion_energy")
class MotionEnergy(_MotionCue):
    """One number a clip: how much moves on average."""

    def features(self, clips: Clips) -> Features:
        return np.array([[np.log(motion_energy(grey_movie(f)).mean() + 1e-6)] for f in clips.frames()])


@register("motion_features")
class MotionFeatures(_MotionCue):
    """Four numbers a clip: mean, spread and peak of motion energy, and the share of movement at 3-6 Hz."""

    def features(self, clips: Clips) -> Features:
        return np.array([self._one(grey_movie(frames)) for frames in clips.frames()])

    @staticmethod
    def _one(movie: NDArray[np.float64]) -> list[float]:
        energy = np.log(motion_energy(movie) + 1e-6)
        return [float(energy.mean()), float(energy.std()), float(energy.max()), band_share(movie, SPACING_S)]


@register("clip_metadata")
class ClipMetadata(_Cue):
    """No pixel: duration, rate, picture size and file size. Above chance here means that the set leaks."""

    input = None

    def features(self, clips: Clips) -> Features:
        return clips.facts.to_numpy(dtype=np.float64)
