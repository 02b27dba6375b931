"""Who does what next, when many workers share a run: an idle one pulls, nothing is handed out in advance.

A worker stays with the method that it has set up as long as that has work; then it joins the one with the most work a
head. Of a method with frozen features the clips are encoded first, a few a job, each once: then its units are matrix
work. What a lost worker held comes back and is tried again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Condition

TRIES = 3  # of a job whose worker is lost, and of a method's set-up

Unit = int  # its place in the plan
Batch = tuple[str, ...]  # clips to encode
Job = Unit | Batch


@dataclass
class Group:
    """A method's work. With `first_alone` one worker sets it up (and trains its first stage) before others join."""

    units: deque[Unit]
    batches: deque[Batch] = field(default_factory=deque)
    first_alone: bool = False
    encoding: int = 0
    opening: bool = False
    opened: bool = False
    given_up: int = 0  # units in a row

    @property
    def waiting(self) -> int:
        """How many jobs could be begun now."""
        if self.opening and self.first_alone and not self.opened:
            return 0
        return len(self.batches) or (len(self.units) if not self.encoding else 0)


class Rota:
    """The jobs of a run; all methods may be called from any thread."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = list(groups)
        self._left = sum(len(group.units) for group in self.groups)
        self._at: dict[int, int] = {}
        self._lost: Counter[tuple[int, Job | None]] = Counter()
        self._turn = Condition()
        self._closed = self._left == 0

    @property
    def closed(self) -> bool:
        """Whether nothing is left, or nothing more is wanted."""
        return self._closed

    def take(self, worker: int) -> tuple[int, Job] | None:
        """A job and its group's number; waits while others hold all that is left; None when the run is over."""
        with self._turn:
            while not self._closed:
                number = self._choice(worker)
                if number is not None:
                    return number, self._begin(worker, number)
                self._turn.wait()
            return None

    def opened(self, number: int) -> None:
        """A group's method is set up by some worker."""
        with self._turn:
            self.groups[number].opened = True
            self._turn.notify_all()

    def done(self, number: int, job: Job) -> None:
        """A job has come to its end, well or not."""
        with self._turn:
            self.groups[number].given_up = 0
            self._end(number, job)

    def drop(self, number: int) -> list[Unit]:
        """Give up what no worker has begun of a group; its units."""
        with self._turn:
            group = self.groups[number]
            units = list(group.units)
            group.units.clear()
            group.batches.clear()
            group.opening = False
            self._close_after(len(units))
            return units

    def lost(self, worker: int, number: int, job: Job, ready: bool) -> list[Unit]:
        """A worker is gone with a job: it goes to the front of the queue, unless that has happened too often.

        A method of which so many units in a row had to be given up is given up as a whole.

        Args:
            worker: the lost one.
            number: the job's group.
            job: what it held.
            ready: whether its method was set up: if not, the method is to blame and not the job.

        Returns:
            Units that are given up.
        """
        with self._turn:
            group = self.groups[number]
            self._at.pop(worker, None)
            group.opening = False
            blamed = (number, job if ready else None)
            self._lost[blamed] += 1
            if ready and self._lost[blamed] >= TRIES:
                self._end(number, job)
                group.given_up += isinstance(job, int)
                units = [job] if isinstance(job, int) else []
                return units + (self.drop(number) if group.given_up >= TRIES else [])
            if isinstance(job, int):
                group.units.appendleft(job)
            else:
                group.encoding -= 1
                group.batches.appendleft(job)
            self._turn.notify_all()
            too_often = self._lost[blamed] >= TRIES
        return self.drop(number) if too_often else []

    def close(self) -> None:
        """Nothing more is wanted: whoever waits is told."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def _choice(self, worker: int) -> int | None:
        mine = self._at.get(worker)
        if mine is not None and self.groups[mine].waiting:
            return mine
        heads = Counter(self._at.values())
        open_ = [number for number, group in enumerate(self.groups) if group.waiting]
        return min(open_, key=lambda n: (-self.groups[n].waiting / (heads[n] + 1), n), default=None)

    def _begin(self, worker: int, number: int) -> Job:
        self._at[worker] = number
        group = self.groups[number]
        group.opening = True
        if group.batches:
            group.encoding += 1
            return group.batches.popleft()
        return group.units.popleft()

    def _end(self, number: int, job: Job) -> None:
        if isinstance(job, int):
            self._close_after(1)
        else:
            self.groups[number].encoding -= 1
            self._turn.notify_all()

    def _close_after(self, units: int) -> None:
        self._left -= units
        self._closed = self._closed or self._left == 0
        self._turn.notify_all()
