"""Capsules: right area, movements below a pixel show, and a block is nothing but its frames."""

import numpy as np
import pytest

from benchmark.data.demo.drawing import Stroke, paint


def disc(xs, radius=6.0, **changes):
    centres = np.array([(x, 20.0) for x in xs], np.float32)
    radii = np.full(len(xs), radius, np.float32)
    return Stroke(centres, centres, radii, radii, np.array([200.0], np.float32), **changes)


def painted(stroke, frames, first=0):
    block = np.zeros((frames, 1, 40, 48), np.float32)
    paint(block, stroke, first)
    return block


def test_a_disc_covers_the_area_of_its_circle():
    white = np.ones((1, 1, 40, 48), np.float32)
    dark = Stroke(**{**disc([24.0]).__dict__, "colour": np.zeros(1, np.float32)})
    paint(white, dark, 0)
    assert (1 - white).sum() == pytest.approx(np.pi * 6**2, rel=0.03)


def test_a_tenth_of_a_pixel_shows():
    still, moved = painted(disc([24.0, 24.1]), 2)
    assert np.abs(moved - still).max() > 5


@pytest.mark.parametrize("x", [-30.0, 100.0])
def test_outside_the_picture_nothing_is_drawn(x):
    assert not painted(disc([x]), 1).any()


def test_half_outside_only_the_inside_is_drawn():
    assert 0 < painted(disc([0.0]), 1).sum() < painted(disc([24.0]), 1).sum()


def test_opacity_hides():
    block = painted(disc([24.0, 24.0], opacity=np.array([0.0, 1.0], np.float32)), 2)
    assert not block[0].any()
    assert block[1].any()


def test_a_block_equals_its_frames_drawn_one_by_one():
    stroke = disc([10.0, 15.5, 30.25], stripes=0.2)
    together = painted(stroke, 3)
    for index in range(3):
        np.testing.assert_allclose(painted(stroke, 1, first=index)[0], together[index], atol=1e-3)
