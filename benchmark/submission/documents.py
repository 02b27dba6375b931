"""YAML and JSON that strangers wrote, as plain values: `from_yaml(text)`, `from_json(text)`.

Everything that makes a parser execute, recurse or multiply is refused before it is followed: tags, anchors, aliases,
several documents, deep nesting, doubled keys, NaN, numbers beyond 64 bits. Then every text in the document, keys
included, is looked at: whatever no model looks at, such as the description of a task, must be visible too.

YAML is read from the parser's events. Plain scalars mean what they mean in JSON (null, true, false, decimal numbers);
all others are texts: no dates, no sexagesimal numbers, no `yes`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from benchmark.submission.text import visible

DEEPEST = 12
MOST_VALUES = 50_000
LONGEST_TEXT = 2000
LARGEST_INT = 2**63 - 1
SHOWN = 60

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}
INT = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"(?i)[-+]?\.inf|\.nan")
JSON_BRACKETS = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*+"?|[\[{]|[\]}]', re.DOTALL)
PLACE = re.compile(r"(?:/|~/|\\\\|[A-Za-z]:[\\/])\S.*", re.DOTALL)


class Refused(ValueError):
    """What is wrong with a document, as the end of a sentence that begins with the file's name."""


def from_yaml(text: str) -> Any:
    """The one value of a YAML document. Raises Refused."""
    _refuse_hidden(text)
    try:
        return _checked(_composed(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or type(error).__name__).split())
        raise Refused(f"{where}is no YAML ({what}); write it as `seizure-bench submit` does") from error


def from_json(text: str) -> Any:
    """The one value of a strict JSON document. Raises Refused."""
    _refuse_hidden(text)
    depth = 0
    for found in JSON_BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            raise Refused(f"is nested deeper than {DEEPEST} levels; write it as `seizure-bench submit` does")
    try:
        return _checked(json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_number, parse_int=_int))
    except json.JSONDecodeError as error:
        message = f"line {error.lineno}: is no JSON ({error.msg}); write it as `seizure-bench submit` does"
        raise Refused(message) from error


def shown(value: object) -> str:
    """A stranger's value in a sentence: short, on one line, nothing invisible."""
    text = value if isinstance(value, str) else repr(value)
    line = "".join(c if c.isprintable() else "\ufffd" for c in text[: SHOWN + 1])
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"


def _composed(text: str) -> Any:
    """Build the value from events, without recursion and without following any reference."""
    stack: list[Any] = []
    keys: list[str | None] = []
    documents: list[Any] = []
    for event in _events(text):
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            value = stack.pop()
            keys.pop()
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(stack) == DEEPEST:
                _refuse(event, f"is nested deeper than {DEEPEST} levels; write it as `seizure-bench submit` does")
            stack.append({} if isinstance(event, yaml.MappingStartEvent) else [])
            keys.append(None)
            continue
        elif isinstance(event, yaml.ScalarEvent):
            if stack and isinstance(stack[-1], dict) and keys[-1] is None:
                if event.value in stack[-1]:
                    _refuse(event, f"says {shown(event.value)!r} twice; keep one")
                keys[-1] = event.value
                continue
            value = _scalar(event)
        else:
            continue
        if not stack:
            documents.append(value)
        elif isinstance(stack[-1], list):
            stack[-1].append(value)
        else:
            key = keys[-1]
            if key is None:
                _refuse(event, "has a list or a mapping for a key; keys are names")
            stack[-1][key] = value
            keys[-1] = None
    if len(documents) != 1:
        raise Refused(f"holds {len(documents)} YAML documents; write one")
    return documents[0]


def _events(text: str) -> Iterator[Any]:
    events: Iterator[Any] = yaml.parse(text, Loader=LOADER)
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            _refuse(event, "has an anchor or alias (& or *); write the value out")
        if getattr(event, "tag", None) is not None:
            _refuse(event, f"has the tag {shown(event.tag)!r}; leave it out")
        yield event


def _scalar(event: Any) -> Any:
    if not event.implicit[0]:
        return event.value
    plain = event.value
    if plain in WORDS:
        return WORDS[plain]
    if NOT_FINITE.fullmatch(plain):
        _refuse(event, f"says {shown(plain)}, which is no number; leave it out or quote it")
    if INT.fullmatch(plain):
        return _int(plain)
    return float(plain) if FLOAT.fullmatch(plain) else plain


def _refuse(event: Any, what: str) -> NoReturn:
    raise Refused(f"line {event.start_mark.line + 1}: {what}")


def _int(digits: str) -> int:
    if len(digits) > 20:  # Python takes long over thousands of digits, or refuses
        raise Refused(f"holds the number {shown(digits)}; at most {LARGEST_INT} is read")
    return int(digits)


def _no_number(word: str) -> NoReturn:
    raise Refused(f"says {word}, which is no JSON number; write null where there is none")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(f"says {shown(name)!r} twice; keep one")
        found[name] = value
    return found


def _refuse_hidden(text: str) -> None:
    """In the file itself, comments included: a reviewer must see what a program reads."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return
    for number, line in enumerate(text.split("\n"), 1):
        try:
            visible(line.replace("\t", " ").strip(" \r"))
        except ValueError as error:
            raise Refused(f"line {number}: {error}") from error


def _checked(document: Any) -> Any:
    """The document, once every value in it was looked at."""
    todo: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    for place, value in todo:
        if isinstance(value, dict | list) and len(todo) + len(value) > MOST_VALUES:
            raise Refused(f"holds more than {MOST_VALUES} values; write it as `seizure-bench submit` does")
        if isinstance(value, dict):
            for key, inner in value.items():
                _check_text(key, place)
                todo.append(((*place, key), inner))
        elif isinstance(value, list):
            todo.extend(((*place, number), inner) for number, inner in enumerate(value))
        elif isinstance(value, str):
            _check_text(value, place)
            if PLACE.fullmatch(value):
                raise Refused(f"{_dotted(place)}: {shown(value)!r} is a place on a computer; leave it out")
        elif isinstance(value, float) and not math.isfinite(value):
            raise Refused(f"{_dotted(place)}: is no finite number; write one, or null")
        elif isinstance(value, int) and abs(value) > LARGEST_INT:
            raise Refused(f"{_dotted(place)}: {shown(value)} is too large; at most {LARGEST_INT} is read")
    return document


def _check_text(text: str, place: tuple[str | int, ...]) -> None:
    if len(text) > LONGEST_TEXT:
        raise Refused(f"{_dotted(place)}: {shown(text)!r} has {len(text)} characters; at most {LONGEST_TEXT} are read")
    if text.isascii() and text.isprintable() and text == text.strip():
        return
    try:
        visible(text)
    except ValueError as error:
        raise Refused(f"{_dotted(place)}: {error}") from error


def _dotted(place: tuple[str | int, ...]) -> str:
    return shown(".".join(map(str, place))) if place else "the document"
