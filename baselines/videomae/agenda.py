"""What each step of stage 1 trains on: which clips, which view and mask of each, and which process computes which part.

    Agenda       step -> epoch and clips; every epoch has its own order
    Share        clips of a step -> one process's parts of it, with weights that make a mean over the whole step
    ClipSource   clip -> a view and a tube mask, read from the memory map
    Steps        the three together, as a torch data set

Every draw is made from its name, (seed, epoch, clip): the number of processes, parts and workers changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from baselines.videomae.masking import tube_mask
from benchmark.data.dataset import PretrainClips

# The last part of a draw's key. numpy pads keys with zeros, so a mask's, (seed, epoch, clip), ends on 0.
VIEW, ORDER, HELD_OUT, HELD_OUT_MASK = 1, 2, 3, 4

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Agenda:
    """Which clips each step trains on. `samples` are their places among all; every epoch has its own order."""

    samples: tuple[int, ...]
    epochs: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch may be a small one."""
        return -(-len(self.samples) // self.batch_size)

    @property
    def steps(self) -> int:
        """Over all epochs."""
        return self.epochs * self.steps_per_epoch

    def at(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step and its clips, (at most batch_size,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _permutation(len(self.samples), self.seed, epoch)
        first = place * self.batch_size
        return epoch, np.asarray(self.samples)[order[first : first + self.batch_size]]

    def clips_before(self, step: int) -> int:
        """How many clips the steps before it train on, over all epochs."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return epoch * len(self.samples) + min(place * self.batch_size, len(self.samples))


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, 0, ORDER]).permutation(count)


def split_held_out(count: int, share: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Clips to train on and clips to watch the loss on, both in order."""
    order = np.random.default_rng([seed, 0, 0, HELD_OUT]).permutation(count)
    cut = round(share * count)
    return tuple(sorted(order[cut:].tolist())), tuple(sorted(order[:cut].tolist()))


@dataclass(frozen=True)
class Share:
    """Which part of each step is one process's: `parts` of equal size, one after the other."""

    process: int
    processes: int
    parts: int
    part_size: int | None  # fill up to this size with clips of no weight, for a compiled network; None: as they come

    def of(self, samples: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Clips of each part and their weights in the mean over the step. A part is never empty."""
        chunks = np.array_split(samples, self.processes * self.parts)[self.process * self.parts :][: self.parts]
        return [self._filled(chunk, samples) for chunk in chunks]

    def _filled(
        self, chunk: NDArray[np.int64], samples: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        size = max(self.part_size or 0, len(chunk), 1)
        weights = np.zeros(size, dtype=np.float32)
        weights[: len(chunk)] = 1 / len(samples)
        return np.concatenate([chunk, np.repeat(samples[:1], size - len(chunk))]), weights


class ClipSource:
    """Views and masks of clips, read from the memory map when asked for: thousands cannot stay open at once."""

    def __init__(self, clips: PretrainClips, ratio: float, slots: int, patches: int, seed: int) -> None:
        self.keys, self.open = clips.frame_keys, clips.stores.frames.open
        self.ratio, self.slots, self.patches, self.seed = ratio, slots, patches, seed
        self.masked = slots * int(ratio * patches)  # tokens, in every mask

    def training(self, epoch: int, sample: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """A view (T, S, S, 3), drawn for this epoch, and its mask (tokens,)."""
        views = self.open(self.keys[sample])
        view = int(np.random.default_rng([self.seed, epoch, sample, VIEW]).integers(len(views)))
        return views[view], self._mask(self.seed, epoch, sample)

    def held_out(self, sample: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The middle view and a mask that is the same whenever it is asked for."""
        views = self.open(self.keys[sample])
        return views[len(views) // 2], self._mask(self.seed, 0, sample, HELD_OUT_MASK)

    def _mask(self, *key: int) -> NDArray[np.bool_]:
        return tube_mask(self.ratio, self.slots, self.patches, *key)


class Steps(Dataset[list[Batch]]):
    """Item s: this process's parts of step s, as (frames uint8 (n, T, S, S, 3), masks (n, tokens), weights (n,))."""

    def __init__(self, source: ClipSource, agenda: Agenda, share: Share) -> None:
        self.source, self.agenda, self.share = source, agenda, share

    def __getitem__(self, step: int) -> list[Batch]:
        epoch, samples = self.agenda.at(step)
        parts = []
        for chosen, weights in self.share.of(samples):
            pairs = [self.source.training(epoch, int(sample)) for sample in chosen]
            parts.append((*stacked(pairs), torch.from_numpy(weights)))
        return parts


def stacked(pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Views and masks as tensors: uint8 (n, T, S, S, 3) and bool (n, tokens)."""
    frames, masks = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(masks))
