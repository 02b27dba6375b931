"""The manifest: three TSV tables that say what was filmed, what happened and what was watched.

    recordings.tsv            one row a continuous recording (the video lies at `path`, inside the folder)
    events.tsv                one row an annotated event; types that start with `sz` are seizures
    annotated_intervals.tsv   what somebody really watched; only watched time gives negatives

Times are seconds from the first frame of the recording, never dates. Clips and labels are not stored: they
follow from these tables by a task's rule (`tasks.windows`). `n/a` means unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from benchmark.data.decode import probe
from benchmark.files import sha256_of, write_atomically
from benchmark.progress import Progress
from tasks.errors import BadInput
from tasks.spec import first_complaint

SPLITS = ("evaluate", "develop", "pretrain")
UNKNOWN = "n/a"
END_TOLERANCE_S = 0.05  # tables round to hundredths, and one frame lasts up to 0.04 s
LONGEST_RECORDING_S = 31 * 86_400.0  # a month; more is a slip of unit
DURATION_TOLERANCE_S = 0.1
FPS_TOLERANCE = 0.01  # of the rate
FACTS = ("duration_s", "fps", "width", "height")  # columns that the video itself can confirm


def _no_path_or_markup(text: str) -> str:
    if (
        any(c in text for c in "/\\\t\n\r<>|@")
        or text != text.strip()
        or not text.isprintable()
        or text.startswith((".", "=", "+", "-"))  # hidden files, formulas of spreadsheets, flags
    ):
        raise ValueError(
            "holds a slash, blank edge, leading dot or sign, '@', '|', bracket or control character: rename it"
        )
    return text


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a line break, tab or control character: remove it")
    return text


def _lower_case(text: str) -> str:
    if text != text.lower():
        raise ValueError(f"must be in lower case: write {text.lower()!r}")
    return text


def _inside_folder(text: str) -> str:
    path = Path(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or not text.isprintable():
        raise ValueError("must be relative and stay inside the manifest's folder")
    return text


Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_no_path_or_markup)]
Text = Annotated[str, AfterValidator(_one_line)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class RecordingRow(BaseModel):
    """One continuous recording of one subject."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recording_id: Name
    subject_id: Name
    species: Annotated[Name, AfterValidator(_lower_case)]
    session_id: Text
    site_id: Text
    camera_id: Text
    path: Annotated[str, Field(min_length=1), AfterValidator(_inside_folder)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    duration_s: Annotated[Finite, Field(gt=0, le=LONGEST_RECORDING_S)]
    fps: Annotated[Finite, Field(gt=0, le=1000)]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    deid_method: Text
    source_dataset: Text
    licence: Text
    split: Literal["evaluate", "develop", "pretrain"]


class EventRow(BaseModel):
    """One annotated event; `sz...` is a seizure, `bckg` is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recording_id: Name
    onset_s: Annotated[Finite, Field(ge=0)]
    duration_s: Annotated[Finite, Field(gt=0)]
    event_type: Annotated[Name, Field(pattern="^(sz|bckg)")]
    onset_type: Literal["eeg", "clinical"]
    annotator_id: Text
    confidence: Text


class IntervalRow(BaseModel):
    """A stretch that somebody watched."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recording_id: Name
    start_s: Annotated[Finite, Field(ge=0)]
    end_s: Annotated[Finite, Field(gt=0)]


TABLES: dict[str, type[BaseModel]] = {
    "recordings": RecordingRow,
    "events": EventRow,
    "annotated_intervals": IntervalRow,
}
RECORDING_COLUMNS = tuple(name for name in RecordingRow.model_fields if name != "split")
EVENT_COLUMNS = tuple(EventRow.model_fields)
INTERVAL_COLUMNS = tuple(IntervalRow.model_fields)


@dataclass(frozen=True)
class Manifest:
    """The validated tables of one folder. Compare and key by `digest`, which no reordering of rows changes."""

    root: Path
    recordings: pd.DataFrame
    events: pd.DataFrame
    annotated_intervals: pd.DataFrame

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the tables' content; the videos are covered by their sha256 column."""
        content = {
            name: sorted(json.dumps(row, sort_keys=True, default=str) for row in getattr(self, name).to_dict("records"))
            for name in TABLES
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _path_by_id(self) -> dict[str, Path]:
        return {
            row["recording_id"]: self.root / row["path"]
            for row in self.recordings[["recording_id", "path"]].to_dict("records")
        }

    def path_of(self, recording_id: str) -> Path:
        """The video of a recording."""
        return self._path_by_id[recording_id]


def read_manifest(folder: Path) -> Manifest:
    """Read and validate the three tables (not the videos: `check_videos` does that).

    Raises:
        BadInput: a table, column or row is wrong; the sentence names it.
    """
    return _read(folder, refuse_leaks=True)


def read_leaky_manifest(folder: Path) -> Manifest:
    """As `read_manifest`, but a subject or a video may stand in two places: for whoever then says so, as `audit` does.

    Raises:
        BadInput: a table, column or row is wrong in any other way.
    """
    return _read(folder, refuse_leaks=False)


def _read(folder: Path, refuse_leaks: bool) -> Manifest:
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; name one that holds recordings.tsv, or make one with `data import`")
    tables = {name: _read_table(folder / f"{name}.tsv", model) for name, model in TABLES.items()}
    recordings = tables["recordings"]
    if recordings.empty:
        raise BadInput(f"{folder / 'recordings.tsv'}: holds no recording; add a row for each video")
    _refuse_duplicates(folder, recordings, ("recording_id",))
    if refuse_leaks:
        _refuse_duplicates(folder, recordings, ("path", "sha256"))
        _refuse_two_spellings(folder, recordings)
        _refuse_subject_on_two_sides(folder, recordings, "split")
    _refuse_subject_on_two_sides(folder, recordings, "species")
    durations = dict(zip(recordings["recording_id"], recordings["duration_s"], strict=True))
    events = tables["events"].assign(end_s=lambda table: table["onset_s"] + table["duration_s"])
    _refuse_outside(folder / "events.tsv", events, durations, "onset_s")
    _refuse_outside(folder / "annotated_intervals.tsv", tables["annotated_intervals"], durations, "start_s")
    _refuse_overlapping_seizures(folder / "events.tsv", tables["events"])
    for path in recordings["path"]:
        _refuse_link_to_elsewhere(folder, folder / path)
    return Manifest(folder, **{name: table.drop(columns="row") for name, table in tables.items()})


def write_manifest(
    folder: Path, recordings: pd.DataFrame, events: pd.DataFrame, annotated_intervals: pd.DataFrame
) -> None:
    """Write the three tables, each in one step; `recordings.tsv` last, so that a folder that has it is whole."""
    given = {"annotated_intervals": annotated_intervals, "events": events, "recordings": recordings}
    for name, table in given.items():
        columns = [c for c in TABLES[name].model_fields if c != "split" or "split" in table]
        text = table[columns].to_csv(sep="\t", index=False, na_rep=UNKNOWN, lineterminator="\n")
        write_atomically(folder / f"{name}.tsv", text)


def check_videos(
    manifest: Manifest,
    recording_ids: Iterable[str],
    memo: Path | None,
    progress: Progress,
    leave_out: Callable[[str, str], None] | None = None,
) -> None:
    """Compare each recording's file with its row: sha256, length, rate and size.

    Args:
        manifest: whose videos.
        recording_ids: the recordings about to be read.
        memo: a JSON file of what was found before, by path, size and time of change, so that a terabyte of video
            is hashed once and not at every run; None looks at every file itself.
        progress: for the person who waits.
        leave_out: told the recording and the reason where a file is the one meant, yet no readable video; without it
            that, too, is BadInput.

    Raises:
        BadInput: a video is missing, has changed, cannot be read or is not as its row says.
    """
    known = _read_memo(memo) if memo else {}
    row_of = {row["recording_id"]: row for row in manifest.recordings.to_dict("records")}
    names = sorted(set(recording_ids))
    learned: dict[str, dict[str, Any]] = {}
    try:
        with progress.track("checking videos", len(names)) as advance:
            for done, name in enumerate(names, 1):
                path, row = manifest.path_of(name), row_of[name]
                stamp = _stamp(path, name)
                try:
                    found = known.get(stamp) or _look_at(path, row)
                except BadInput as error:
                    if leave_out is None:
                        raise
                    leave_out(name, str(error).removeprefix(f"{path}: "))
                else:
                    _compare(path, row, found)
                    learned[stamp] = found
                advance(done)
    finally:
        if memo and learned.keys() - known.keys():
            write_atomically(memo, json.dumps({**known, **learned}))


def _stamp(path: Path, recording_id: str) -> str:
    """What changes when a file does."""
    if not path.is_file():
        raise BadInput(f"{path}: the video of recording {recording_id!r} is missing; put it there or drop the row")
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"


def _look_at(path: Path, row: dict[Any, Any]) -> dict[str, Any]:
    """What the file is. It is read as a video only if it is the one meant: its hash is the better complaint."""
    digest = sha256_of(path)
    if digest != row["sha256"]:
        return {"sha256": digest}
    info = probe(path)
    return {"sha256": digest, **{column: getattr(info, column) for column in FACTS}}


def _compare(path: Path, row: dict[Any, Any], found: dict[str, Any]) -> None:
    if found["sha256"] != row["sha256"]:
        raise BadInput(
            f"{path}: the video of recording {row['recording_id']!r} has changed since the manifest was written "
            f"(sha256 {found['sha256'][:12]}, expected {row['sha256'][:12]}); restore the file or import the folder "
            "again"
        )
    tolerances = {"duration_s": DURATION_TOLERANCE_S, "fps": FPS_TOLERANCE * row["fps"], "width": 0, "height": 0}
    for column, tolerance in tolerances.items():
        if abs(found[column] - row[column]) > tolerance:
            raise BadInput(
                f"{path}: {column} is {found[column]:g}, but recordings.tsv says {row[column]:g} for recording "
                f"{row['recording_id']!r}; correct the row or import the folder again"
            )


def _read_memo(memo: Path) -> dict[str, dict[str, Any]]:
    """What is in the memo and of the form that we write."""
    try:
        content = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {stamp: facts for stamp, facts in entries if isinstance(facts, dict) and facts.keys() == {"sha256", *FACTS}}


def _read_table(path: Path, model: type[BaseModel]) -> pd.DataFrame:
    """The table with typed columns and `row`, its line in the file (the header is line 1)."""
    if not path.is_file():
        raise BadInput(f"{path}: missing; the manifest needs it with columns {', '.join(_required(model))}")
    raw = _read_cells(path)
    missing = [name for name in _required(model) if name not in raw.columns]
    if missing:
        raise BadInput(
            f"{path}: column {missing[0]!r} is missing; its header must name, separated by tabs, "
            f"{', '.join(_required(model))}"
        )
    if "split" in model.model_fields and "split" not in raw.columns:
        raw["split"] = ["evaluate" if s == "human" else "pretrain" for s in raw["species"]]
    raw = raw[[name for name in raw.columns if name in model.model_fields]]
    rows = [
        _parse_row(path, int(number), row, model) for number, row in zip(raw.index, raw.to_dict("records"), strict=True)
    ]
    table = pd.DataFrame(rows, columns=[*model.model_fields, "row"])
    numeric = [name for name, field in model.model_fields.items() if field.annotation is float]
    return table.astype(dict.fromkeys(numeric, "float64"))


def _read_cells(path: Path) -> pd.DataFrame:
    """The cells as text under the header's names, indexed by line number; blank lines are left out.

    The header is read as a row: pandas would take it as a hint, shift the columns of rows that have one cell more,
    and rename a column that stands there twice.
    """
    try:
        cells = pd.read_csv(
            path, sep="\t", header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False
        )
    except (ValueError, OSError, pd.errors.ParserError) as error:
        what = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise BadInput(f"{path}: not a table ({what}); save it as UTF-8 text with tabs between the columns") from error
    cells = cells.set_axis(cells.index + 1).fillna("")
    header = cells.iloc[0].tolist()
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise BadInput(f"{path}: column {twice[0]!r} stands twice in the header; keep one")
    body = cells.iloc[1:].set_axis(header, axis=1)
    return body[(body != "").any(axis=1)]


def _required(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if name != "split"]


def _parse_row(path: Path, number: int, row: dict[Any, Any], model: type[BaseModel]) -> dict[str, Any]:
    try:
        return {**model.model_validate(row).model_dump(), "row": number}
    except ValidationError as error:
        complaint = first_complaint(error, list(model.model_fields))
        raise BadInput(f"{path} row {number}: {complaint}; correct this cell") from error


def _refuse_link_to_elsewhere(folder: Path, path: Path) -> None:
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{path}: cannot be followed (a link to itself?); put the video itself there") from error
    if not inside:
        raise BadInput(f"{path}: links out of the manifest's folder; put the video itself inside it")


def _refuse_duplicates(folder: Path, recordings: pd.DataFrame, columns: tuple[str, ...]) -> None:
    names = {"recording_id": "recording id", "sha256": "the video with sha256"}
    for column in columns:
        folded = recordings[column].str.casefold()
        twice = recordings[folded.duplicated()]
        if len(twice):
            row, what = twice.iloc[0], names.get(column, column)
            raise BadInput(
                f"{folder / 'recordings.tsv'} row {row['row']}: {what} {row[column]!r} stands twice; keep one"
            )


def _refuse_two_spellings(folder: Path, recordings: pd.DataFrame) -> None:
    """`P1` and `p1` would be two patients, one of whom could be in the support and the other in the query."""
    first: dict[str, str] = {}
    for number, subject in zip(recordings["row"], recordings["subject_id"], strict=True):
        other = first.setdefault(subject.casefold(), subject)
        if other != subject:
            raise BadInput(
                f"{folder / 'recordings.tsv'} row {number}: subject {subject!r} is also written {other!r}; write the "
                "id of a subject in one way, and give two subjects ids that differ in more than case"
            )


def _refuse_subject_on_two_sides(folder: Path, recordings: pd.DataFrame, column: Literal["split", "species"]) -> None:
    fault = {
        "split": "stands in more than one split; give all recordings of a subject the same split",
        "species": "is of more than one species; give each subject an id of its own",
    }[column]
    values = recordings.groupby("subject_id")[column].nunique()
    torn = recordings[recordings["subject_id"].isin(values[values > 1].index)]
    if len(torn):
        row = torn.iloc[-1]
        raise BadInput(f"{folder / 'recordings.tsv'} row {row['row']}: subject {row['subject_id']!r} {fault}")


def _refuse_outside(path: Path, table: pd.DataFrame, durations: dict[str, float], start: str) -> None:
    """Every row names a known recording and lies inside it, up to END_TOLERANCE_S."""
    for row in table.to_dict("records"):
        where, name = f"{path} row {row['row']}", row["recording_id"]
        if name not in durations:
            raise BadInput(f"{where}: recording {name!r} is not in recordings.tsv; add it there or drop this row")
        if row["end_s"] <= row[start]:
            raise BadInput(f"{where}: end_s {row['end_s']:g} is not after {start} {row[start]:g}; correct the times")
        if row["end_s"] > durations[name] + END_TOLERANCE_S:
            raise BadInput(
                f"{where}: from {row[start]:g} to {row['end_s']:g} s lies past the end of recording {name!r} "
                f"({durations[name]:g} s); times are seconds from its first frame: correct or shorten the row"
            )


def _refuse_overlapping_seizures(path: Path, events: pd.DataFrame) -> None:
    """Two seizures of the same onset type in one recording may not overlap; EEG and clinical marks may."""
    seizures = events[events["event_type"].str.startswith("sz")]
    for (name, kind), group in seizures.sort_values("onset_s").groupby(["recording_id", "onset_type"]):
        rows = group.to_dict("records")
        for before, after in pairwise(rows):
            if after["onset_s"] < before["onset_s"] + before["duration_s"]:
                raise BadInput(
                    f"{path} row {after['row']}: this {kind} seizure of recording {name!r} begins at "
                    f"{after['onset_s']:g} s, before the one in row {before['row']} has ended; they overlap: merge "
                    "them or correct the times"
                )
