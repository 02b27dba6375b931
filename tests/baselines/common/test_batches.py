"""uint8 frames become what the network was trained on."""

import numpy as np
import pytest
import torch

from baselines.common.batches import to_batch
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
