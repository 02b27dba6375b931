"""A worker: one process that sets methods up and runs their units, for the driver in `benchmark.run.cluster`.

    hello         which machine and which code: compared with the driver's before it is given anything
    begin         the data, how many threads
    lacks, keep   files that its cache should hold and does not; their bytes
    prepare       set a method up; answers with what it needs for that, if it needs anything
    encode, run   frozen features of some clips; one unit -> its Record

A worker may have a cache of its own and see none of the driver's disks: frames, published weights and checkpoints come
to it as files for its cache, and nothing is read from a video here.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from socket import gethostname
from typing import Any

from benchmark.baseline import Context, Embeds, Loads, Pretrains
from benchmark.data.dataset import PretrainClips, TaskData, open_stores
from benchmark.data.frames import Sampling
from benchmark.data.manifest import Manifest
from benchmark.files import cache_folder, write_atomically
from benchmark.progress import Progress
from benchmark.run.code import code_digest
from benchmark.run.execute import Fault, Machine, Prepared, run_unit, set_up
from benchmark.run.plan import Method
from benchmark.run.provenance import PACKAGES, ROOT, library_version
from benchmark.run.stage1 import CARD, Origin, find_or_train, folder_in_cache
from benchmark.run.units import Record, WorkUnit
from protocols.episodes import Episode
from tasks.errors import BadInput

SENT = "sent"  # folder of a worker's cache for files that stand elsewhere on the driver's machine


@dataclass(frozen=True)
class Greeting:
    """What a worker is. `code` is that of the suite, which lies in `root`.

    `versions` are those of the libraries that can change a number.
    """

    node: str
    host: str
    code: str
    root: str
    versions: dict[str, str]


@dataclass(frozen=True)
class NeedsClips:
    """A method's set-up asks for the clips of a mix, and perhaps for their frames."""

    sampling: Sampling
    mix: str
    frames: bool


@dataclass(frozen=True)
class NeedsStage1:
    """A method's set-up asks for a checkpoint that this cache lacks. `folder` is its name below `stage1`."""

    folder: str
    sampling: Sampling
    mix: str


@dataclass(frozen=True)
class Refused:
    """BadInput, as it travels."""

    sentence: str


class Lacking(Exception):
    """Ends a set-up that the driver must first send something for."""

    def __init__(self, need: NeedsClips | NeedsStage1) -> None:
        super().__init__(str(need))
        self.need = need


Answer = NeedsClips | NeedsStage1 | Fault | Refused | None


class Worker:
    """Its methods are called one at a time. It holds one method that is set up."""

    def hello(self) -> Greeting:
        """Who is there."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        versions = {name: library_version(name) for name in PACKAGES}
        return Greeting(node, gethostname(), suite_digest(), str(ROOT), versions)

    def begin(self, data: TaskData, machine: Machine, cache: Path | None, at_home: bool) -> str | None:
        """Take the data; a sentence where that cannot be done here.

        Args:
            data: as the driver has them, with all that was derived.
            machine: device and threads.
            cache: the cache to use; None: this machine's own.
            at_home: whether the driver's paths hold here.
        """
        try:
            self.cache = cache or cache_folder()
        except BadInput as error:
            return str(error)
        self.at_home = at_home
        self.machine = replace(machine, cache=self.cache)
        self.data = copy.copy(data)  # keeps what was derived: facts of the videos cannot be read here
        vars(self.data).update(stores=open_stores(self.cache), cache=self.cache)
        self.clips: dict[tuple[Sampling, str], PretrainClips] = {}
        self.framed: set[tuple[Sampling, str]] = set()
        self.may_train = ""
        self.ready: Prepared | None = None
        return None

    def lacks(self, sizes: dict[str, int]) -> list[str]:
        """Those of these files (by their places below the cache) that are not here in this size."""
        return [place for place, size in sizes.items() if _size(self.cache / place) != size]

    def keep(self, places: Sequence[str], contents: Sequence[Any]) -> None:
        """Write files into the cache; contents are uint8 arrays, or references to such."""
        import ray

        for place, content in zip(places, ray.get(list(contents)), strict=True):
            write_atomically(self.cache / place, content.tobytes())

    def know(self, need: NeedsClips, clips: PretrainClips) -> None:
        """Take the clips of a mix; with `need.frames` their frames are in the cache."""
        place = (need.sampling, need.mix)
        self.clips[place] = replace(clips, stores=self.data.stores)
        if need.frames:
            self.framed.add(place)

    def prepare(self, method: Method, code: str, may_train: str = "") -> Answer:
        """Set a method up.

        Args:
            method: its adapter is imported when this call arrives, so a worker loads only what it runs.
            code: the digest of the adapter's source on the driver.
            may_train: the folder of the checkpoint that this worker may train if the cache lacks it.

        Returns:
            None when it is set up; otherwise what it needs first, or why it cannot be.
        """
        self.ready, self.may_train = None, may_train
        if code_digest(method.adapter) != code:
            return Refused(f"node {gethostname()} has other code of {method.name}; install the same version there")
        try:
            method = method if self.at_home else sent(method, self.cache)
            self.ready = set_up(
                method, method.make(), self.data, self.machine, self._clips_of, self._stage1, Progress(quiet=True)
            )
        except Lacking as error:
            return error.need
        except BadInput as error:
            return Refused(str(error))
        except Exception as error:
            return Fault.of(error, "setup")
        return None

    def stage1_places(self, folder: str) -> list[str]:
        """The files of a finished checkpoint, its card last."""
        files = [path for path in (self.cache / "stage1" / folder).iterdir() if path.is_file()]
        files.sort(key=lambda path: (path.name == CARD, path.name))
        return [str(path.relative_to(self.cache)) for path in files]

    def read(self, places: Sequence[str]) -> list[bytes]:
        """Files of the cache."""
        return [(self.cache / place).read_bytes() for place in places]

    def encode(self, clip_ids: tuple[str, ...], episode: Episode) -> list[str]:
        """Put frozen features of clips into the cache, and tell their places below it.

        `episode` is any one, to ask about other clips.
        """
        assert self.ready is not None
        baseline = self.ready.baseline
        if not isinstance(baseline, Embeds) or baseline.input is None:
            return []
        clips = self.data.query(replace(episode, query=clip_ids), baseline.input.sampling)
        clips.embeddings(baseline)
        paths = [self.data.stores.features.path(baseline.embedding_key, key) for key in clips.frame_keys]
        return [str(path.relative_to(self.cache)) for path in paths]

    def run(self, unit: WorkUnit, episode: Episode) -> Record:
        """One unit of the method that is set up."""
        assert self.ready is not None
        return run_unit(self.ready, unit, episode, self.data)

    def _clips_of(self, sampling: Sampling, mix: str, frames: bool) -> PretrainClips:
        place = (sampling, mix)
        if place not in self.clips or (frames and place not in self.framed):
            raise Lacking(NeedsClips(sampling, mix, frames))
        return self.clips[place]

    def _stage1(
        self,
        wanting: Pretrains,
        origin: Origin,
        clips: PretrainClips,
        manifest: Manifest,
        context: Context,
        stamp: dict[str, Any],
    ) -> Path:
        folder = folder_in_cache(wanting, origin, clips, context)
        if not (folder / CARD).is_file() and folder.name != self.may_train:
            raise Lacking(NeedsStage1(folder.name, wanting.stage1_input.sampling, wanting.mix))
        return find_or_train(wanting, origin, clips, manifest, context, stamp)


def files_to_send(method: Method) -> dict[str, Path]:
    """Files outside the driver's cache that a method starts from, by their places below a worker's cache."""
    files: dict[str, Path] = {}
    baseline = method.make()
    if method.weights and isinstance(baseline, Loads) and baseline.published:
        names = {PurePosixPath(file.path).name for file in baseline.published.files} | {method.weights.name}
        beside = {name: method.weights.with_name(name) for name in sorted(names)}
        files |= {f"{SENT}/{method.weights_digest}/{name}": path for name, path in beside.items() if path.is_file()}
    if method.stage1:
        folder = method.stage1.folder
        own = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        files |= {f"{SENT}/{method.stage1.card.weights}/{name}": folder / name for name in own}
    return files


def sent(method: Method, cache: Path) -> Method:
    """The same method, starting from the files that were sent."""
    if method.weights:
        method = replace(method, weights=cache / SENT / method.weights_digest / method.weights.name)
    if method.stage1:
        folder = cache / SENT / method.stage1.card.weights
        method = replace(method, stage1=replace(method.stage1, folder=folder))
    return method


@cache
def suite_digest() -> str:
    """Hex sha256 of the suite's source: code and specs."""
    found = hashlib.sha256()
    for package in ("tasks", "protocols", "benchmark", "baselines"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
