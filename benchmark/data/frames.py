"""The frame store: every clip is decoded once, and every method and episode reads the same uint8 file.

A clip's frames lie in one `.npy` file whose name is a hash of all that can change a pixel: the video's sha256, the
times, the size, the decoder and the loader's version. So the same question always finds the same file, a new
version of FFmpeg or of the loader never finds an old one, and nothing has to be invalidated.

    sample_times   a window and a Sampling -> the times at which to look, (views, frames), in seconds
    FrameStore     ensure(requests) decodes what is missing, one pass a video; open(key) maps a clip into memory

Files appear whole or not at all, so several processes may fill one store, and an interrupted one goes on where it
stopped. Frames identify patients: only the owner may enter the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event, Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.data.decode import DECODER, walk_frames
from benchmark.data.picture import Picture, Rule
from benchmark.files import replacing, sha256_of, write_atomically
from tasks.errors import BadInput

VIEWS = 3  # of "several"
_ROUNDING_S = 1e-6

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Sampling:
    """Which frames of a window are looked at, and how they become squares of `size` pixels.

    The short side is scaled to `short_side` (default: `size`) and the centre is cut out, by the `rule` of the library
    that trained the weights. `place`: `last` ends one spacing before the window's end, `centre` lies in its middle,
    `several` is VIEWS such spans from the window's start to its end, `uniform` spreads the frames evenly over it.
    """

    frames: int | None  # None: as many as fit at this spacing
    spacing_s: float  # between frames; `uniform` uses it only where `frames` is None
    place: Literal["last", "centre", "uniform", "several"]
    size: int  # pixels
    short_side: int | None = None  # pixels
    rule: Rule = "transformers"

    def __post_init__(self) -> None:
        if not (self.spacing_s > 0 and self.size > 0 and (self.frames is None or self.frames > 0)):
            raise BadInput(f"{self}: frames, spacing_s and size must be above 0; correct the method's input")
        if self.short_side is not None and self.short_side < self.size:
            raise BadInput(f"{self}: short_side must not be below size; correct the method's input")

    @property
    def picture(self) -> Picture:
        """How a frame becomes a square."""
        return Picture(self.size, self.short_side or self.size, self.rule)

    @property
    def views(self) -> int:
        """How many spans are looked at."""
        return VIEWS if self.place == "several" else 1


@dataclass(frozen=True)
class Request:
    """A window of a video: its file, the file's hex sha256, and where the window begins and ends in seconds."""

    path: Path
    sha256: str
    start_s: float
    end_s: float


def sample_times(start_s: float, end_s: float, sampling: Sampling) -> NDArray[np.float64]:
    """When to look, (V, T), in seconds to the microsecond: at or after `start_s`, always before `end_s`.

    Raises BadInput where the frames don't fit at their spacing: a clip is never padded.
    """
    window_s = end_s - start_s
    count = sampling.frames or int((window_s + _ROUNDING_S) / sampling.spacing_s)
    steps = np.arange(count, dtype=np.float64)
    if sampling.place == "uniform" and count > 0:
        times: NDArray[np.float64] = start_s + (steps + 0.5) * window_s / count
        return times[None].round(6)
    slack_s = window_s - count * sampling.spacing_s
    if count < 1 or slack_s < -_ROUNDING_S:
        raise BadInput(
            f"a window of {window_s:g} s ({start_s:g} to {end_s:g} s) is too short for {max(count, 1)} frames at a "
            f"spacing of {sampling.spacing_s:g} s; ask for fewer frames, a closer spacing or a longer window"
        )
    shares = {"last": [1.0], "centre": [0.5], "several": np.linspace(0, 1, VIEWS)}[sampling.place]
    # Counted from the end, as the newest frame is the one that must not slip past it.
    ends = end_s - slack_s * (1 - np.asarray(shares))
    spans: NDArray[np.float64] = np.maximum(ends[:, None] - (count - steps) * sampling.spacing_s, start_s)
    return spans.round(6)


class FrameStore:
    """Decoded clips under `root`, as `ab/abcdef….npy`, uint8 RGB, (views, frames, size, size, 3)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, request: Request, sampling: Sampling) -> str:
        """The content address of a clip's frames (hex). The path is no part of it: the video's hash is."""
        return _frame_key(request.sha256, request.start_s, request.end_s, sampling, DECODER)

    def open(self, key: str) -> Frames:
        """A clip (V, T, S, S, 3), mapped into memory, read-only. BadInput where it is not (or no longer) there."""
        try:
            frames: Frames = np.load(self.path(key), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(
                f"{self.path(key)}: these frames are missing or damaged; run the same command again to decode them"
            ) from error
        return frames

    def read(self, keys: Sequence[str]) -> Frames:
        """Clips of one shape, stacked: (N, V, T, S, S, 3)."""
        return np.stack([self.open(key) for key in keys])

    def ensure(
        self,
        requests: Iterable[Request],
        sampling: Sampling,
        *,
        workers: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
        leave_out: Callable[[Request, str], None] | None = None,
    ) -> int:
        """Decode what is missing, `workers` videos at a time; return how many clips were decoded.

        Opens no video where nothing is missing. Raises BadInput, naming the file, at the first bad video; the clips
        finished by then stay. `progress(done, total)` counts clips, those already there included.

        With `leave_out` a clip that cannot be decoded stops nothing: `leave_out(request, reason)` is told, one call at
        a time, and may raise to stop. The verdict is kept beside the clips, so that it is not sought again.
        """
        wanted = {self.key(request, sampling): request for request in requests}
        missing: dict[Path, list[tuple[str, Request]]] = {}
        for key, request in wanted.items():
            if self._is_whole(key, request, sampling):
                continue
            if leave_out and self._verdict(key).is_file():
                leave_out(request, self._verdict(key).read_text(encoding="utf-8"))
            else:
                missing.setdefault(request.path, []).append((key, request))
        total, to_do, lost = len(wanted), sum(map(len, missing.values())), 0
        done = total - to_do
        progress(done, total)
        if not missing:
            return 0
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock, stop = Lock(), Event()

        def finished() -> None:
            nonlocal done
            with lock:
                done += 1
                progress(done, total)

        def failed(request: Request, reason: str) -> None:
            nonlocal lost
            with lock:
                lost += 1
                assert leave_out
                leave_out(request, reason)
            finished()

        # Threads: FFmpeg and swscale work outside Python's lock. Two processes were a fifth faster than two threads
        # on two busy cores, but must be spawned (CUDA forbids forks), which a caller's unguarded script breaks.
        at_once = min(max(workers, 1), len(missing))
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            threads = 1 if at_once > 1 else max(workers, 1)
            jobs = [
                pool.submit(
                    self._decode_video, path, clips, sampling, threads, finished, stop, failed if leave_out else None
                )
                for path, clips in missing.items()
            ]
            try:
                for job in as_completed(jobs):
                    job.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
        return to_do - lost

    def _decode(
        self,
        path: Path,
        clips: Sequence[tuple[str, Request]],
        sampling: Sampling,
        threads: int,
        finished: Callable[[], None],
        stop: Event,
    ) -> None:
        """Clips of one video in one pass. A clip is in memory from its first frame to its last."""
        times = np.stack([sample_times(request.start_s, request.end_s, sampling) for _, request in clips])
        views, count = times.shape[1:]
        open_clips: dict[int, Frames] = {}
        left = np.full(len(clips), views * count)
        for positions, frame in walk_frames(path, times.ravel(), sampling.picture, threads):
            if stop.is_set():
                return
            for position in positions:
                clip, place = divmod(int(position), views * count)
                if clip not in open_clips:
                    open_clips[clip] = np.empty((views * count, *frame.shape), dtype=np.uint8)
                open_clips[clip][place] = frame
                left[clip] -= 1
                if left[clip] == 0:
                    frames = open_clips.pop(clip).reshape(views, count, *frame.shape)
                    with replacing(self.path(clips[clip][0])) as temporary, temporary.open("wb") as file:
                        np.save(file, frames, allow_pickle=False)
                    finished()

    def _decode_video(
        self,
        path: Path,
        clips: Sequence[tuple[str, Request]],
        sampling: Sampling,
        threads: int,
        finished: Callable[[], None],
        stop: Event,
        failed: Callable[[Request, str], None] | None,
    ) -> None:
        """All missing clips of one video in one pass; where that fails and faults are gathered, clip by clip.

        So a fault costs the clips that it lies in, and whether a clip is readable does not hang on the others.
        """
        try:
            self._decode(path, clips, sampling, threads, finished, stop)
            return
        except BadInput:
            if failed is None:
                raise
            _refuse_other_content(path, clips[0][1].sha256)
        for key, request in clips:
            if stop.is_set():
                return
            if self._is_whole(key, request, sampling):
                continue
            try:
                self._decode(path, [(key, request)], sampling, threads, finished, stop)
            except BadInput as error:
                reason = str(error).removeprefix(f"{path}: ")
                write_atomically(self._verdict(key), reason)
                failed(request, reason)

    def _is_whole(self, key: str, request: Request, sampling: Sampling) -> bool:
        """Whether the clip is there in the shape that it must have; what is cut or was replaced is not trusted."""
        if not self.path(key).is_file():
            return False
        shape = (*sample_times(request.start_s, request.end_s, sampling).shape, sampling.size, sampling.size, 3)
        try:
            frames = self.open(key)
        except BadInput:
            return False
        return frames.shape == shape and frames.dtype == np.uint8

    def path(self, key: str) -> Path:
        """The file of a key, whether it is there or not."""
        return self.root / key[:2] / f"{key}.npy"

    def _verdict(self, key: str) -> Path:
        """Why a clip cannot be decoded. The key covers file and decoder: another of either is a new question."""
        return self.path(key).with_suffix(".unreadable")


@lru_cache(maxsize=1 << 17)  # every episode asks again for the same clips
def _frame_key(sha256: str, start_s: float, end_s: float, sampling: Sampling, decoder: str) -> str:
    times = sample_times(start_s, end_s, sampling)
    content = [sha256, times.tolist(), asdict(sampling.picture), decoder]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _refuse_other_content(path: Path, sha256: str) -> None:
    """A fault is the video's own only if these are its bytes: a failing disk must not look like bad data."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check the disk, then run again") from error
    if found != sha256:
        raise BadInput(
            f"{path}: has changed since the manifest was written (sha256 {found[:12]}, expected {sha256[:12]}); "
            "restore the file or import the folder again"
        )
