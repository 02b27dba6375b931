"""Small pictures of a whole video, kept by the video's sha256: what an audit looks at instead of the video.

    video -> RATE grey pictures a second, each SIDE x SIDE cell means of whole frames, (T, SIDE, SIDE) float16

Each picture is the mean of SHOTS frames evenly spaced over its time, so that fast movement blurs instead of aliasing.
A video is gone through once, ever: copies of a data set, and later audits, find the pictures in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.data.decode import DECODER, probe, walk_frames
from benchmark.files import replacing
from benchmark.progress import Progress
from tasks.errors import BadInput

RATE = 4  # pictures a second
SHOTS = 2  # frames a picture
SIDE = 16
_VERSION = 1  # raise it when the same video would give other pictures
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601

Pictures = NDArray[np.float16]


@dataclass(frozen=True)
class PictureStore:
    """Pictures by a video's sha256, under `folder`."""

    folder: Path

    def ensure(self, videos: dict[str, Path], workers: int, progress: Progress) -> dict[str, str]:
        """Make what is missing.

        Args:
            videos: path by sha256, already compared with the file.
            workers: videos read at a time; the pictures do not depend on it.
            progress: for the person who waits.

        Returns:
            The reason, by sha256, for each video that cannot be read to its end.
        """
        missing = {digest: path for digest, path in sorted(videos.items()) if not self._path(digest).is_file()}
        unreadable: dict[str, str] = {}
        with (
            progress.track("looking through videos", len(missing)) as advance,
            ThreadPoolExecutor(max_workers=max(1, workers)) as pool,
        ):
            futures = {pool.submit(self._make, digest, path): digest for digest, path in missing.items()}
            for done, future in enumerate(as_completed(futures), 1):
                try:
                    future.result()
                except BadInput as error:
                    unreadable[futures[future]] = str(error)
                advance(done)
        return unreadable

    def open(self, digest: str) -> Pictures:
        """The pictures of a video, (T, SIDE, SIDE), values 0 to 255."""
        pictures: Pictures = np.load(self._path(digest), allow_pickle=False)
        return pictures

    def _make(self, digest: str, path: Path) -> None:
        with replacing(self._path(digest)) as temporary, temporary.open("wb") as file:
            np.save(file, small_pictures(path), allow_pickle=False)

    def _path(self, digest: str) -> Path:
        key = hashlib.sha256(f"{digest}|{DECODER}|{RATE}|{SHOTS}|{SIDE}|{_VERSION}".encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.npy"


def small_pictures(path: Path) -> Pictures:
    """Pictures of a video, (T, SIDE, SIDE); what is left over at its end after the last whole picture is dropped.

    Raises:
        BadInput: the video cannot be read to its end.
    """
    count = max(1, int(probe(path).duration_s * RATE + 1e-6))
    times = (np.arange(count * SHOTS) + 0.5) / (RATE * SHOTS)
    total = np.zeros((count, SIDE, SIDE), dtype=np.float32)
    for positions, frame in walk_frames(path, np.minimum(times, probe(path).duration_s), None, threads=1):
        cells = _means(frame.shape[0]) @ (frame @ _GREY) @ _means(frame.shape[1]).T
        np.add.at(total, positions // SHOTS, cells)
    return (total / SHOTS).astype(np.float16)


def _means(pixels: int) -> NDArray[np.float32]:
    """(SIDE, pixels): each row averages one cell of the picture, pixels on its border by their share."""
    edges = np.linspace(0, pixels, SIDE + 1)
    before = np.arange(pixels)
    share = np.minimum(edges[1:, None], before + 1) - np.maximum(edges[:-1, None], before)
    weights: NDArray[np.float32] = (np.clip(share, 0, None) * SIDE / pixels).astype(np.float32)
    return weights


def by_digest(digests: Iterable[str], paths: Iterable[Path]) -> dict[str, Path]:
    """One path a video, the first given."""
    videos: dict[str, Path] = {}
    for digest, path in zip(digests, paths, strict=True):
        videos.setdefault(digest, path)
    return videos
