"""Scaling and cutting. Against the libraries' own code: tests/baselines and tests/baselines/videomae."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.data.frames import Sampling
from benchmark.data.picture import Picture, Rule, to_square
from tasks.errors import BadInput

RULES = get_args(Rule)
sides = st.integers(8, 90)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("rule", RULES)
def test_a_square_of_the_right_size_is_left_as_it_is(rule: Rule) -> None:
    frame = noise(24, 24)
    assert np.array_equal(to_square(frame, Picture(24, 24, rule)), frame)


@pytest.mark.parametrize("rule", RULES)
def test_without_scaling_the_middle_is_cut_out(rule: Rule) -> None:
    frame = noise(24, 40)
    assert np.array_equal(to_square(frame, Picture(20, 24, rule)), frame[2:22, 10:30])


@pytest.mark.parametrize(("rule", "left"), [("transformers", 7), ("mmaction2", 7), ("torchvision", 8)])
def test_an_odd_margin_is_cut_where_the_library_cuts_it(rule: Rule, left: int) -> None:
    """39 - 24 = 15 spare columns: 7.5 is rounded down, or to the even 8."""
    frame = noise(24, 39)
    assert np.array_equal(to_square(frame, Picture(24, 24, rule)), frame[:, left : left + 24])


def test_halving_averages_two_by_two_pixels_without_antialias() -> None:
    frame = np.array([[0, 20, 40, 80], [40, 60, 80, 120]], dtype=np.uint8)[..., None].repeat(3, axis=2)
    assert to_square(frame, Picture(1, 1, "pytorchvideo"))[0, 0].tolist() == [30, 30, 30]


def test_plain_bilinear_aliases_and_antialias_does_not() -> None:
    """Stripes of period 2, shrunk fourfold: a target pixel lies between a black and a white one, or among four."""
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::4] = 255
    plain, averaged = (to_square(stripes, Picture(16, 16, rule))[4:-4, 4:-4] for rule in ("mmaction2", "transformers"))
    assert set(plain.ravel().tolist()) == {0}
    assert np.abs(averaged.astype(int) - 64).max() <= 1


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(4, 40), st.integers(0, 12))
def test_an_antialiased_frame_is_the_one_that_pil_gives_within_one_step(
    height: int, width: int, size: int, spare: int
) -> None:
    frame, short = noise(height, width), size + spare
    scaled = (
        (short, int(short * height / width)) if width < height else (int(short * width / height), short)
    )  # width, height
    whole = np.asarray(Image.fromarray(frame).resize(scaled, Image.Resampling.BILINEAR)).astype(int)
    top, left = (scaled[1] - size) // 2, (scaled[0] - size) // 2
    cut = to_square(frame, Picture(size, short, "transformers"))
    assert np.abs(cut - whole[top : top + size, left : left + size]).max() <= 1


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.sampled_from(RULES), st.integers(4, 40))
def test_a_flat_frame_stays_flat(height: int, width: int, rule: Rule, size: int) -> None:
    frame = np.full((height, width, 3), 137, dtype=np.uint8)
    assert (to_square(frame, Picture(size, size, rule)) == 137).all()


def test_a_cut_larger_than_the_scaled_frame_is_refused() -> None:
    with pytest.raises(BadInput, match="short_side"):
        Sampling(frames=1, spacing_s=0.1, place="last", size=32, short_side=24)
