"""A run is a folder. Each finished unit is one file in it, written in one step; resume is a set difference.

run.json         the RunCard
clips.csv        clip_id, subject_id, label: with the records, all that scoring needs
episodes.json    support and query of every episode
units/*.json     one Record each
predictions.csv  the same predictions as one table, for people; made anew when a run ends
.lock            held by the process that writes
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from benchmark.data.dataset import pool_digest
from benchmark.files import write_atomically
from benchmark.run.units import Record, RunCard, SavedEpisode, WorkUnit
from protocols.episodes import Episode
from tasks.errors import BadInput

SAVED_EPISODES = TypeAdapter(list[SavedEpisode])


class RunFolder:
    """Reads and writes one run. Only the holder of `locked()` writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing. A call that BadInput ends before any unit was recorded leaves no trace.

        Raises:
            BadInput: another process holds it, or it cannot be written.
        """
        before = set(self.path.iterdir()) if self.path.is_dir() else None
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise BadInput(f"{self.path}: another run is writing here; wait for it or choose another --out") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BadInput(f"--out {self.path}: cannot be written ({reason}); choose another --out") from error
        try:
            yield
        except BadInput:
            self._undo(before)
            raise
        finally:
            lock.release()

    def _undo(self, before: set[Path] | None) -> None:
        """Remove what this call wrote, unless it recorded units. `before`: what the folder held; None: no folder."""
        units = self.path / "units"
        if units.is_dir() and units not in (before or ()):
            return
        for name in ("run.json", "clips.csv", "episodes.json", ".lock"):
            if self.path / name not in (before or ()):
                (self.path / name).unlink(missing_ok=True)
        if before is None:
            with suppress(OSError):  # somebody put a file there meanwhile: it stays
                self.path.rmdir()

    def claim(self, card: RunCard, clips: pd.DataFrame) -> None:
        """Write the card into a new folder, or check that the folder's card is the same.

        Raises:
            BadInput: the folder holds another run; the sentence names the first difference.
        """
        if (self.path / "run.json").is_file():
            there = self.card()
            if there != card:
                what = first_difference(there.model_dump(mode="json"), card.model_dump(mode="json"))
                raise BadInput(f"--out {self.path}: holds another run ({what}); choose another --out")
            return
        strangers = [p.name for p in self.path.iterdir() if p.name != ".lock" and not p.name.endswith(".tmp")]
        if strangers and strangers != ["clips.csv"]:
            raise BadInput(
                f"--out {self.path}: is neither empty nor a run ({strangers[0]} is there); choose another --out"
            )
        table = clips[["clip_id", "subject_id", "label"]].astype({"label": int})
        write_atomically(self.path / "clips.csv", table.to_csv(index=False, lineterminator="\n"))
        write_atomically(self.path / "run.json", card.model_dump_json(indent=1) + "\n")

    def card(self) -> RunCard:
        """The run's card. Raises BadInput where there is none."""
        path = self.path / "run.json"
        try:
            return RunCard.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BadInput(
                f"{self.path}: not a run folder (run.json cannot be read); name one that `run` made"
            ) from error
        except ValidationError as error:
            raise BadInput(f"{path}: not a run card of this version ({error.errors()[0]['msg']}); run again") from error

    def clips(self) -> pd.DataFrame:
        """clip_id, subject_id, label of every clip in the run's pool.

        Raises:
            BadInput: the file cannot be read, or is not the one that the run was made with.
        """
        clips = self.clips_as_they_stand()
        if pool_digest(clips) != self.card().data.pool:
            raise BadInput(
                f"{self.path / 'clips.csv'}: clips, patients or labels are not those of run.json; run into another "
                "folder"
            )
        return clips

    def clips_as_they_stand(self) -> pd.DataFrame:
        """The same, changed or not: for `audit`, which tells what was changed."""
        path = self.path / "clips.csv"
        try:
            table = pd.read_csv(path, dtype={"clip_id": str, "subject_id": str, "label": float}, keep_default_na=False)
            return table[["clip_id", "subject_id", "label"]]
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"{path}: cannot be read as the run's clips ({error}); run again") from error

    def save_episodes(self, episodes: list[Episode]) -> None:
        """Add episodes to those that are saved."""
        drawn = [SavedEpisode(**asdict(episode), digest=episode.digest) for episode in episodes]
        saved = {(e.shots, e.index): e for e in [*self.saved_episodes(), *drawn]}
        rows = [json.dumps(saved[key].model_dump(exclude_none=True), sort_keys=True) for key in sorted(saved)]
        write_atomically(self.path / "episodes.json", "[\n" + ",\n".join(rows) + "\n]\n")

    def episode_queries(self) -> dict[tuple[int, int], tuple[str, ...]]:
        """Query clip ids by (shots, episode index)."""
        return {(e.shots, e.index): e.query for e in self.saved_episodes()}

    def saved_episodes(self) -> list[SavedEpisode]:
        """Support and query of every episode; none before the run has begun."""
        path = self.path / "episodes.json"
        if not path.is_file():
            return []
        try:
            return SAVED_EPISODES.validate_json(path.read_bytes())
        except ValidationError as error:
            raise BadInput(
                f"{path}: not a list of episodes ({error.errors()[0]['msg']}); delete it and run again"
            ) from error

    def write(self, record: Record) -> None:
        """Put a unit's record in place."""
        write_atomically(self._path_of(record.unit), record.model_dump_json(indent=1) + "\n")

    def is_done(self, unit: WorkUnit) -> bool:
        """Whether a whole, successful record of exactly this unit, by this code, is there."""
        try:
            record = Record.model_validate_json(self._path_of(unit).read_bytes())
        except (OSError, ValidationError):
            return False
        return record.status == "done" and record.unit == unit

    def threads(self) -> int | None:
        """How many threads a work unit had, by the first record that is there; None: there is none to tell."""
        for path in sorted((self.path / "units").glob("[!.]*.json")):
            with suppress(OSError, ValidationError):
                found = Record.model_validate_json(path.read_bytes()).provenance.get("threads")
                if isinstance(found, int):
                    return found
        return None

    def records(self) -> list[Record]:
        """All records, in the order of their names.

        Raises:
            BadInput: one of them is not a record, or not of this run and its episodes.
        """
        found, run = [], self.card().digest
        episodes = {(e.shots, e.index): e.digest for e in self.saved_episodes()}
        for path in sorted((self.path / "units").glob("[!.]*.json")):
            if not episodes:
                raise BadInput(f"{self.path / 'episodes.json'}: missing, yet units are there; run again")
            try:
                record = Record.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise BadInput(f"{path}: not a record ({error.errors()[0]['msg']}); delete it and run again") from error
            unit = record.unit
            of_this = (unit.run, episodes.get((unit.shots, unit.episode))) == (run, unit.episode_digest)
            if not of_this or path != self._path_of(unit):
                raise BadInput(f"{path}: the record of another unit or run was put here; delete it and run again")
            found.append(record)
        return found

    def any_done(self) -> bool:
        """Whether there is anything to score."""
        return any(record.status == "done" for record in self.records())

    def export_predictions(self) -> None:
        """Write predictions.csv: deterministic bytes for the same predictions.

        The column train_seed is there only if some unit was trained more than once.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        records = self.records()
        repeated = any(record.unit.train_seed for record in records)
        column = ["train_seed"] if repeated else []
        writer.writerow(["method", "size", "init", "shots", "episode", *column, "replicate", "clip_id", "score"])
        for record in records:
            if record.predictions is None:
                continue
            unit = record.unit
            place = [unit.method, unit.size, unit.init, unit.shots, unit.episode]
            place += [unit.train_seed] if repeated else []
            for replicate, scores in enumerate(record.predictions.scores):
                for clip, score in zip(record.predictions.clip_ids, scores, strict=True):
                    writer.writerow([*place, replicate, clip, repr(score)])
        write_atomically(self.path / "predictions.csv", text.getvalue())

    def _path_of(self, unit: WorkUnit) -> Path:
        return self.path / "units" / f"{unit.key}.json"


def first_difference(there: dict[str, object], here: dict[str, object], prefix: str = "") -> str:
    """Where two cards differ, for a sentence: "its seed is 1, this one's 0"."""
    keys = there.keys() | here.keys()
    for key in sorted(keys, key=lambda k: (isinstance(there.get(k), dict), k == "data", k)):
        a, b = there.get(key), here.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            return first_difference(a, b, f"{prefix}{key}.")
        if a != b:
            return f"its {prefix}{key} is {_short(a)}, this one's {_short(b)}"
    return "equal"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"
