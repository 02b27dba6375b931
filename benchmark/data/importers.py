"""Make a manifest and a folder of videos out of what a laboratory has; the originals are only read.

    tables    recordings, events and annotated_intervals as TSV or CSV beside the videos; what a video tells by
              itself (sha256, duration_s, fps, width, height) is filled in where it is missing or `n/a`
    szcore    each video with an SzCORE event table (X.tsv or X_events.tsv) beside it, marked on the EEG;
              szcore-clinical: the same, marked on the video
    rodepil   RodEpil's folders of labelled 10 s clips; a file that is no readable video is left out and named

Each importer reads `src` into `_Found` recordings or tables; `import_data` does what they share: the new folder
appears whole or not at all, videos are hard-linked (copied across file systems), and the manifest must validate.
No date enters: file names are made anew, sessions are numbered, `dateTime` is never read.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.data.decode import probe
from benchmark.data.manifest import (
    EVENT_COLUMNS,
    INTERVAL_COLUMNS,
    RECORDING_COLUMNS,
    UNKNOWN,
    read_manifest,
    write_manifest,
)
from benchmark.data.stage1 import most_left_out
from benchmark.files import replacing, sha256_of, write_atomically
from benchmark.progress import Progress
from tasks.errors import BadInput

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")
_END_TOLERANCE_S = 0.05  # as the manifest's: tables round
_DATE = re.compile(r"(?<!\d)(?:(?:19|20)\d\d([-_.]?)[01]?\d\1[0-3]?\d|[0-3]?\d([-_.])[01]?\d\2(?:19|20)\d\d)(?!\d)")


@dataclass(frozen=True)
class _Found:
    """A video, what is known of it, and its annotation in seconds: events (onset, duration, type, confidence)."""

    path: Path
    facts: Mapping[str, str]
    events: Sequence[tuple[float, float, str, str]] = ()
    watched: Sequence[tuple[float, float]] = ()
    onset_type: str = UNKNOWN


def import_data(kind: str, src: Path, out: Path, progress: Progress) -> None:
    """Import the folder `src` into the new folder `out`; nothing is left behind where it fails.

    Raises:
        BadInput: an unknown kind, an `out` that holds something, or a fault in `src`, with file and row.
    """
    if kind not in IMPORTERS:
        raise BadInput(f"{kind!r} is no kind of data to import; choose one of {', '.join(IMPORTERS)}")
    if not src.is_dir():
        raise BadInput(f"{src}: no such folder; name the folder that holds the data")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: exists and is not empty; name a new folder")
    if out.resolve().is_relative_to(src.resolve()):
        raise BadInput(f"{out}: lies inside {src}, which is only read; name a folder elsewhere")
    with replacing(out) as temporary:
        temporary.mkdir(mode=0o700)  # videos identify patients
        (temporary / "videos").mkdir()
        try:
            IMPORTERS[kind](src, temporary, progress)
            read_manifest(temporary)
        except BadInput as error:
            # Tables keep their rows' order, so a row number holds for the table that was given, too.
            raise BadInput(str(error).replace(str(temporary), str(src))) from error
        if out.is_dir():
            out.rmdir()  # empty, as checked above; a folder cannot be renamed onto another on every system


def import_tables(src: Path, out: Path, progress: Progress) -> None:
    """Our own three tables, as TSV or CSV, with `path` relative to `src`. Without a table of intervals nothing counts
    as watched, so there are no negatives."""
    recordings = _read_table(src, "recordings", ("recording_id", "subject_id", "species", "path"))
    events = _read_table(src, "events", ("recording_id", "onset_s", "duration_s", "event_type", "onset_type"))
    intervals = _read_table(src, "annotated_intervals", ("recording_id", "start_s", "end_s"))
    columns = [*RECORDING_COLUMNS, *(["split"] if "split" in recordings else [])]
    rows = []
    with progress.track("importing videos", len(recordings)) as advance:
        for number, given in enumerate(recordings.to_dict("records"), 2):
            where, path = f"{src / 'recordings'} row {number}", src / str(given["path"])
            if not path.resolve().is_relative_to(src.resolve()):
                raise BadInput(f"{where}: path {given['path']!r} leaves the folder; put the video inside it")
            if not path.is_file():
                raise BadInput(f"{where}: no video at {given['path']!r}; correct the path or drop the row")
            if not re.fullmatch(r"[^\W_][\w .+=-]*", str(given["recording_id"])):
                raise BadInput(
                    f"{where}: recording_id {given['recording_id']!r} cannot name a file; use letters and digits"
                )
            rows.append(_fill_in(where, given, path, columns))
            _link(path, out / rows[-1]["path"])
            advance(number - 1)
    write_manifest(
        out,
        pd.DataFrame(rows, columns=columns),
        events.reindex(columns=EVENT_COLUMNS, fill_value=UNKNOWN),
        intervals.reindex(columns=INTERVAL_COLUMNS),
    )


def import_szcore(src: Path, out: Path, progress: Progress, onset_type: str = "eeg") -> None:
    """Videos X with SzCORE's `onset duration eventType …` in X.tsv or X_events.tsv (BIDS: X_video and X_events).

    The tables do not say what was looked at: `onset_type` does, EEG unless the importer's name says clinical.

    Watched is what `bckg` and seizure rows cover; where there are only seizure rows, the whole `recordingDuration`
    (SzCORE annotates recordings in full). A video without a table was not watched: it gives no negatives.
    Subject and session come from BIDS names (sub-01_ses-02_…), or else from the parent folders.
    """
    videos = _videos(src)
    _refuse_tables_without_video(src, videos)
    places = [_bids_place(path.relative_to(src)) for path in videos]
    subjects = _undated([subject for subject, _ in places], "p")
    sessions = _undated([session for _, session in places], "s")
    found = []
    for path, subject, session in zip(videos, subjects, sessions, strict=True):
        facts = {"subject_id": subject, "session_id": session, "species": "human"}
        found.append(_Found(path, facts, onset_type=onset_type))
    _write(found, out, progress, _with_szcore_events)


def import_rodepil(src: Path, out: Path, progress: Progress) -> None:
    """RodEpil: Seizure_detection_10sec/{0,1}/Date_VideoID_Position_RatID_frames_Label_Y.avi.

    A seizure clip gets one event over all of it: the label is of the clip, and says neither when within it the
    seizure began nor whether it began earlier. It was given by eye for convulsions, hence `clinical`.

    Among 13,053 files one may be broken: up to 5% unreadable ones are left out (`_LeftOut`).
    """
    root = src if (src / "0").is_dir() or (src / "1").is_dir() else src / "Seizure_detection_10sec"
    paths = [path for label in "01" for path in _videos(root / label, optional=True)]
    if not paths:
        raise BadInput(f"{root}: no videos in its folders 0 and 1; name RodEpil's folder Seizure_detection_10sec")
    tokens = []
    for path in paths:
        parts = path.stem.split("_")
        if len(parts) < 6 or parts[-2] != "Label" or parts[-1] not in ("0", "1"):
            raise BadInput(f"{path}: not named Date_VideoID_Position_RatID_frames_Label_Y; restore the original name")
        if parts[-1] != path.relative_to(root).parts[0]:
            raise BadInput(f"{path}: Label_{parts[-1]} does not agree with its folder; move it or restore its name")
        tokens.append(parts)
    rats = _undated([f"rat-{parts[-4]}" for parts in tokens], "rat-")
    sessions = _numbered(["_".join(parts[:-5]) for parts in tokens], "s")
    shared = {"species": "rat", "site_id": "RodEpil", "source_dataset": "RodEpil", "split": "pretrain"}
    found = [
        _Found(path, {**shared, "subject_id": rat, "session_id": session}, onset_type="clinical")
        for path, rat, session in zip(paths, rats, sessions, strict=True)
    ]
    left_out = _LeftOut(len(found), progress)
    _write(found, out, progress, _with_rodepil_label, left_out)
    left_out.finish(out)


IMPORTERS: dict[str, Callable[[Path, Path, Progress], None]] = {
    "tables": import_tables,
    "szcore": import_szcore,
    "szcore-clinical": partial(import_szcore, onset_type="clinical"),
    "rodepil": import_rodepil,
}


@dataclass
class _LeftOut:
    """Files that are no readable video: each is said by its path, and kept in `left_out.tsv` without it.

    The path holds a date, as RodEpil's names do, and so stays out of the folder; number and sha256 find the file.
    """

    total: int
    progress: Progress
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, one: _Found, error: BadInput) -> None:
        reason = str(error).removeprefix(f"{one.path}: ")
        try:
            digest = sha256_of(one.path)
        except OSError:
            digest = UNKNOWN
        whose = {name: one.facts[name] for name in ("subject_id", "session_id")}
        self.rows.append({"number": len(self.rows) + 1, **whose, "sha256": digest, "reason": reason})
        self.progress.say(f"{one.path}: left out ({len(self.rows)}): {reason}")
        if len(self.rows) > most_left_out(self.total):
            raise BadInput(
                f"{one.path}: number {len(self.rows)} of {self.total:,} videos that cannot be read ({reason}); that is "
                "more than single files; check disk and download, and restore them"
            )

    def finish(self, out: Path) -> None:
        if self.rows:
            table = pd.DataFrame(self.rows).to_csv(sep="\t", index=False, lineterminator="\n")
            write_atomically(out / "left_out.tsv", table)
            self.progress.say(f"{len(self.rows):,} of {self.total:,} videos left out, unreadable: see left_out.tsv")


def _write(
    found: Sequence[_Found],
    out: Path,
    progress: Progress,
    annotate: Callable[[_Found, float], _Found],
    left_out: _LeftOut | None = None,
) -> None:
    """Probe, name, link and annotate each video, then write the manifest.

    What is no readable video is refused, or goes to `left_out`.
    """
    recordings, events, intervals = [], [], []
    known: dict[str, _Found] = {}
    columns = [*RECORDING_COLUMNS, "split"] if any("split" in one.facts for one in found) else list(RECORDING_COLUMNS)
    with progress.track("importing videos", len(found)) as advance:
        for done, one in enumerate(found, 1):
            try:
                computed = _computed(one.path)
            except BadInput as error:
                if left_out is None:
                    raise
                left_out.add(one, error)
                continue
            one = annotate(one, float(computed["duration_s"]))
            twin = known.setdefault(computed["sha256"], one)
            if twin is not one:
                if replace(twin, path=one.path) != one:
                    raise BadInput(f"{one.path}: the same video as {twin.path}, annotated otherwise; leave one out")
                progress.say(f"{one.path}: left out, the same video as {twin.path}")
                continue
            # Named by content, so that a later import of more videos gives the same ids.
            whose = [one.facts["subject_id"], one.facts["session_id"], computed["sha256"][:10]]
            name = "_".join(part for part in whose if part != UNKNOWN)
            row = {
                **dict.fromkeys(columns, UNKNOWN),
                **one.facts,
                **computed,
                "recording_id": name,
                "path": f"videos/{name}{one.path.suffix.lower()}",
            }
            _link(one.path, out / row["path"])
            recordings.append(row)
            events += [(name, *event[:3], one.onset_type, UNKNOWN, event[3]) for event in one.events]
            intervals += [(name, *interval) for interval in one.watched]
            advance(done)
    write_manifest(
        out,
        pd.DataFrame(recordings, columns=columns),
        pd.DataFrame(events, columns=list(EVENT_COLUMNS)),
        pd.DataFrame(intervals, columns=list(INTERVAL_COLUMNS)),
    )


def _with_rodepil_label(one: _Found, duration_s: float) -> _Found:
    seizure = one.path.stem.endswith("1")
    events = [(0.0, duration_s, "sz", UNKNOWN)] if seizure else []
    return replace(one, events=events, watched=[(0.0, duration_s)])


def _event_tables(video: Path) -> list[Path]:
    """Where a video's events may stand; in BIDS names, files of one recording differ in their last word alone."""
    stems = [video.stem]
    if re.match(r"sub-.*_[A-Za-z0-9]+$", video.stem) and "-" not in video.stem.rpartition("_")[2]:
        stems.append(video.stem.rpartition("_")[0])
    return [video.with_name(f"{video.stem}.tsv"), *(video.with_name(f"{stem}_events.tsv") for stem in stems)]


def _refuse_tables_without_video(src: Path, videos: Sequence[Path]) -> None:
    """A table that no video claims is a slip of a name, and its seizures would be lost without a word."""
    claimed = {table for video in videos for table in _event_tables(video)}
    stray = sorted(set(src.rglob("*_events.tsv")) - claimed)
    if stray:
        raise BadInput(
            f"{stray[0]}: no video of this name lies beside it; rename one of them so that X.mp4 (or X_video.mp4) has "
            "X_events.tsv, or take the table out"
        )


def _with_szcore_events(one: _Found, duration_s: float) -> _Found:
    tables = [path for path in _event_tables(one.path) if path.is_file()]
    if not tables:
        return one
    if len(tables) > 1:
        raise BadInput(f"{tables[0]}: {tables[1].name} is there too; keep one table of events a video")
    table = _read_text_table(tables[0], ("onset", "duration", "eventType"))
    seizures, background, lengths = [], [], [duration_s]
    for number, row in enumerate(table.to_dict("records"), 2):
        where = f"{tables[0]} row {number}"
        onset, length = (_seconds(where, name, row[name]) for name in ("onset", "duration"))
        if length <= 0 or onset + length > duration_s + _END_TOLERANCE_S:
            raise BadInput(
                f"{where}: from {onset:g} s for {length:g} s does not lie within the video ({duration_s:g} s); "
                "correct onset and duration, in seconds from the video's first frame"
            )
        kind = str(row["eventType"])
        if kind.startswith("sz"):
            seizures.append((onset, length, kind, str(row.get("confidence", UNKNOWN)) or UNKNOWN))
        elif kind == "bckg":
            background.append((onset, onset + length))
        else:
            raise BadInput(f"{where}: eventType {kind!r} is neither sz… nor bckg; correct or drop the row")
        if (stated := str(row.get("recordingDuration", UNKNOWN))) not in ("", UNKNOWN):
            lengths.append(_seconds(where, "recordingDuration", stated))
    covered = [*background, *((onset, onset + length) for onset, length, *_ in seizures)]
    if seizures and not background:
        covered.append((0.0, min(lengths)))
    seizures.sort()
    for before, after in pairwise(seizures):
        if after[0] < before[0] + before[1]:
            raise BadInput(
                f"{tables[0]}: the seizures at {before[0]:g} and {after[0]:g} s overlap; merge or correct them"
            )
    return replace(one, events=seizures, watched=_united(covered, duration_s))


def _united(intervals: Iterable[tuple[float, float]], duration_s: float) -> list[tuple[float, float]]:
    """Touching and overlapping intervals made one, none beyond the end."""
    united: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if united and start <= united[-1][1] + 1e-6:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return [(start, min(end, duration_s)) for start, end in united]


def _bids_place(path: Path) -> tuple[str, str]:
    """Subject and session of a video: BIDS entities in its name or folders, else its two nearest folders."""
    entities = dict(re.findall(r"(?:^|[_/])(sub|ses)-([A-Za-z0-9]+)", path.with_suffix("").as_posix()))
    folders = path.parts[:-1]
    if "sub" in entities:
        return f"sub-{entities['sub']}", f"ses-{entities['ses']}" if "ses" in entities else UNKNOWN
    if not folders:
        raise BadInput(f"{path}: whose video is this? name it sub-01_ses-01_… or put it into a folder of its subject")
    return folders[0], folders[1] if len(folders) > 1 else UNKNOWN


def _undated(names: Sequence[str], prefix: str) -> list[str]:
    """The names; all are numbered instead where one holds a date."""
    if any(_DATE.search(name) for name in names):
        return _numbered(names, prefix)
    return [re.sub(r"[^\w.+=-]", "-", name) if name != UNKNOWN else name for name in names]


def _numbered(names: Sequence[str], prefix: str) -> list[str]:
    order = {name: f"{prefix}{number}" for number, name in enumerate(sorted(set(names)), 1)}
    return [order[name] for name in names]


def _videos(folder: Path, optional: bool = False) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not found and not optional:
        raise BadInput(f"{folder}: holds no video ({', '.join(VIDEO_SUFFIXES)}); name the folder that does")
    return found


def _computed(path: Path) -> dict[str, Any]:
    info = probe(path)
    return {
        "sha256": sha256_of(path),
        "duration_s": round(info.duration_s, 6),
        "fps": round(info.fps, 4),
        "width": info.width,
        "height": info.height,
    }


def _fill_in(where: str, given: Mapping[Any, Any], path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """A row of recordings: what is given stands, what is missing is computed, and a hash that differs is refused."""
    row = {name: str(given.get(name, UNKNOWN)).strip() or UNKNOWN for name in columns}
    computed = _computed(path)
    if row["sha256"] not in (UNKNOWN, computed["sha256"]):
        raise BadInput(f"{where}: the sha256 of {row['path']!r} is another; restore the file, or write n/a")
    if "split" in columns and row["split"] == UNKNOWN:
        row["split"] = "evaluate" if row["species"] == "human" else "pretrain"
    missing = {name: value for name, value in computed.items() if row[name] == UNKNOWN}
    return {**row, **missing, "path": f"videos/{row['recording_id']}{path.suffix.lower()}"}


def _link(source: Path, target: Path) -> None:
    if target.exists():
        raise BadInput(f"{source}: another recording is called {target.stem!r} too; give each an id of its own")
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _read_table(src: Path, name: str, needed: Sequence[str]) -> pd.DataFrame:
    paths = [src / f"{name}{suffix}" for suffix in (".tsv", ".csv") if (src / f"{name}{suffix}").is_file()]
    if len(paths) > 1:
        raise BadInput(f"{paths[0]}: {paths[1].name} is there too; keep one of the two")
    if not paths and name == "recordings":
        raise BadInput(
            f"{src}: holds no recordings.tsv or recordings.csv; its columns are {', '.join(needed)} at least"
        )
    return _read_text_table(paths[0], needed) if paths else pd.DataFrame(columns=list(needed), dtype=str)


def _read_text_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError, OSError) as error:
        raise BadInput(f"{path}: cannot be read as a table ({' '.join(str(error).split())})") from error
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise BadInput(f"{path}: column {missing[0]!r} is missing; its header must name {', '.join(needed)}")
    return table.fillna(UNKNOWN)


def _seconds(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BadInput(f"{where}: {column} {text!r} is no number of seconds; write it as one, 0 or more")
    return value
