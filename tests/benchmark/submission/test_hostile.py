"""Submissions made to harm whoever reads them: refused within 10 s and 1 GB, by one sentence, or left as plain text.

Every case goes through `seizure-bench verify` in a process of its own, whose peak memory the system tells.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmark.submission.card import Card
from benchmark.submission.files import read_card
from benchmark.submission.verify import verify, verify_all
from tasks.errors import BadInput
from tests.benchmark.submission.tampering import edit_card, edit_json, edit_lines, put, replace_cell

MOST_S, MOST_MIB = 10, 1000
PREDICTIONS = "predictions.csv.gz"
HEADER = b"shots,episode,replicate,clip,score\n"
ROW = b"2,0,0,0123456789abcdef,0.5\n"
TEN_MILLION = 10_000_000

Harm = Callable[[Path], object]


def gzip_of(head: bytes, repeated: bytes, times: int) -> bytes:
    """A gzip file of head and many repetitions, without ever holding them; its check sum is wrong, which comes last."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = stream.compress(head) + stream.flush(zlib.Z_FULL_FLUSH)
    block = stream.compress(repeated) + stream.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00" + bytes(5) + b"\xff" + start + block * times + stream.flush() + bytes(8)


def bomb(head: bytes, block: bytes, times: int) -> Harm:
    packed = gzip_of(head, block, times)
    return lambda folder: (folder / PREDICTIONS).write_bytes(packed)


def nested_bomb(folder: Path) -> None:
    inner = gzip_of(b"", bytes(2**24), 64)
    put(folder, PREDICTIONS, gzip_of(HEADER, inner, 16))


def long_file(name: str, head: bytes, size: int) -> Harm:
    """A file of this size that takes no room on the disc: zero bytes behind the head."""

    def harm(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.write(head)
            file.truncate(size)

    return harm


def yaml_text(text: str) -> Harm:
    return lambda folder: (folder / "submission.yaml").write_text(text)


def laughs(name: str) -> str:
    levels = [f"a0: &a0 [{name}, {name}]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(levels) + "\n"


def many(entry: str, size: int) -> str:
    return entry * (size // len(entry))


def largest_table(folder: Path) -> None:
    """As many bytes as are read, each row as it should be, none that belongs there."""
    row = b"2,0,0,0123456789abcdef,0.5" + b"0" * 45 + b"\n"
    put(folder, PREDICTIONS, HEADER + row * ((128 * 2**20 - len(HEADER)) // len(row)))


def tiny_episodes(folder: Path) -> None:
    """Two million predictions, each in an episode of its own."""
    rows = "".join(f"2,{n // 98},{n % 98},{0:016},0.5\n" for n in range(1_999_998))
    put(folder, PREDICTIONS, HEADER + rows.encode())


def replace_by(make: Callable[[Path], object], name: str = "results.json") -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return harm


def folder_by_link(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def field(*place: str | int, value: Any) -> Harm:
    """Set a value in the card."""

    def change(card: dict[str, Any]) -> None:
        inner: Any = card
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value

    return lambda folder: edit_card(folder, change)


def in_file(name: str, text: str) -> Harm:
    return lambda folder: put(folder, name, text.encode())


DEEP = 200_000
HARMS: dict[str, tuple[Harm, str]] = {
    "link to a file": (replace_by(lambda p: p.symlink_to("/etc/passwd")), "is a link"),
    "dangling link": (replace_by(lambda p: p.symlink_to("nowhere")), "is a link"),
    "link to a sound file": (replace_by(lambda p: p.symlink_to("../made-up-0002/results.json")), "is a link"),
    "link for the folder": (folder_by_link, "is a link"),
    "FIFO": (replace_by(os.mkfifo), "is no regular file"),
    "FIFO for the card": (replace_by(os.mkfifo, "submission.yaml"), "is no regular file"),
    "folder for a file": (replace_by(Path.mkdir), "is no regular file"),
    "device": (replace_by(lambda p: p.symlink_to("/dev/zero"), PREDICTIONS), "is a link"),
    "parquet": (lambda f: (f / "predictions.parquet").write_bytes(b"PAR1"), "is none of"),
    "code": (lambda f: (f / "__init__.py").write_text("raise SystemExit"), "is none of"),
    "pickle": (lambda f: (f / "predictions.pkl").write_bytes(b"cos\nsystem\n(S'ls'\ntR."), "is none of"),
    "name with line end": (lambda f: (f / "x\n\x1b[31merror: all is well").write_bytes(b""), "is none of"),
    "name that is no text": (lambda f: Path(os.fsdecode(bytes(f) + b"/\xff")).write_bytes(b""), "is none of"),
    "gzip of 4 GB of zeros": (bomb(b"", bytes(2**26), 64), "unpacks to more than 128 MiB"),
    "gzip of 16 GB in columns": (bomb(HEADER, bytes(2**26), 256), "unpacks to more than 128 MiB"),
    "gzip in gzip": (nested_bomb, "is no UTF-8 text|cells instead of"),
    "10 million rows": (bomb(HEADER, ROW * 10_000, TEN_MILLION // 10_000), "unpacks to more than 128 MiB"),
    "10 million short rows": (in_file(PREDICTIONS, HEADER.decode() + "2,0\n" * TEN_MILLION), "more than 2000000 rows"),
    "10 million empty rows": (in_file(PREDICTIONS, HEADER.decode() + "\n" * TEN_MILLION), "more than 2000000 rows"),
    "the largest table": (largest_table, "stands there twice"),
    "as many episodes and replicates as rows": (tiny_episodes, "are of 1999998 episodes and replicates"),
    "one endless row": (in_file(PREDICTIONS, HEADER.decode() + "1" * (128 * 2**20 - 100)), "has 1 cells"),
    "an endless header": (in_file(PREDICTIONS, "a," * (32 * 2**20)), "line 1"),
    "packed file of 40 MB": (long_file(PREDICTIONS, b"\x1f\x8b\x08", 40 * 2**20), "larger than 32 MiB"),
    "episodes of 17 MB": (long_file("episodes.csv", b"shots", 17 * 2**20), "larger than 16 MiB"),
    "as many episodes as are read": (
        in_file(
            "episodes.csv", f"shots,episode,digest,clips,query\n{many(f'2,0,{0:064},40,{0:064}' + chr(10), 2**24 - 99)}"
        ),
        "stands there twice",
    ),
    "1 GB of YAML": (long_file("submission.yaml", b"a: ", 10**9), "larger than 256 KiB"),
    "1 GB of YAML aliases": (long_file("submission.yaml", laughs("lol").encode(), 10**9), "larger than 256 KiB"),
    "1 GB of JSON": (long_file("results.json", b"{", 10**9), "larger than 4 MiB"),
    "1 GB of environment": (long_file("environment.json", b"{", 10**9), "larger than 256 KiB"),
    "billion laughs": (yaml_text(laughs("lol")), "anchor"),
    "billion laughs in the environment": (lambda f: (f / "environment.json").write_text(laughs("lol")), "is no JSON"),
    "quadratic aliases": (yaml_text("a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 40_000 + "]"), "anchor"),
    "merge keys": (yaml_text("a: &a {b: 1}\nc: {<<: *a}"), "anchor"),
    "python object": (yaml_text("!!python/object/apply:os.system ['touch /tmp/owned']"), "tag"),
    "python object within": (yaml_text("a: [!!python/object:os.system {}]"), "tag"),
    "binary": (yaml_text("a: !!binary aGVsbG8="), "tag"),
    "YAML nested in flow": (yaml_text("a: " + "[" * DEEP), "nested deeper"),
    "YAML nested in braces": (yaml_text("a: " + "{a: " * (DEEP // 4)), "nested deeper"),
    "YAML nested in blocks": (yaml_text("\n".join(" " * n + "a:" for n in range(600))), "nested deeper"),
    "YAML nested in dashes": (yaml_text("- " * (DEEP // 2)), "nested deeper"),
    "YAML of one long key": (yaml_text("x" * 260_000 + ": 1"), ""),
    "YAML of many keys": (yaml_text("".join(f"k{n}: 1\n" for n in range(25_000))), "submission.yaml: field"),
    "YAML of many lists": (yaml_text("a: [" + many("[],", 250_000) + "]"), "50000 values"),
    "YAML of many documents": (yaml_text("--- 1\n" * 40_000), "YAML documents"),
    "YAML of many quotes": (yaml_text("a: " + "'" * 260_001), "submission.yaml"),
    "sexagesimal": (yaml_text("seed: " + "9:" * 100_000 + "9"), "submission.yaml"),
    "JSON nested": (in_file("results.json", "[" * 2_000_000 + "]" * 2_000_000), "nested deeper"),
    "JSON nested in objects": (in_file("results.json", '{"a":' * 800_000), "nested deeper"),
    "JSON of many lists": (in_file("results.json", "[" + "[]," * 1_300_000 + "[]]"), "50000 values"),
    "JSON of many fields": (
        in_file("results.json", json.dumps(dict.fromkeys(map(str, range(40_000)), 1))),
        "results.json: field",
    ),
    "JSON of one long text": (in_file("results.json", json.dumps({"a": "x" * 4_000_000})), "characters"),
    "JSON of quotes": (in_file("results.json", '"\\"' * 1_300_000), "is no JSON"),
    "JSON of digits": (in_file("results.json", '{"a": ' + "9" * 4_000_000 + "}"), "at most"),
    "JSON of decimals": (in_file("results.json", '{"a": 0.' + "9" * 4_000_000 + "}"), "results.json: field"),
    "JSON of wide text": (in_file("results.json", '{"a": "' + "\u754c" * 1_300_000 + '"}'), "characters"),
    "huge integer in YAML": (yaml_text("seed: 1" + "0" * 5000), "at most"),
    "huge integer in JSON": (
        lambda f: (f / "environment.json").write_text('{"threads": 1' + "0" * 5000 + "}"),
        "at most",
    ),
    "huge integer in a table": (lambda f: replace_cell(f, PREDICTIONS, 1, 0, b"1" + b"0" * 5000), "shots is"),
    "huge shots": (lambda f: replace_cell(f, PREDICTIONS, 1, 0, b"999999999"), "no such episode"),
    "huge replicates": (lambda f: edit_json(f, "results.json", lambda c: c.update(replicates=10_000)), "replicates"),
    "huge protocol": (field("track", "protocol", "episodes", value=10_000), "is missing"),
    "huge setting": (field("method", "settings", value={"lr": 10**30}), "is larger|too large|at most"),
    "1e400 in YAML": (field("compute", "fit_s", value="1e400"), "compute.fit_s"),
    "1e400 in a plain scalar": (
        lambda f: (f / "submission.yaml").write_text((f / "submission.yaml").read_text().replace("12.0", "1e400")),
        "no finite number",
    ),
    "1e400 in JSON": (in_file("results.json", '{"replicates": 1e400}'), "no finite number"),
    "1e400 as a score": (lambda f: replace_cell(f, PREDICTIONS, 1, 4, b"1e400"), "not in [0, 1]"),
    "path as a clip": (lambda f: replace_cell(f, PREDICTIONS, 1, 3, b"../../etc/passwd"), "clip is"),
    "formula as a score": (lambda f: replace_cell(f, PREDICTIONS, 1, 4, b"=cmd()"), "score is"),
    "path as a name": (field("track", "task", "name", value="../../x"), "track.task.name"),
    "script as an address": (field("links", value=["javascript:alert(1)"]), "links"),
    "address with a user": (field("links", value=["https://a@example.org/"]), "links"),
    "rows in the wrong order": (lambda f: edit_lines(f, PREDICTIONS, lambda r: r.insert(1, r.pop(2))), "out of order"),
}


@dataclass(frozen=True)
class Outcome:
    code: int
    seconds: float
    mib: float
    out: str
    err: str
    libraries: list[str]


@pytest.fixture(scope="module")
def outcomes(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every case, once: built beside a sound submission and the reference, then verified."""
    base = tmp_path_factory.mktemp("hostile")
    folders = {"sound": base / "sound" / "made-up-0001"}
    shutil.copytree(sound, base / "sound")
    for number, (case, (harm, _)) in enumerate(HARMS.items()):
        root = base / f"case-{number}"
        for name in ("made-up-0001", "references"):
            shutil.copytree(sound / name, root / name)
        harm(root / "made-up-0001")
        folders[case] = root / "made-up-0001"
    command = [sys.executable, "-m", "tests.benchmark.submission.measured", *map(str, folders.values())]
    env = {**os.environ, "SEIZURE_BENCH_CACHE": str(base / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=env, cwd=Path(__file__).parents[3], timeout=300
    )
    shutil.rmtree(base)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        case: Outcome(**{k: v for k, v in one.items() if k != "path"}) for case, one in zip(folders, found, strict=True)
    }


def test_the_sound_one_passes_where_the_hostile_are_refused(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["sound"].code == 0, outcomes["sound"].err
    assert "re-scored" in outcomes["sound"].out


@pytest.mark.parametrize("case", HARMS)
def test_it_is_refused_in_bounded_time_and_memory(outcomes: dict[str, Outcome], case: str) -> None:
    outcome = outcomes[case]
    assert outcome.code == 2, outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert all(character.isprintable() for character in outcome.err.rstrip("\n"))
    assert len(outcome.err) < 1500
    assert "made-up-0001" in outcome.err
    assert any(part in outcome.err for part in HARMS[case][1].split("|")), outcome.err
    assert outcome.seconds < MOST_S
    assert outcome.mib < MOST_MIB
    assert not outcome.libraries


TEXTS: dict[str, tuple[str | int, ...]] = {
    ".".join(map(str, place)): place
    for place in [
        ("method", "name"),
        ("method", "baseline"),
        ("method", "size"),
        ("method", "init"),
        ("method", "pool"),
        ("authors", 0),
        ("licence",),
        ("remarks",),
        ("trained_on",),
        ("compute", "device"),
        ("track", "task", "description"),
        ("track", "task", "species"),
        ("track", "protocol", "description"),
        ("track", "data", "name"),
    ]
}
HIDDEN = {
    "bidi": "\u202e",
    "isolate": "\u2066",
    "control": "\x07",
    "escape": "\x1b",
    "line end": "\n",
    "zero width": "\u200b",
    "joiner": "\u200d",
    "byte order": "\ufeff",
    "unassigned": "\U000e0041",
    "private": "\ue000",
    "line separator": "\u2028",
    "blank": "\u3164",
}


def in_own_words(folder: Path) -> None:
    """So that any init and any kind of animal can stand there."""
    field("method", "weights", value="a" * 64)(folder)
    field("track", "task", "name", value="a-task-of-our-own")(folder)


@pytest.fixture
def tried(root: Path) -> Callable[[tuple[str | int, ...], str], str | None]:
    """Put a text into the card and verify; the refusal, or None."""
    folder = root / "made-up-0001"
    in_own_words(folder)
    before = (folder / "submission.yaml").read_bytes()

    def attempt(place: tuple[str | int, ...], text: str) -> str | None:
        (folder / "submission.yaml").write_bytes(before)
        field(*place, value=text)(folder)
        try:
            verify(folder, {})
        except BadInput as error:
            return str(error)
        return None

    return attempt


@pytest.mark.parametrize("text", TEXTS)
def test_what_cannot_be_seen_is_refused_in_every_text(tried: Callable[..., str | None], text: str) -> None:
    assert tried(TEXTS[text], "plain") is None
    for name, character in HIDDEN.items():
        said = tried(TEXTS[text], f"a{character}b")
        assert said is not None, name
        assert f"U+{ord(character):04X}" in said
    assert "combining marks" in str(tried(TEXTS[text], "a" + "\u0300" * 10))


def test_what_cannot_be_seen_is_refused_in_names_of_settings_and_versions(folder: Path) -> None:
    for harm in (
        field("method", "settings", value={"l\u202er": 1}),
        field("method", "settings", value={"lr": ["a\u200b"]}),
        field("pretraining", value=[{"what": "x\u202e", "test_patients": 0}]),
        lambda f: (f / "environment.json").write_text(
            (f / "environment.json").read_text().replace('"versions": {}', '"versions": {"torch\\u200b": "1"}')
        ),
    ):
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        harm(folder)
        with pytest.raises(BadInput, match=r"U\+20(2E|0B)"):
            verify_all(folder.parent)
        for name, data in before.items():
            (folder / name).write_bytes(data)


MARKUP = "<script>alert(1)</script> & \"'`| ![x](https://example.org) {{7*7}} \\input{x} =1+1 %s"


def test_markup_is_accepted_and_left_as_it_is(folder: Path, drawn_texts: list[tuple[str | int, ...]]) -> None:
    in_own_words(folder)
    for place in drawn_texts:
        field(*place, value=MARKUP)(folder)
    card = read_card(folder)
    assert isinstance(card, Card)
    assert {card.method.name, card.authors[0], card.remarks, card.track.task.description, card.track.data.name} == {
        MARKUP
    }
    shutil.rmtree(folder.parent / "references")
    assert "made-up-0001" in {one.name for one in verify_all(folder.parent)}


@pytest.fixture
def drawn_texts() -> list[tuple[str | int, ...]]:
    return list(TEXTS.values())


@pytest.mark.parametrize("name", ["UPPER", "dot.dot", "sp ace", "a" * 81, "-flag", "ünï", "x\u202ey"])
def test_names_of_folders_are_plain(root: Path, name: str) -> None:
    (root / "made-up-0001").rename(root / name)
    with pytest.raises(BadInput, match="is no name of a submission"):
        verify_all(root)


@pytest.mark.parametrize("path", ["made-up-0001/..", "made-up-0001/../../../etc", "made-up-0001/../made-up-0002"])
def test_a_folder_given_by_going_back_is_refused(root: Path, path: str) -> None:
    with pytest.raises(BadInput, match="goes back with"):
        verify(root / path, {})
