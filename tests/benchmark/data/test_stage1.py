"""Stage 1's clips: which windows, whom they declare, and that damage costs the clips it lies in and no more.

Videos carry a number in every frame (`tests.videos`), so a grey, repeated or neighbouring frame is read as a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import av
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from benchmark.data.clips import open_stores
from benchmark.data.frames import Sampling
from benchmark.data.importers import import_data
from benchmark.data.manifest import EVENT_COLUMNS, RECORDING_COLUMNS, Manifest, read_manifest, write_manifest
from benchmark.data.mixes import Mix, Part, load_mix
from benchmark.data.stage1 import (
    Declaration,
    PretrainClips,
    most_left_out,
    overlap,
    pretrain_clips,
    stage1_windows,
)
from benchmark.files import sha256_of
from benchmark.progress import Progress
from tasks.errors import BadInput
from tests.videos import make_video, numbers_of

QUIET = Progress(quiet=True)
EVERY = Sampling(frames=None, spacing_s=0.04, place="last", size=24)  # every frame of a window at 25 a second
ALL = load_mix("+R(Y/N)+H")
Maker = Callable[..., Manifest]


@pytest.fixture
def made(tmp_path: Path) -> Maker:
    """A manifest of whole-length recordings `name: (subject, species, path)`, watched in full and set aside."""

    def make(videos: dict[str, tuple[str, str, Path]], events: tuple[tuple[object, ...], ...] = ()) -> Manifest:
        rows = []
        for name, (subject, species, path) in videos.items():
            seconds = 0.04 * FRAMES.get(path.name, 75)
            row = dict.fromkeys(RECORDING_COLUMNS, "n/a") | {
                **{"recording_id": name, "subject_id": subject, "species": species, "path": f"videos/{path.name}"},
                **{"sha256": sha256_of(path), "duration_s": seconds, "fps": 25, "width": 64, "height": 48},
            }
            rows.append({**row, "split": "pretrain"})
        write_manifest(
            tmp_path / "set",
            pd.DataFrame(rows),
            pd.DataFrame(events, columns=list(EVENT_COLUMNS)),
            pd.DataFrame([(row["recording_id"], 0.0, row["duration_s"]) for row in rows], columns=INTERVALS),
        )
        return read_manifest(tmp_path / "set")

    return make


INTERVALS = ["recording_id", "start_s", "end_s"]
FRAMES = {"long.mp4": 500}


def numbered(folder: Path, name: str, first: int, codec: str = "mpeg4") -> Path:
    path = folder / "set" / "videos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {} if codec == "mjpeg" else {"g": "12", "bf": "0"}
    make_video(path, codec, frames=FRAMES.get(name, 75), first_number=first, options=options)
    return path


def damage(path: Path, frame: int, header: bool = False) -> None:
    """Overwrite a frame's data with zeros, or the header of its chunk in an AVI."""
    with av.open(str(path)) as container:
        hit = sorted((p for p in container.demux(video=0) if p.size), key=lambda packet: packet.pts or packet.dts)[
            frame
        ]
        at, size = hit.pos, hit.size
    data = bytearray(path.read_bytes())
    begin, end = (at - 8, at) if header else (at + 12, at + size)
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def clips_of(manifest: Manifest, cache: Path, mix: Mix = ALL, progress: Progress = QUIET, workers: int = 2):
    return pretrain_clips(manifest, mix, 0, EVERY, open_stores(cache), cache, workers, progress)


def numbers(clips: PretrainClips) -> dict[str, list[int]]:
    """What each clip's frames show, by recording."""
    return {
        clip.partition("@")[0]: numbers_of(frames[0]) for clip, frames in zip(clips.ids, clips.frames(), strict=True)
    }


def test_windows_are_10_s_of_rodents_and_5_s_of_people_with_their_condition(tmp_path: Path, made: Maker) -> None:
    videos = {
        "r": ("m1", "mouse", numbered(tmp_path, "long.mp4", 0)),
        "s": ("m2", "rat", numbered(tmp_path, "short.avi", 900)),
    }
    manifest = made(videos, (("r", 9.5, 0.5, "sz", "clinical", "n/a", "n/a"), ("r", 1, 2, "bckg", "eeg", "x", "x")))
    assert [(row["clip_id"], row["seizure"]) for row in stage1_windows(manifest)] == [
        ("r@0.000-10.000", True),
        ("r@10.000-20.000", False),  # the seizure ends where it begins
        ("s@0.000-3.000", False),
    ]
    person = replace(manifest, recordings=manifest.recordings.assign(species="human"))
    assert [row["clip_id"] for row in stage1_windows(person)] == [
        *(f"r@{start}.000-{start + 5}.000" for start in (0, 10, 15, 5)),
        "s@0.000-3.000",
    ]
    watched = manifest.annotated_intervals.assign(start_s=0.5, end_s=3.0)
    assert stage1_windows(replace(manifest, annotated_intervals=watched)) == []  # 2.5 s: too short


def test_base_opens_nothing(tmp_path: Path, made: Maker) -> None:
    manifest = made({"r": ("m1", "rat", numbered(tmp_path, "a.avi", 0))})
    manifest.path_of("r").unlink()
    clips, decoded = clips_of(manifest, tmp_path / "cache", load_mix("base"))
    assert (len(clips), decoded, clips.counts, clips.declaration) == (0, 0, (), Declaration((), ()))
    assert not (tmp_path / "cache").exists()


def test_clips_are_decoded_once_and_tell_whom_they_show(tmp_path: Path, made: Maker) -> None:
    manifest = made(
        {name: (f"m{name}", "rat", numbered(tmp_path, f"{name}.avi", 100 * n)) for n, name in enumerate("ab")}
    )
    clips, decoded = clips_of(manifest, tmp_path / "cache")
    assert (decoded, clips_of(manifest, tmp_path / "cache")[1]) == (2, 0)
    assert numbers(clips) == {"a": list(range(75)), "b": list(range(100, 175))}
    assert (clips.mix, clips.subjects, clips.species, clips.seizure) == (
        "+R(Y/N)+H",
        ("ma", "mb"),
        ("rat", "rat"),
        (False, False),
    )
    assert [count.used for count in clips.counts] == [0, 2, 0]
    assert clips.declaration.subjects == (("n/a", "n/a", "ma"), ("n/a", "n/a", "mb"))
    assert set(clips.declaration.videos) == {sha256_of(manifest.path_of(name)) for name in "ab"}


HARMS: dict[str, tuple[str, Callable[[Path], None]]] = {
    **{f"data of {codec}": (codec, lambda path: damage(path, 40)) for codec in ("mpeg4", "mjpeg", "libx264")},
    **{f"chunk of {codec}": (codec, lambda path: damage(path, 40, header=True)) for codec in ("mpeg4", "mjpeg")},
    "cut off": ("mjpeg", cut),
    "zeros": ("mjpeg", lambda path: path.write_bytes(bytes(5000))),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_avi_is_left_out_and_named_and_no_clip_has_a_wrong_frame(
    tmp_path: Path, made: Maker, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, hurt = HARMS[harm]
    paths = {name: numbered(tmp_path, f"{name}.avi", 100 * n, codec) for n, name in enumerate("abc")}
    hurt(paths["b"])
    manifest = made({name: (f"m{name}", "rat", path) for name, path in paths.items()})
    clips, decoded = clips_of(manifest, tmp_path / "cache", progress=Progress())
    assert numbers(clips) == {"a": list(range(75)), "c": list(range(200, 275))}
    assert decoded == 2
    [lost] = clips.unreadable
    assert lost.clip_id == "b@0.000-3.000"
    assert "b.avi" not in lost.reason
    assert f"1 of 3 clips left out, unreadable: b@0.000-3.000 ({lost.reason})" in capsys.readouterr().err
    assert [count.in_words() for count in clips.counts][1] == "2 of 3,000 rodent normal clips (1 unreadable)"
    assert clips.subjects == ("ma", "mc")
    assert "mb" not in str(clips.declaration)
    again, decoded = clips_of(manifest, tmp_path / "cache")
    assert (again.unreadable, again.ids, decoded) == (clips.unreadable, clips.ids, 0)


def test_damage_costs_the_clip_it_lies_in_and_not_the_others_of_its_video(tmp_path: Path, made: Maker) -> None:
    damage(numbered(tmp_path, "long.mp4", 0, "libx264"), 300)  # at 12 s
    manifest = made({"h": ("p1", "human", tmp_path / "set/videos/long.mp4")})
    clips, decoded = clips_of(manifest, tmp_path / "cache")
    assert [lost.clip_id for lost in clips.unreadable] == ["h@10.000-15.000"]
    assert decoded == 3
    shown = {clip: numbers_of(frames[0]) for clip, frames in zip(clips.ids, clips.frames(), strict=True)}
    assert shown == {f"h@{at}.000-{at + 5}.000": list(range(25 * at, 25 * at + 125)) for at in (0, 15, 5)}


@pytest.mark.parametrize(("total", "most"), [(1, 0), (2, 1), (20, 1), (39, 1), (40, 2), (5952, 297)])
def test_one_in_twenty_may_be_unreadable_or_one_but_never_all(total: int, most: int) -> None:
    assert most_left_out(total) == most


@pytest.mark.parametrize("bad", ["a", "ab"])
def test_too_many_unreadable_clips_are_refused(tmp_path: Path, made: Maker, bad: str) -> None:
    names = "a" if bad == "a" else "abcd"
    for n, name in enumerate(names):
        path = numbered(tmp_path, f"{name}.avi", 100 * n, "mjpeg")
        if name in bad:
            damage(path, 40)
    manifest = made({name: (f"m{name}", "rat", tmp_path / f"set/videos/{name}.avi") for name in names})
    for _ in range(2):  # the second time from what was found before
        with pytest.raises(BadInput, match=rf"{len(bad)} of the {len(names)} clips .* cannot be decoded, among them"):
            clips_of(manifest, tmp_path / "cache")


def test_a_file_that_is_not_the_manifests_is_refused_not_left_out(tmp_path: Path, made: Maker) -> None:
    manifest = made(
        {name: (f"m{name}", "rat", numbered(tmp_path, f"{name}.avi", 100 * n)) for n, name in enumerate("abc")}
    )
    damage(manifest.path_of("b"), 40)
    with pytest.raises(BadInput, match=r"b\.avi: the video of recording 'b' has changed"):
        clips_of(manifest, tmp_path / "cache")
    manifest.path_of("b").unlink()
    with pytest.raises(BadInput, match=r"b\.avi: the video of recording 'b' is missing"):
        clips_of(manifest, tmp_path / "cache")


def test_a_mix_that_finds_no_clip_is_refused_and_an_empty_part_is_said(
    tmp_path: Path, made: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = made({"r": ("m1", "rat", numbered(tmp_path, "a.avi", 0))})
    with pytest.raises(BadInput, match=r"stage 1 has nothing to train on.*\+H's kinds.*recordings\.tsv"):
        clips_of(manifest, tmp_path / "cache", load_mix("+H"))
    clips_of(manifest, tmp_path / "cache", progress=Progress())
    assert "mix +R(Y/N)+H: 0 of 1,870 human normal clips" in capsys.readouterr().err


def test_a_rodepil_import_is_drawn_evenly_over_its_rats_and_damage_in_it_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "src" / "Seizure_detection_10sec"
    (root / "0").mkdir(parents=True)
    (root / "1").mkdir()
    supply, number = {("R1", 0): 6, ("R2", 0): 2, ("R3", 0): 1, ("R1", 1): 2, ("R3", 1): 1}, 0
    for (rat, label), count in supply.items():
        for n in range(count):
            path = root / str(label) / f"2023040{n + 1}_V{n}_Left_{rat}_75_Label_{label}.avi"
            make_video(path, "mjpeg", frames=75, first_number=100 * number)
            number += 1
    damage(root / "0" / "20230401_V0_Left_R3_75_Label_0.avi", 40)
    import_data("rodepil", tmp_path / "src", tmp_path / "out", QUIET)
    assert not (tmp_path / "out" / "left_out.tsv").exists()  # its header is sound
    manifest = read_manifest(tmp_path / "out")
    parts = (Part(species="rodent", seizure=False, count=5), Part(species="rodent", seizure=True, count=2))
    clips, _ = clips_of(manifest, tmp_path / "cache", Mix(name="few", description="", parts=parts))
    who = [(subject, seizure) for subject, seizure in zip(clips.subjects, clips.seizure, strict=True)]
    normal = [subject for subject, seizure in who if not seizure]
    assert sorted(normal) == ["rat-R1", "rat-R1", "rat-R2", "rat-R2"]
    assert sorted(subject for subject, seizure in who if seizure) == ["rat-R1", "rat-R3"]
    [lost] = clips.unreadable
    assert "rat-R3" in lost.clip_id
    assert all(shown == list(range(shown[0], shown[0] + 75)) for shown in numbers(clips).values())
    assert "2023" not in json.dumps([asdict(clips.declaration), clips.ids, lost.reason])


def people(**columns: list[str]) -> Manifest:
    """Recordings of p1 and p2 as far as a declaration looks at them."""
    rows = {"subject_id": ["p1", "p2"], "source_dataset": ["n/a", "n/a"], "sha256": ["a" * 64, "b" * 64], **columns}
    return Manifest(Path("x"), pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame())


@pytest.mark.parametrize(
    ("declared", "own", "same"),
    [("n/a", "n/a", True), ("A", "n/a", True), ("n/a", "A", True), ("A", "a", True), ("A", "B", False)],
)
def test_one_id_is_one_patient_unless_both_data_sets_are_named_and_differ(declared: str, own: str, same: bool) -> None:
    declaration = Declaration(((declared, "lab", "P1"),), ())
    here = people(source_dataset=[own, own])
    assert overlap(declaration, here, {"p1", "p2"}) == (("p1",) if same else ())
    assert overlap(declaration, here, {"p2"}) == ()


def test_a_video_that_was_trained_on_marks_its_patient_whatever_the_names() -> None:
    declaration = Declaration((("A", "lab", "x7"),), ("b" * 64,))
    assert overlap(declaration, people(source_dataset=["B", "B"]), {"p1", "p2"}) == ("p2",)


def test_a_declaration_goes_through_json_and_nothing_else_is_taken_for_one() -> None:
    declaration, reader = Declaration((("A", "lab", "x7"),), ("b" * 64,)), TypeAdapter(Declaration)
    assert reader.validate_python(json.loads(json.dumps(asdict(declaration)))) == declaration
    none = {"subjects": [], "videos": []}
    for wrong in ({}, {**none, "subjects": [["A"]]}, {**none, "videos": ["b"]}, {**none, "more": 1}):
        with pytest.raises(ValidationError):
            reader.validate_python(wrong)
