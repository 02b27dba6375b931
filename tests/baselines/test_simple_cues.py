"""The simple cues on films whose movement is known."""

import numpy as np
import pytest

from baselines.simple_cues import BLOCK, SPACING_S, band_share, grey_movie, motion_energy


def film(brightness):
    """(V=1, T, 16, 16, 3) uint8: the left half has the given brightness over time, the right half is black."""
    frames = np.zeros((1, len(brightness), 16, 16, 3), dtype=np.uint8)
    frames[0, :, :, :8] = np.asarray(brightness, dtype=np.uint8)[:, None, None, None]
    return frames


def test_grey_movie_averages_blocks_and_scales_to_1():
    movie = grey_movie(film([255, 0]))
    assert movie.shape == (2, (16 // BLOCK) ** 2)
    np.testing.assert_allclose(movie, [[1, 0, 1, 0], [0, 0, 0, 0]])


def test_motion_energy_is_the_mean_absolute_change():
    np.testing.assert_allclose(motion_energy(grey_movie(film([0, 255, 255]))), [0.5, 0.0])


@pytest.mark.parametrize(("hertz", "share"), [(1.0, 0.0), (4.0, 1.0), (7.0, 0.0)])
def test_band_share_finds_the_clonic_band(hertz, share):
    t = np.arange(75) * SPACING_S
    movie = np.sin(2 * np.pi * hertz * t)[:, None] * np.ones(3)
    assert band_share(movie, SPACING_S) == pytest.approx(share, abs=1e-9)


def test_still_film_has_no_share():
    assert band_share(np.full((75, 4), 0.3), SPACING_S) == 0.0
