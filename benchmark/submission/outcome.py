"""What `submit` says when it is done: what was written, what has left the house in it, and what has not."""

from __future__ import annotations

import json

from benchmark.submission import files
from benchmark.submission.card import SMALLEST_CELL
from benchmark.submission.submit import Key, Outcome, Written

IN_FILES = {
    files.CARD: "the method, how it was trained, the track, counts of patients and clips, hashes",
    files.RESULTS: "figures over all patients, with intervals",
    files.ENVIRONMENT: "versions and the kind of machine",
    files.EPISODES: "which episodes, as hashes",
    files.PREDICTIONS: "the scores",
}


def as_text(outcome: Outcome) -> str:
    """For people."""
    first = outcome.written[0].content
    track, authors = outcome.track, ", ".join(first.card.authors)
    lines = [_line(one) for one in outcome.written]
    lines += ["", "What is in each folder:"]
    lines += [f"  {name:<19} {IN_FILES[name]}" for name in first.files]
    lines += [
        "",
        f"Names that others will read: data {track.data.name!r}, task {track.task.name!r}, protocol "
        f"{track.protocol.name!r}; authors: {authors}; licence: {first.card.licence}.",
        _on_ids(outcome),
        "Not in it: labels of clips, ids of patients, recordings or clips, figures of single patients, frames, paths, "
        "dates.",
        *_notes(outcome),
        *(
            []
            if outcome.reference is None
            else [f"{outcome.reference}: the labels of these open data, under the same key."]
        ),
        _on_key(outcome.key),
    ]
    return "\n".join(lines)


def as_json(outcome: Outcome) -> str:
    """For machines."""
    key = outcome.key
    content = {
        "written": [
            {
                "folder": str(one.folder),
                "new": one.new,
                "method": one.content.card.method.name,
                "content": one.content.card.content,
                "files": {name: len(data) for name, data in one.content.files.items()},
                "predictions": one.content.predictions,
                "suppressed_shots": list(one.content.small),
                "not_recorded": missing(one),
            }
            for one in outcome.written
        ],
        "reference": None if outcome.reference is None else str(outcome.reference),
        "clips": outcome.clips,
        "ids": outcome.written[0].content.card.ids,
        "key": None if key.path is None else str(key.path),
        "key_is_new": key.new,
        "track": outcome.track.digest,
        "notes": _notes(outcome),
    }
    return json.dumps(content, indent=1)


def missing(one: Written) -> list[str]:
    """What the records do not say and the card leaves null."""
    method = one.content.card.method
    return ["method.parameters"] if method.size != "-" and method.parameters is None else []


def _line(one: Written) -> str:
    count = one.content.predictions
    what = f"{count} predictions" if count else "results alone"
    return f"{one.folder}: {'written' if one.new else 'there already, the same'}, {what}"


def _on_ids(outcome: Outcome) -> str:
    if not any(one.content.predictions for one in outcome.written):
        return "No clip goes by a name or hash of its own."
    said = f"At most {outcome.clips} clips go by a keyed hash each; no hash of a patient is in it."
    if outcome.track.protocol.disjoint == "patient":
        said += " Clips that are missing from the same episodes can be taken to be of one patient, whoever that is."
    return said


def _notes(outcome: Outcome) -> list[str]:
    notes = []
    small = sorted({shots for one in outcome.written for shots in one.content.small})
    if small:
        notes.append(
            f"Left out of results.json: all figures and counts at {', '.join(map(str, small))} shots, and the averages "
            f"over shots: fewer than {SMALLEST_CELL} patients have a positive clip, or a negative one. submission.yaml "
            "still tells how many patients and clips the data set has."
        )
    if outcome.track.split == "develop":
        notes.append("These are the develop patients, for choosing settings: no result.")
    if outcome.track.data.rendered:
        notes.append("The video is rendered: no number says anything about patients.")
    if absent := sorted({name for one in outcome.written for name in missing(one)}):
        notes.append(
            f"Not recorded by the run, and null: {', '.join(absent)}; submission.yaml can be completed by hand."
        )
    if any(len(one.content.card.hashes.code) > 1 for one in outcome.written):
        notes.append("Units of one method were run by several states of its code; all are declared in hashes.code.")
    return notes


def _on_key(key: Key) -> str:
    if key.path is None:
        return "Key of the hashes: that of the open manifest; whoever has the data can check them."
    made = "made now" if key.new else "the site's"
    return (
        f"Key of the hashes: {key.path} ({made}). It stays in the house: keep a copy, without it the predictions can "
        "no longer be matched to clips."
    )
