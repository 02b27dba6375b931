"""Tube masks: one spatial mask, repeated over all time slots, so that no patch can be copied from the next frame.

Drawn from (seed, epoch, sample) alone: the number of workers or GPUs changes no mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tube_mask(ratio: float, slots: int, patches: int, *key: int) -> NDArray[np.bool_]:
    """A mask of shape (slots * patches,), True = masked.

    Args:
        ratio: share of the patches of a slot to mask; `int(ratio * patches)` are.
        slots: time slots (frames / tubelet).
        patches: patches a slot.
        key: non-negative integers that name the draw, such as seed, epoch and sample.

    Source: VideoMAE (Tong et al. 2022, section 3.3); ratio 0.3 from arXiv 2603.12887.
    """
    spatial = np.zeros(patches, dtype=bool)
    spatial[np.random.default_rng(key).permutation(patches)[: int(ratio * patches)]] = True
    return np.tile(spatial, slots)
