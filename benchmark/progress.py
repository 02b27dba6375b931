"""Progress with the time left: a bar in a terminal, now and then a plain line elsewhere (always on stderr)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

LINE_EVERY_S = 10.0
WORTH_A_LINE_S = 2.0


class Progress:
    """`with progress.track("decoding", total) as advance: advance(done)`. Tracks may nest; `quiet` says nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bars: Bars | None = None

    def say(self, text: str) -> None:
        """One line for the person who waits."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def track(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes how many of `total` are done."""
        if self.quiet or total == 0:
            yield lambda done: None
        elif sys.stderr.isatty():
            with self._bar(what, total) as advance:
                yield advance
        else:
            yield _lines(what, total)

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A row in the one display that a terminal can hold; the outermost track opens and closes it."""
        outermost = self._bars is None
        bars = self._bars = self._bars or _new_bars()
        if outermost:
            bars.start()
        row = bars.add_task(what, total=total)
        try:
            yield lambda done: bars.update(row, completed=done)
        finally:
            if outermost:
                bars.stop()
                self._bars = None
            else:
                bars.remove_task(row)


def _new_bars() -> Bars:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _lines(what: str, total: int) -> Callable[[int], None]:
    """The time left is judged from the first report on: before it a method was set up, or trained its stage 1."""
    begun = last = time.monotonic()
    first: tuple[float, int] | None = None

    def advance(done: int) -> None:
        """Say how far it is, unless that was said just now."""
        nonlocal last, first
        now = time.monotonic()
        since, from_done = first = first or (now, done)
        soon_again = done < total and now - last < LINE_EVERY_S
        too_quick = done == total and now - begun < WORTH_A_LINE_S
        if soon_again or too_quick:
            return
        last = now
        tail = ""
        if done == total:
            tail = f", {now - begun:.1f} s"
        elif done > from_done:
            tail = f", about {(now - since) / (done - from_done) * (total - done):.0f} s left"
        print(f"{what}: {done}/{total}{tail}", file=sys.stderr, flush=True)

    return advance
