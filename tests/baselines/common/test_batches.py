"""uint8 frames become what the network was trained on."""

import numpy as np
import pytest
import torch

from baselines.common.batches import augmented, augmented_batch, batch_of, to_batch
from benchmark.baseline import Input
from benchmark.data.frames import Sampling

SAMPLING = Sampling(frames=2, spacing_s=0.1, place="last", size=4)


@pytest.mark.parametrize(("layout", "shape"), [("TCHW", (1, 2, 3, 4, 4)), ("CTHW", (1, 3, 2, 4, 4))])
def test_each_channel_is_normalised_by_its_own_statistics(layout, shape):
    view = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    view[1, :, :] = (51, 102, 255)
    wanted = Input(SAMPLING, mean=(0.2, 0.1, 0.5), std=(0.5, 0.25, 0.1), layout=layout)
    batch = to_batch([view], wanted, "cpu")
    assert tuple(batch.shape) == shape
    last = batch[0, 1] if layout == "TCHW" else batch[0, :, 1]
    torch.testing.assert_close(last[:, 0, 0], torch.tensor([0.0, 1.2, 5.0]))


def clip(side: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, side, side), dtype=np.uint8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_augmentation_asked_for_leaves_every_pixel():
    assert torch.equal(augmented(clip(), generator(), smallest_crop=1, flip=False), clip())


def test_about_half_of_the_clips_are_mirrored_as_a_whole():
    drawn = generator()
    results = [augmented(clip(), drawn, smallest_crop=1, flip=True) for _ in range(200)]
    mirrored = sum(torch.equal(result, clip().flip(-1)) for result in results)
    assert mirrored + sum(torch.equal(result, clip()) for result in results) == 200
    assert 75 < mirrored < 125


def test_a_crop_is_the_same_square_in_every_frame_and_fills_the_picture():
    """Frames that are the same picture stay so; a ramp stays a ramp, of a smaller range."""
    ramp = torch.arange(0, 240, 20, dtype=torch.uint8).expand(5, 3, 12, 12)
    drawn = generator()
    for _ in range(50):
        result = augmented(ramp, drawn, smallest_crop=0.3, flip=False)
        assert result.shape == ramp.shape
        assert result.dtype == torch.uint8
        assert all(torch.equal(frame, result[0]) for frame in result)
        steps = result[0, 0, 0].int().diff()
        assert steps.min() >= 0
        assert 220 * 0.3 < int(result.max()) - int(result.min()) <= 220  # a side of 0.3 ** 0.5 at least


def test_settings_do_not_change_what_later_clips_draw():
    """So that runs with and without flips see the same crops."""
    one, other = generator(), generator()
    augmented(clip(), one, smallest_crop=1, flip=False)
    augmented(clip(), other, smallest_crop=0.5, flip=True)
    assert torch.rand(1, generator=one) == torch.rand(1, generator=other)


def test_an_augmented_batch_without_augmentation_is_the_plain_batch():
    views = [np.random.default_rng(n).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8) for n in range(3)]
    plain = to_batch(views, Input(SAMPLING), "cpu")
    resident = [torch.from_numpy(view) for view in views]
    assert torch.equal(batch_of(resident, Input(SAMPLING)), plain)
    assert torch.equal(augmented_batch(resident, Input(SAMPLING), generator(), 1, flip=False), plain)
