from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from benchmark.data.decode import probe, read_frames, walk_frames
from benchmark.data.picture import Picture
from tasks.errors import BadInput
from tests.videos import frame_on_screen, make_sound, make_video, number_of, numbered_frame, numbers_of

REAL_VIDEOS = Path(__file__).parents[4] / "shared" / "real_videos"

UNEVEN = [40 * i + (i * i) % 37 for i in range(60)]  # milliseconds
# name of the file -> how it is made
KINDS: dict[str, dict[str, Any]] = {
    "constant.mp4": {},
    "variable.mp4": {"ticks": UNEVEN, "time_base": Fraction(1, 1000)},
    "variable.mkv": {"ticks": UNEVEN, "time_base": Fraction(1, 1000)},
    "long_pauses.mkv": {"ticks": [0, 40, 80, 2000, 2040, 9000, 9040], "time_base": Fraction(1, 1000)},
    "b_frames.mp4": {"options": {"bf": "5", "g": "15", "x264-params": "b-adapt=0:scenecut=0"}},
    "open_gop.mp4": {"options": {"g": "12", "x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
    "open_gop.mkv": {"options": {"g": "12", "x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
    "intra_refresh.mkv": {"options": {"g": "12", "x264-params": "intra-refresh=1:scenecut=0"}},
    "one_key_frame.mp4": {"options": {"g": "9999", "x264-params": "scenecut=0"}},
    "all_key_frames.mp4": {"options": {"g": "1"}},
    "starts_late.mp4": {"ticks": list(range(50, 110)), "options": {"g": "12"}},
    "starts_late.mkv": {"ticks": [5000 + t for t in UNEVEN], "time_base": Fraction(1, 1000)},
    "hevc.mp4": {"codec": "libx265", "options": {"g": "12", "x265-params": "log-level=error"}},
    "vp9.mkv": {"codec": "libvpx-vp9", "options": {"g": "12", "deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg4_empty_slots.avi": {"codec": "mpeg4", "options": {"g": "12"}, "ticks": [i + i // 10 * 3 for i in range(60)]},
    "h264.avi": {"options": {"g": "12", "bf": "0"}},
    "h264_b_frames.avi": {"options": {"g": "12", "bf": "3", "x264-params": "b-adapt=0"}},
    "mjpeg.avi": {"codec": "mjpeg"},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg4.mov": {"codec": "mpeg4", "options": {"g": "12"}},
    "odd_size.mp4": {"codec": "mpeg4", "width": 71, "height": 53},
    "upright.mp4": {"width": 48, "height": 64},
    "rate_28_05.mp4": {"rate": Fraction(2160, 77), "options": {"g": "12"}},
    "rate_29_97.mp4": {"rate": Fraction(30000, 1001), "options": {"g": "12"}},
    "rate_29_97.avi": {"codec": "mpeg4", "rate": Fraction(30000, 1001), "options": {"g": "12"}},
    "turned_90.mp4": {"turn": 90},
    "turned_180.mp4": {"turn": 180},
    "turned_270.mov": {"turn": -90},
    "mirrored.mp4": {"mirror": True},
    "turned_and_mirrored.mp4": {"turn": 90, "mirror": True},
    "with_sound.mp4": {"sound": True},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[float]]]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: (folder / name, make_video(folder / name, **how)) for name, how in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [None, 24])
def test_every_frame_is_the_one_on_the_screen(
    made: dict[str, tuple[Path, list[float]]], name: str, size: int | None
) -> None:
    path, appears = made[name]
    end = probe(path).duration_s
    times = np.linspace(0, end - 1e-4, 97)
    picture = Picture(size, size) if size else None
    assert numbers_of(read_frames(path, times, picture)) == [frame_on_screen(appears, t) for t in times]


@pytest.mark.parametrize("name", KINDS)
def test_a_time_on_the_boundary_gives_the_frame_that_appears(
    made: dict[str, tuple[Path, list[float]]], name: str
) -> None:
    path, appears = made[name]
    rounded = [round(t, 6) for t in appears]
    just_before = [t - 1e-4 for t in appears[1:]]
    assert numbers_of(read_frames(path, rounded)) == list(range(len(appears)))
    assert numbers_of(read_frames(path, just_before)) == list(range(len(appears) - 1))


@pytest.mark.parametrize("name", KINDS)
def test_random_access_gives_the_same_pixels_as_one_pass(made: dict[str, tuple[Path, list[float]]], name: str) -> None:
    path, appears = made[name]
    whole = read_frames(path, appears)
    for index in random.Random(name).sample(range(len(appears)), 7):
        assert np.array_equal(read_frames(path, [appears[index]])[0], whole[index])


@pytest.mark.parametrize("name", ["b_frames.mp4", "open_gop.mp4", "mpeg4_b_frames.avi", "hevc.mp4", "vp9.mkv"])
def test_threads_do_not_change_a_pixel(made: dict[str, tuple[Path, list[float]]], name: str) -> None:
    path, appears = made[name]
    one, many = ([frame for _, frame in walk_frames(path, appears, None, threads=threads)] for threads in (1, 4))
    assert np.array_equal(one, many)


@pytest.mark.parametrize(("turn", "mirror", "corner"), [(0, False, 0), (90, False, 2), (180, False, 3), (0, True, 1)])
def test_the_display_matrix_is_applied(tmp_path: Path, turn: int, mirror: bool, corner: int) -> None:
    """A stored picture with a white upper left quarter; turned counter-clockwise by 90 it is at the lower left."""
    stored = np.zeros((48, 64, 3), dtype=np.uint8)
    stored[:24, :32] = 255
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(turn, hflip=mirror)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    shown = read_frames(tmp_path / "v.mp4", [0.0])[0]
    info = probe(tmp_path / "v.mp4")
    assert (info.height, info.width) == shown.shape[:2] == ((64, 48) if turn == 90 else (48, 64))
    h, w = shown.shape[0] // 2, shown.shape[1] // 2
    quarters = [shown[:h, :w], shown[:h, w:], shown[h:, :w], shown[h:, w:]]
    assert [int(quarter.mean() > 125) for quarter in quarters].index(1) == corner


def test_times_may_repeat_and_come_in_any_order(made: dict[str, tuple[Path, list[float]]]) -> None:
    path, _ = made["b_frames.mp4"]
    assert numbers_of(read_frames(path, [2.0, 0.0, 1.0, 2.0, 1.02])) == [50, 0, 25, 50, 25]


def test_a_small_step_beyond_the_end_is_table_rounding_and_more_is_not(
    made: dict[str, tuple[Path, list[float]]],
) -> None:
    path, _ = made["constant.mp4"]
    assert numbers_of(read_frames(path, [2.4, 2.419])) == [59, 59]
    for time_s in (2.421, -0.001, float("nan"), float("inf")):
        with pytest.raises(BadInput, match=r"constant\.mp4"):
            read_frames(path, [0.0, time_s])


def test_size_scales_the_short_side_and_cuts_out_the_centre(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", frames=2, width=160, height=48)
    frames = read_frames(tmp_path / "v.mp4", [0.0, 0.04], Picture(96, 96))
    assert frames.shape == (2, 96, 96, 3)
    assert frames.dtype == np.uint8
    expected = np.stack([np.kron(numbered_frame(n, 48, 48)[..., 0], np.ones((2, 2))) for n in (0, 1)])
    assert np.abs(frames[..., 0] - expected).mean() < 8


def test_shrinking_averages_fine_stripes_instead_of_picking_some(tmp_path: Path) -> None:
    stripes = np.zeros((192, 192, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 192, 192, "yuv444p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stripes, format="rgb24")))
        container.mux(stream.encode())
    small = read_frames(tmp_path / "v.mp4", [0.0], Picture(32, 32))[0]
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() < 12


@pytest.mark.parametrize("name", ["constant.mp4", "mpeg4.avi", "mpeg4_b_frames.avi", "constant.mkv", "fast.mp4"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.8])
def test_a_cut_file_is_refused(tmp_path: Path, name: str, part: float) -> None:
    path = tmp_path / name
    make_video(path, **KINDS.get(name, {}), fast_start=name == "fast.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(BadInput, match=name):
        read_frames(path, [0.0])


@pytest.mark.parametrize("name", ["constant.mp4", "constant.mkv", "mjpeg.avi"])
def test_a_damaged_frame_is_an_error_and_those_before_it_are_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    appears = make_video(path, **KINDS.get(name, {}))
    with av.open(str(path)) as container:
        hit = next(p for p in container.demux(video=0) if p.size and round(p.pts * p.time_base * 25) == 40)
        start, length = hit.pos, hit.size
    data = bytearray(path.read_bytes())
    data[start + 12 : start + length] = b"\x00" * (length - 12)
    path.write_bytes(data)
    assert numbers_of(read_frames(path, appears[:30])) == list(range(30))
    with pytest.raises(BadInput, match=name):
        read_frames(path, [1.6])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.mp4", b"no video at all\n" * 50),
        ("empty.mp4", b""),
        ("zeros.avi", bytes(5000)),
        ("playlist.mp4", b"ffconcat version 1.0\nfile constant.mp4\n"),
        ("playlist.mkv", b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nconstant.mp4\n#EXT-X-ENDLIST\n"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    make_video(tmp_path / "constant.mp4", frames=3)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=name):
        probe(tmp_path / name)
    with pytest.raises(BadInput, match=name):
        read_frames(tmp_path / name, [0.0])


def test_a_sound_file_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    make_sound(tmp_path / "sound.mp4")
    for name, fault in [("sound.mp4", "no video"), ("missing.mp4", "No such file"), ("", "not a file")]:
        with pytest.raises(BadInput, match=fault):
            probe(tmp_path / name)


def test_reordered_frames_with_pauses_in_avi_are_refused_because_the_file_does_not_say_when(tmp_path: Path) -> None:
    ticks = [i + i // 30 * 3 for i in range(60)]
    make_video(tmp_path / "v.avi", "mpeg4", ticks=ticks, options={"bf": "2"})
    with pytest.raises(BadInput, match="pauses"):
        probe(tmp_path / "v.avi")


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, frames=10)
    assert probe(path).frame_count == 10
    make_video(path, frames=20, first_number=100)
    assert probe(path).frame_count == 20
    assert number_of(read_frames(path, [0.04])[0]) == 101


def test_probe_tells_what_the_file_holds(made: dict[str, tuple[Path, list[float]]]) -> None:
    info = probe(made["rate_29_97.mp4"][0])
    assert (info.width, info.height, info.codec, info.frame_count) == (64, 48, "h264", 60)
    assert info.fps == pytest.approx(30000 / 1001, abs=1e-4)
    assert info.duration_s == pytest.approx(60 * 1001 / 30000, abs=1e-4)
    assert info.size_bytes == made["rate_29_97.mp4"][0].stat().st_size


@pytest.mark.skipif(not REAL_VIDEOS.is_dir(), reason="the shared real videos are not on this machine")
@pytest.mark.parametrize(
    "name", ["human_1080p.mp4", "human_demo.mp4", "human_mpeg4.avi", "human_rate_29_97.mp4", "mouse_openfield.mp4"]
)
def test_real_files_give_by_random_access_what_plain_decoding_gives(name: str) -> None:
    path = REAL_VIDEOS / name
    wanted = random.Random(name).sample(range(probe(path).frame_count), 6)
    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    with av.open(str(path)) as container:
        rate, is_avi = container.streams.video[0].average_rate, path.suffix == ".avi"
        plain = {
            float(index / rate if is_avi else frame.time): frame.reformat(
                format="rgb24", interpolation=exact
            ).to_ndarray()
            for index, frame in enumerate(container.decode(video=0))
            if index in wanted
        }
    together = read_frames(path, list(plain))
    for time_s, frame in zip(plain, together, strict=True):
        assert np.array_equal(frame, plain[time_s])
        assert np.array_equal(read_frames(path, [time_s])[0], plain[time_s])
