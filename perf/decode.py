"""Decoding clips into the frame store against PyAV in sequence and decord: `python -m perf.decode [--videos FOLDER]`.

Every side gives the same frames of the same clips: 16 a clip, scaled and cut to the network's square, uint8.

    ours      `FrameStore.ensure` into an empty store: one pass a video, `--threads` videos at a time, each clip written
              to the disk and synced
    pyav      one clip after the other, as guides have it: open, seek to the key frame before it, decode up to the last
              frame wanted, `to_ndarray` of the wanted, scale by torch. Nothing is kept. FFmpeg's threads as they come
              (`SLICE`), and `AUTO` with `--threads` of them: which is faster depends on the size of a picture
    decord    one video after the other: `VideoReader.get_batch` of a clip's frames, scale by torch; `--threads` threads

Clips of 5 s (or the whole of a shorter video) spread evenly over each video, `--clips` of them. Decoders convert
colours in their own ways, and some land on other frames after a seek: told is the mean difference from our frames in
grey levels (0 to 255), and the videos where it is above 2. A video that a side cannot read is left out on all sides.
Every side decodes all of it once before the first round, uncounted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from baselines.videomae.encoder import videomae_input
from benchmark.baseline import Scale, Size
from benchmark.data.decode import _read_timeline, probe
from benchmark.data.demo_cache import ensure_demo
from benchmark.data.frames import FrameStore, Request, Sampling, sample_times
from benchmark.data.picture import to_square
from benchmark.files import cache_folder, sha256_of
from benchmark.progress import Progress
from perf.measure import alternate, cores, machine, ratio, spread

WINDOW_S, KINDS = 5.0, {".mp4", ".avi", ".mkv", ".webm", ".mov"}
OTHER_FRAMES = 2.0  # grey levels; conversions alone differ by less
Clip = NDArray[np.uint8]
Decode = Callable[[list[Request], Sampling, int], list[Clip]]


def requests_in(folder: Path, clips: int) -> list[Request]:
    """`clips` windows of each video, evenly spread, in the order of the files."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in KINDS):
        duration, digest = probe(path).duration_s, sha256_of(path)
        window = min(WINDOW_S, duration)
        starts = np.linspace(0, duration - window, clips if duration > window else 1)
        found += [Request(path, digest, float(start), float(start) + window) for start in starts]
    return found


def ours(requests: list[Request], sampling: Sampling, threads: int) -> list[Clip]:
    """By the frame store, empty at first; reading the clips back is part of it."""
    _read_timeline.cache_clear()  # a process that is new to a video reads its packets first
    with tempfile.TemporaryDirectory() as folder:
        store = FrameStore(Path(folder))
        store.ensure(requests, sampling, workers=threads)
        return [np.array(store.open(store.key(request, sampling))[0]) for request in requests]


def pyav(requests: list[Request], sampling: Sampling, threads: int) -> list[Clip]:
    """One clip after the other; `threads` 0: as PyAV has them."""
    clips = []
    for request in requests:
        wanted, taken = sample_times(request.start_s, request.end_s, sampling)[0], list[Clip]()
        with av.open(str(request.path)) as container:
            stream = container.streams.video[0]
            if threads:
                stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
            tick: Any = stream.time_base
            origin = (stream.start_time or 0) * tick
            container.seek(int((wanted[0] + origin) / tick), stream=stream)
            shown: Any = None
            for frame in container.decode(stream):
                while len(taken) < len(wanted) and shown and float(frame.time - origin) > wanted[len(taken)] + 1e-6:
                    taken.append(_square(shown.to_ndarray(format="rgb24"), sampling))
                if len(taken) == len(wanted):
                    break
                shown = frame
            while len(taken) < len(wanted):  # the video's last frame
                taken.append(_square(shown.to_ndarray(format="rgb24"), sampling))
        clips.append(np.stack(taken))
    return clips


def decord(requests: list[Request], sampling: Sampling, threads: int) -> list[Clip]:
    """One video after the other, its reader opened once."""
    from decord import VideoReader  # type: ignore[import-untyped]

    clips, readers = [], {}
    for request in requests:
        if request.path not in readers:
            readers = {request.path: VideoReader(str(request.path), num_threads=threads)}
        reader = readers[request.path]
        starts = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
        times = sample_times(request.start_s, request.end_s, sampling)[0] + starts[0]
        chosen = np.searchsorted(starts, times + 1e-4, side="right") - 1
        clips.append(np.stack([_square(frame, sampling) for frame in reader.get_batch(chosen).asnumpy()]))
    return clips


def _square(frame: Clip, sampling: Sampling) -> Clip:
    return to_square(frame, sampling.picture)


def readable(requests: list[Request], decode: Decode, sampling: Sampling) -> list[Request]:
    """Those of videos from which a side gets anything at all."""
    bad = set()
    for path in {request.path for request in requests}:
        try:
            decode([next(request for request in requests if request.path == path)], sampling, 1)
        except Exception as error:  # whatever a library raises
            bad.add(path)
            print(f"{path.name} is left out: a side cannot read it ({str(error)[:80]!r})")
    return [request for request in requests if request.path not in bad]


def main(
    videos: Annotated[Path | None, typer.Option(help="A folder of videos; default: the demo set's.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Of each video.")] = 4,
    size: Annotated[Size, typer.Option(help="Of the network that is to read them.")] = "base",
    rounds: int = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of every side.")] = cores(),
) -> None:
    """Print the machine, the work, all sides, their ratios and whether the frames agree."""
    if videos is not None and not videos.is_dir():
        raise SystemExit(f"--videos {videos}: no such folder, nothing was measured; leave it out for the demo set")
    folder = videos or ensure_demo(cache_folder(), Progress(quiet=True)) / "videos"
    torch.set_num_threads(threads)
    sampling = videomae_input(Scale(size, "random", WINDOW_S), "last").sampling
    print(machine(threads, ("av", "decord", "torch")))
    decoders: dict[str, Decode] = {
        "ours": ours,
        "pyav": lambda requests, sampling, _: pyav(requests, sampling, 0),
        "pyav AUTO": pyav,
        "decord": decord,
    }
    requests = requests_in(folder, clips)
    for decode in decoders.values():
        requests = readable(requests, decode, sampling)
    if not requests:
        raise SystemExit(f"{folder}: holds no video that all sides can read; name another folder by --videos")
    frames: dict[str, list[Clip]] = {}

    def side(name: str) -> Callable[[int], float]:
        def turn(_: int) -> float:
            began = time.perf_counter()
            frames[name] = decoders[name](requests, sampling, threads)
            return time.perf_counter() - began

        return turn

    sides = {name: side(name) for name in decoders}
    for turn in sides.values():
        turn(0)
    found = alternate(sides, rounds)
    count = len({request.path for request in requests})
    print(
        f"work: {len(requests)} clips of {count} videos in {folder.name}, {sampling.frames} frames of {sampling.size} "
        f"px a clip; {rounds} rounds"
    )
    for name, seconds in found.items():
        pairs = zip(frames[name], frames["ours"], strict=True)
        off = np.array([np.abs(theirs.astype(int) - mine).mean() for theirs, mine in pairs])
        far = sorted({request.path.name for request, by in zip(requests, off, strict=True) if by > OTHER_FRAMES})
        elsewhere = f"; other frames in {', '.join(far)}" if far else ""
        each = [1000 * s / len(requests) for s in seconds]
        print(f"{name}: {spread(each, 1)} ms a clip; off by {off.mean():.3g}{elsewhere}")
    for name in list(decoders)[1:]:
        print(f"{name} / ours: {ratio(found[name], found['ours'])}")


if __name__ == "__main__":
    typer.run(main)
