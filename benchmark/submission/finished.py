"""Which rows of a run may be submitted: `chosen_rows(...)`, and `refuse_incomplete(...)` for what is not whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.run.tables import RunTables, row_name
from benchmark.run.units import Record, SavedEpisode, digest_of
from benchmark.score.predictions import KEY
from protocols.episodes import draw_episodes
from tasks.errors import BadInput

OUTSIDE_BRACKETS = re.compile(r",(?![^(\[]*[)\]])")

Rows = Mapping[str, Sequence[Record]]


def methods_of(text: str) -> list[str]:
    """Names separated by commas; a comma within brackets belongs to a name.

    Raises:
        BadInput: a name is empty.
    """
    names = [name.strip() for name in OUTSIDE_BRACKETS.split(text)]
    if not all(names):
        raise BadInput(f"--method {text!r}: holds an empty name; write names separated by commas")
    return names


def chosen_rows(run: Path, records: Sequence[Record], methods: Sequence[str] | None) -> dict[str, list[Record]]:
    """Records by row, in the order of the rows' names. `methods`: names of rows, of methods, or of baselines.

    Raises:
        BadInput: one of them is in no row.
    """
    rows: dict[str, list[Record]] = {}
    for record in sorted(records, key=row_name):
        rows.setdefault(row_name(record), []).append(record)
    if methods is None:
        return rows
    meant = set()
    for method in methods:
        found = {name for name, (first, *_) in rows.items() if method in (name, first.unit.method, first.unit.baseline)}
        if not found:
            raise BadInput(f"--method {method}: is no method of {run}; name some of: {', '.join(rows)}")
        meant |= found
    return {name: rows[name] for name in rows if name in meant}


def refuse_incomplete(run: Path, tables: RunTables, episodes: Sequence[SavedEpisode], rows: Rows) -> None:
    """Raise BadInput for a failed or missing unit, units that were asked otherwise, episodes that nobody drew."""
    _refuse_other_episodes(run, tables, episodes)
    for name, records in rows.items():
        again = f"finish the run (the same `seizure-bench run` with --out {run}), or choose others with --method"
        failed = [record for record in records if record.status == "failed"]
        if failed:
            unit, others = failed[0].unit, f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise BadInput(f"{run}: unit {unit.key} of {name} has failed{others}; {again}")
        _refuse_holes(run, tables, name, again)
        asked = {digest_of([record.unit.settings, record.unit.weights]) for record in records}
        if len(asked) > 1:
            raise BadInput(f"{run}: units of {name} were run with different defaults or published weights; {again}")


def _refuse_holes(run: Path, tables: RunTables, name: str, again: str) -> None:
    planned, made = (table.loc[table["method"] == name, KEY] for table in (tables.planned, tables.made))
    table = planned.merge(made, on=KEY, how="left", indicator="there")
    holes = table.loc[table["there"] != "both"].sort_values(KEY)
    if len(holes):
        first = holes.iloc[0]
        raise BadInput(
            f"{run}: {name} has no prediction at {first['shots']} shots, episode {first['episode']}, replicate "
            f"{first['replicate']} ({len(holes)} are missing in all); {again}"
        )


def _refuse_other_episodes(run: Path, tables: RunTables, episodes: Sequence[SavedEpisode]) -> None:
    """The run's pool, protocol and seed say which episodes there are: no choice among them is left."""
    card = tables.card
    saved = {(one.shots, one.index): one.digest for one in episodes}
    drawn = {
        (one.shots, one.index): one.digest
        for shots in sorted({shots for shots, _ in saved})
        for one in draw_episodes(tables.clips, card.protocol, shots, card.seed)
    }
    for place in sorted(saved.keys() | drawn.keys()):
        if saved.get(place) != drawn.get(place):
            raise BadInput(
                f"{run / 'episodes.json'}: episode {place[1]} of {place[0]} shots is not the one that protocol "
                f"{card.protocol.name} draws with seed {card.seed}; run again into another folder"
            )
