"""Reading what strangers wrote: plain values come back as they were, everything else is refused with its place."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmark.submission import files, tables
from benchmark.submission.documents import DEEPEST, MOST_VALUES, Refused, from_json, from_yaml
from benchmark.submission.tables import table_of
from benchmark.submission.text import visible
from tasks.errors import BadInput


def is_visible(text: str) -> bool:
    try:
        visible(text)
    except ValueError:
        return False
    return not text.startswith(("/", "~", "\\")) and text[1:2] != ":" and not is_number(text)


def is_number(text: str) -> bool:
    """Such as 1e5: PyYAML writes it without quotes, for it is a text in YAML 1.1."""
    try:
        float(text)
    except ValueError:
        return False
    return True


TEXTS = st.text(max_size=20).filter(is_visible)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


@given(VALUES)
def test_yaml_says_what_was_written(value: object) -> None:
    found = from_yaml(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
    assert found == value
    assert repr(found) == repr(value)  # 1, 1.0 and True are equal


@given(VALUES)
def test_json_says_what_was_written(value: object) -> None:
    assert repr(from_json(json.dumps(value))) == repr(value)


def test_plain_yaml_means_what_json_means() -> None:
    text = "a: [1, 1.5, -2e3, true, null, ~]\nb: [yes, 2024-01-01, 1:20, 0x10, 1_000]\nc: {d: 'no'}\n"
    assert from_yaml(text) == {
        "a": [1, 1.5, -2000.0, True, None, None],
        "b": ["yes", "2024-01-01", "1:20", "0x10", "1_000"],
        "c": {"d": "no"},
    }


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: 1\nb: &x 2", "line 2", "anchor"),
        ("a: *x", "line 1", "alias"),
        ("a: !!python/object/apply:os.system [ls]", "line 1", "python/object/apply:os.system"),
        ("a: !!str 1", "line 1", "tag"),
        ("a: !x 1", "line 1", "tag"),
        ("a: 1\nb: 2\na: 3", "line 3", "'a' twice"),
        ("? [a, b]\n: c", "line 1", "for a key"),
        ("a: .nan", "line 1", ".nan"),
        ("a: 1e400", "a", "no finite number"),
        ("a: 1" + "0" * 5000, "1000", "at most 9223372036854775807"),
        ("a: 9223372036854775808", "a", "too large"),
        ("--- 1\n--- 2", "holds 2", "documents"),
        ("", "holds 0", "documents"),
        ("a: [1", "line 2", "no YAML"),
        ("a: " + "[" * DEEPEST + "]" * DEEPEST, "line 1", "nested deeper than 12"),
        ('a: "x\\u202ey"', "a", "U+202E"),
        ("a: {b: [x, {c: 'x\u200by'}]}", "line 1", "U+200B"),
        ('a: {b: [x, {c: "x\\u200by"}]}', "a.b.1.c", "U+200B"),
        ('"x\\u200by": 1', "the document", "U+200B"),
        ("# \u2066hidden\na: 1", "line 1", "U+2066"),
        ("a: /home/someone/video.mp4", "a", "place on a computer"),
        ("a: ~/video.mp4", "a", "place on a computer"),
        ("a: 'C:\\Users\\someone'", "a", "place on a computer"),
        ("a: " + "x" * 2001, "a", "2001 characters"),
    ],
)
def test_yaml_that_hides_executes_or_multiplies_is_refused(text: str, place: str, what: str) -> None:
    with pytest.raises(Refused) as refusal:
        from_yaml(text)
    assert place in str(refusal.value)
    assert what in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": 1, "a": 1}', "'a' twice"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested deeper than 12"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1e400}', "a: is no finite number"),
        ('{"a": 1' + "0" * 5000 + "}", "at most 9223372036854775807"),
        ('{"a": ["\\u202e"]}', "a.0: holds the invisible character U+202E"),
        ('{"a": "\\ud800"}', "U+D800"),
        ("[" + "0," * MOST_VALUES + "0]", "more than 50000 values"),
        ("{} {}", "no JSON"),
        ('"', "no JSON"),
    ],
)
def test_json_that_is_not_strict_is_refused(text: str, what: str) -> None:
    with pytest.raises(Refused) as refusal:
        from_json(text)
    assert what in str(refusal.value)


def test_brackets_within_texts_are_no_nesting() -> None:
    text = "[" * 100 + '\\"' + "{" * 100
    assert from_json(json.dumps({"a": text})) == {"a": text}
    assert from_yaml(yaml.safe_dump({"a": text})) == {"a": text}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_scores_keep_their_last_bit(scores: list[float]) -> None:
    lines = ["shots,episode,replicate,clip,score", *(f"2,0,0,{n:016x},{score!r}" for n, score in enumerate(scores))]
    table = table_of(("\n".join(lines) + "\n").encode(), tables.PREDICTIONS)
    assert table["score"].to_numpy(np.float64).tobytes() == np.array(scores).tobytes()
    assert table["clip"].tolist() == [f"{n:016x}" for n in range(len(scores))]


ROW = b"2,0,0,0123456789abcdef,0.5\n"
HEADER = b"shots,episode,replicate,clip,score\n"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"shots,episode,replicate,clip,score,label\n" + ROW, "line 1: unknown column 'label'"),
        (b"shots,episode,clip,score\n" + ROW, "line 1: column replicate is missing"),
        (b"episode,shots,replicate,clip,score\n" + ROW, "line 1: its columns are"),
        (HEADER.replace(b"\n", b"\r\n") + ROW, "line 1: its columns are"),
        (HEADER, "holds no row"),
        (HEADER + ROW + ROW[:-1], "line 3 (shots 2, episode 0, replicate 0, clip 0123456789abcdef): does not end"),
        (HEADER + ROW + b"2,0,0,0123456789abcdef\n", "line 3: has 4 cells"),
        (HEADER + ROW + b"\n", "line 3: has 1 cells"),
        (
            HEADER + ROW.replace(b"0.5", b"nan"),
            "line 2 (shots 2, episode 0, replicate 0, clip 0123456789abcdef): score",
        ),
        (HEADER + ROW.replace(b"0.5", b"inf"), "score is 'inf'"),
        (HEADER + ROW.replace(b"0.5", b""), "score is ''"),
        (HEADER + ROW.replace(b"0.5", b"=1+1"), "score is '=1+1'"),
        (HEADER + ROW.replace(b"0.5", b"1_0"), "score is '1_0'"),
        (HEADER + ROW.replace(b"2,", b"10" + b"0" * 5000 + b",", 1), "shots is '1000"),
        (HEADER + ROW.replace(b"2,", b'"2",', 1), "shots is '\"2\"'"),
        (HEADER + ROW.replace(b"abcdef", b"ABCDEF"), "clip is '0123456789ABCDEF'"),
        (HEADER + ROW.replace(b"abcdef", b"\xff"), "line 2: is no UTF-8 text"),
        (HEADER + ROW.replace(b"2,", "\uff12,".encode(), 1), "shots is '\uff12'"),  # a digit, but a wide one
        (b"PAR1" + bytes(100), "line 1: unknown column"),
    ],
)
def test_a_table_that_is_not_as_written_is_refused_by_line_and_cell(data: bytes, what: str) -> None:
    with pytest.raises(Refused) as refusal:
        table_of(data, tables.PREDICTIONS)
    assert what in str(refusal.value)


def test_a_file_is_read_up_to_its_limit_and_refused_beyond(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1024)
    assert files.read(path, 1024).data == b"x" * 1024
    path.write_bytes(b"x" * 1025)
    with pytest.raises(BadInput, match="larger than 1 KiB"):
        files.read(path, 1024)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name, why in {
        "link": "a link",
        "dangling": "a link",
        "fifo": "regular",
        "folder": "regular",
        "no": "missing",
    }.items():
        with pytest.raises(BadInput, match=why):
            files.read(tmp_path / name, 1024)
    with pytest.raises(BadInput, match="regular"):
        files.read(Path("/dev/zero"), 1024)


def test_a_packed_file_is_unpacked_up_to_its_limit_and_refused_beyond(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"x" * 1024, mtime=0))
    assert files.read_unpacked(path, unpacked=1024).data == b"x" * 1024
    path.write_bytes(gzip.compress(b"x" * 1025, mtime=0))
    with pytest.raises(BadInput, match="unpacks to more than 1 KiB"):
        files.read_unpacked(path, unpacked=1024)


def _named(data: bytes) -> bytes:
    packed = gzip.compress(data, mtime=0)
    return packed[:3] + b"\x08" + packed[4:10] + b"patient-7.csv\0" + packed[10:]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"plain text, and not short", "no gzip file"),
        (zlib.compress(b"x" * 100), "no gzip file"),
        (gzip.compress(b"x", mtime=1), "tells a name or a time"),
        (_named(b"x"), "tells a name or a time"),
        (gzip.compress(b"x" * 100, mtime=0)[:-3], "ends too early"),
        (gzip.compress(b"x", mtime=0) * 2, "goes on behind its end"),
        (gzip.compress(b"x" * 100, mtime=0)[:-8] + bytes(8), "damaged"),
    ],
)
def test_a_packed_file_that_is_damaged_or_tells_more_is_refused(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "file.gz").write_bytes(data)
    with pytest.raises(BadInput, match=what):
        files.read_unpacked(tmp_path / "file.gz")


def test_a_card_names_the_field_that_is_wrong(folder: Path) -> None:
    text = (folder / "submission.yaml").read_text()
    (folder / "submission.yaml").write_text(text.replace("licence:", "license:"))
    with pytest.raises(BadInput, match=r"submission\.yaml: .*licence"):
        files.read_card(folder)
