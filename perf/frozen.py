"""600 episodes a shot of a frozen encoder against encoding its clips once: `python -m perf.frozen --size base`.

    run       what `seizure-bench run --model linear_probe --shots 2,3,4 --episodes 600` does after its imports: read
              and label the data, draw the episodes, load the network, encode each clip, fit and ask 1,800 classifiers,
              write 1,800 records, export them, score them, render the table
    encode    load the network and encode the same clips once into a feature store, one by one, nothing else

Both begin with an empty feature store. Clips are decoded beforehand, on both sides alike. The network has random
weights, which changes no time. The run's parts: `encode` is the network alone, `episodes` loading it, fit, predict and
guards, `records` is writing them (each is synced to the disk), `score` is reading them again, metrics and table.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.baseline import Size
from benchmark.board.rows import board_rows
from benchmark.board.table import render
from benchmark.data.clips import Clips, Stores
from benchmark.data.features import FeatureStore
from benchmark.files import cache_folder
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, prepare
from benchmark.run.records import RunFolder
from benchmark.run.session import Session, run_session
from perf.measure import alternate, cores, demo_session, machine, ratio, refs_of, spread

MODEL, SHOTS = "linear_probe", (2, 3, 4)
PARTS = ("open", "encode", "episodes", "records", "export", "score")


class Clock:
    """Seconds by part; what is measured within another part is taken from it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.seconds[name] += took - self._inner.pop()
            self._inner[-1] += took

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time counted."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return timed


class TimedStore(FeatureStore):
    """The feature store, which tells the clock what encoding takes."""

    def __init__(self, root: Path, clock: Clock) -> None:
        super().__init__(root)
        self._embed_clock = clock

    def fetch(self, encoder: str, frame_keys: Any, open_frames: Any, embed: Any) -> Any:
        return super().fetch(encoder, frame_keys, open_frames, self._embed_clock.around("encode", embed))


def opened(out: Path, features: FeatureStore, episodes: int, size: Size) -> Session:
    """A session whose frames are those of the cache, and whose features are `features`."""
    session = demo_session(MODEL, out, SHOTS, episodes, size)
    return replace(session, data=replace(session.data, stores=Stores(session.data.stores.frames, features)))


def run(out: Path, at: Machine, episodes: int, size: Size) -> dict[str, float]:
    """Seconds of a whole run, by part."""
    clock = Clock()
    with clock.part("open"):
        session = opened(out / "run", TimedStore(out / "features", clock), episodes, size)
    folder = TimedFolder(session.folder.path, clock)
    with clock.part("episodes"):
        outcome = run_session(replace(session, folder=folder), at, "always", Progress(quiet=True))
    assert outcome.done == episodes * len(SHOTS), outcome.failed
    with clock.part("score"):
        render(board_rows([session.folder.path]))
    return clock.seconds


class TimedFolder(RunFolder):
    """A run folder, which tells the clock what writing takes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        self.write = clock.around("records", self.write)  # type: ignore[method-assign]
        self.export_predictions = clock.around("export", self.export_predictions)  # type: ignore[method-assign]


def encode(out: Path, at: Machine, episodes: int, size: Size) -> float:
    """Seconds to load the network and encode every clip of the same episodes once."""
    session = opened(out / "run", FeatureStore(out / "features"), episodes, size)
    refs = tuple(refs_of(session).values())
    began = time.perf_counter()
    baseline: Any = prepare(session.methods[0], session.data, at, Progress(quiet=True), Outcome()).baseline
    Clips(refs, baseline.input.sampling, session.data.stores).embeddings(baseline)
    return time.perf_counter() - began


def main(
    size: Annotated[Size, typer.Option(help="Of the network.")] = "tiny",
    rounds: Annotated[int | None, typer.Option(help="Default: 3 at tiny, 1 at base.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = cores(),
    episodes: Annotated[int, typer.Option(min=1, help="A shot, of which there are three.")] = 600,
) -> None:
    """Print the machine, the work, both sides, the run's parts and the ratio."""
    rounds = rounds or (1 if size == "base" else 3)
    at = Machine("cpu", threads, cache_folder())
    parts: list[dict[str, float]] = []
    print(machine(threads))

    def our_turn(_: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            parts.append(run(Path(folder), at, episodes, size))
        return sum(parts[-1].values())

    def encode_turn(_: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return encode(Path(folder), at, episodes, size)

    with tempfile.TemporaryDirectory() as folder:  # decodes, imports and allocates
        run(Path(folder), at, 1, "tiny")
        session = demo_session(MODEL, Path(folder) / "frames", SHOTS, episodes, size)
        prepare(session.methods[0], session.data, at, Progress(quiet=True), Outcome())
    found = alternate({"run": our_turn, "encode": encode_turn}, rounds)
    print(
        f"work: {MODEL} at {size}, {len(refs_of(session))} clips, {len(SHOTS)} shots x {episodes} episodes; "
        f"{rounds} rounds"
    )
    for name, seconds in found.items():
        print(f"{name}: {spread(seconds)} s")
    print("of the run: " + ", ".join(f"{name} {spread([p[name] for p in parts])}" for name in PARTS) + " s")
    print(f"run / encode: {ratio(found['run'], found['encode'])}")
    computing = [p["encode"] + p["episodes"] for p in parts]
    print(f"encode and episodes of the run / encode: {ratio(computing, found['encode'])}")


if __name__ == "__main__":
    typer.run(main)
