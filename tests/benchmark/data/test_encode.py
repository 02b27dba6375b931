"""The encoder against the decoder: what goes in comes out, at the right times, the same bytes every time."""

from fractions import Fraction

import av
import numpy as np
import pytest

from benchmark.data.encode import write_video


def flat_frames(colours, size=(48, 64)):
    return [np.full((*size, 3), colour, np.uint8) for colour in colours]


def decoded(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("fps", [Fraction(25, 2), Fraction(15), Fraction(20), Fraction(30000, 1001)])
def test_frames_come_out_at_the_times_they_went_in(tmp_path, fps):
    assert write_video(tmp_path / "a.mp4", flat_frames([(90, 90, 90)] * 40), fps) == 40
    times = [time for time, _ in decoded(tmp_path / "a.mp4")]
    np.testing.assert_allclose(times, [float(i / fps) for i in range(40)], atol=1e-4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == fps
        assert float(stream.duration * stream.time_base) == pytest.approx(float(40 / fps), abs=1e-4)


def test_colours_survive_within_the_codec_s_rounding(tmp_path):
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128), (235, 235, 235), (10, 10, 10)]
    write_video(tmp_path / "a.mp4", flat_frames(colours), Fraction(10), quality=10)
    for colour, (_, image) in zip(colours, decoded(tmp_path / "a.mp4"), strict=True):
        np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), colour, atol=4)


def test_range_and_matrix_are_tagged(tmp_path):
    write_video(tmp_path / "a.mp4", flat_frames([(90, 90, 90)] * 3), Fraction(10))
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (int(codec.color_range), int(codec.colorspace)) == (1, 6)


def test_same_frames_give_same_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", iter(noise), Fraction(15))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([], "no frame"),
        ([np.zeros((48, 64, 3), np.uint8), np.zeros((48, 32, 3), np.uint8)], "frame 2"),
        ([np.zeros((48, 64, 3), np.float32)], "frame 1"),
    ],
)
def test_wrong_frames_are_refused_and_leave_no_file(tmp_path, frames, complaint):
    with pytest.raises(ValueError, match=complaint):
        write_video(tmp_path / "a.mp4", frames, Fraction(15))
    assert list(tmp_path.iterdir()) == []
