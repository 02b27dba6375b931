"""Tube masks: counts from the paper, the same patch in every slot, drawn by key alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from baselines.videomae.masking import tube_mask


def test_published_size_at_ratio_0_3_masks_464_of_1568_tokens():
    mask = tube_mask(0.3, 8, 196, 0, 0, 0)
    assert (mask.shape, mask.sum()) == ((1568,), 464)


@given(ratio=st.floats(0.05, 0.95), key=st.tuples(*[st.integers(0, 99)] * 3))
def test_every_slot_masks_the_same_patches_and_the_key_decides(ratio, key):
    mask = tube_mask(ratio, 4, 25, *key)
    slots = mask.reshape(4, 25)
    assert (slots == slots[0]).all()
    assert slots[0].sum() == int(ratio * 25)
    np.testing.assert_array_equal(mask, tube_mask(ratio, 4, 25, *key))


def test_samples_and_epochs_get_masks_of_their_own():
    masks = {tube_mask(0.3, 1, 196, 0, epoch, sample).tobytes() for epoch in range(10) for sample in range(10)}
    assert len(masks) == 100


def test_every_patch_is_masked_about_as_often_as_the_others():
    """1000 draws at 58 of 196: 296 times each, standard deviation 14."""
    often = sum(tube_mask(0.3, 1, 196, 0, 0, sample).astype(int) for sample in range(1000))
    assert often.min() > 296 - 75
    assert often.max() < 296 + 75


def test_seed_epoch_and_sample_are_not_exchanged():
    keys = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, 3), (3, 2, 1)]
    assert len({tube_mask(0.3, 1, 196, *key).tobytes() for key in keys}) == len(keys)


def test_the_masks_of_a_seed_stay_what_they_were():
    """A change of numpy's generator would change every stage 1 without a word."""
    assert np.flatnonzero(tube_mask(0.3, 1, 16, 0, 0, 0)).tolist() == [2, 3, 10, 11]
