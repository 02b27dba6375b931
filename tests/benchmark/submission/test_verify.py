"""A submission is accepted as it was written, and refused by name (folder, file, row) after any change to it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.submission.files import read_card
from benchmark.submission.reference import Reference
from benchmark.submission.verify import read_references, verify, verify_all
from tasks.errors import BadInput
from tests.benchmark.conftest import run_cli
from tests.benchmark.submission.synthetic import (
    Drawn,
    claims,
    draw_track,
    hashed,
    predictions_of,
    withheld,
    write_files,
    write_submission,
)
from tests.benchmark.submission.tampering import edit_card, edit_json, edit_lines, lines_of, put, replace_cell

PREDICTIONS, EPISODES, RESULTS = "predictions.csv.gz", "episodes.csv", "results.json"
Harm = Callable[[Path], object]


@pytest.fixture
def references(root: Path) -> dict[str, Reference]:
    return read_references(root / "references")


def test_whole_submissions_are_accepted_with_and_without_labels(root: Path) -> None:
    with_labels = verify_all(root)
    assert [(one.name, one.status) for one in with_labels] == [(f"made-up-000{n}", "re-scored") for n in range(3)]
    assert all(len(one.predictions) == 2400 for one in with_labels)
    shutil.rmtree(root / "references")
    assert {one.status for one in verify_all(root)} == {"reported"}


def refused(folder: Path, references: dict[str, Reference]) -> str:
    with pytest.raises(BadInput) as refusal:
        verify(folder, references)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(1, 2400), careful=st.booleans(), labels=st.booleans())
def test_any_prediction_that_is_deleted_is_named(
    folder: Path, references: dict[str, Reference], line: int, careful: bool, labels: bool
) -> None:
    before = (folder / PREDICTIONS).read_bytes(), (folder / "submission.yaml").read_bytes()
    shots, episode, replicate, clip, _ = lines_of(folder, PREDICTIONS)[line].decode().split(",")
    edit_lines(folder, PREDICTIONS, lambda lines: lines.pop(line))
    if not careful:
        (folder / "submission.yaml").write_bytes(before[1])
    said = refused(folder, references if labels else {})
    assert PREDICTIONS in said
    if careful:
        assert (
            f"shots {shots}, episode {episode}, replicate {replicate}: the prediction of clip {clip} is missing" in said
        )
    else:
        assert "hashes.predictions" in said
    (folder / PREDICTIONS).write_bytes(before[0])
    (folder / "submission.yaml").write_bytes(before[1])


def _extra(lines: list[bytes], clip: bytes) -> None:
    lines.insert(1, b"2,0,0," + clip + b",0.5\n")


def _other_clip(folder: Path) -> bytes:
    """One that the first episode does not ask about, though others do."""
    cells = [line.split(b",") for line in lines_of(folder, PREDICTIONS)[1:]]
    asked = {c[3] for c in cells if c[:2] == [b"2", b"0"]}
    return min({c[3] for c in cells} - asked)


def _swap(lines: list[bytes], column: int) -> None:
    first, second = lines[1].rstrip().split(b","), lines[2].rstrip().split(b",")
    first[column], second[column] = second[column], first[column]
    lines[1], lines[2] = b",".join(first) + b"\n", b",".join(second) + b"\n"


def _drop_group(lines: list[bytes]) -> None:
    lines[:] = [line for line in lines if not line.startswith(b"3,7,")]


TABLES: dict[str, tuple[Harm, str, str]] = {
    "doubled row": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: lines.insert(9, lines[8])),
        PREDICTIONS,
        "line 10 (shots 2, episode 0, replicate 0, clip .*) stands there twice",
    ),
    "doubled row with another score": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: lines.insert(9, lines[8].rsplit(b",", 1)[0] + b",0.1\n")),
        PREDICTIONS,
        "stands there twice",
    ),
    "clip of another episode": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: _extra(lines, _other_clip(f))),
        PREDICTIONS,
        "line 2 (shots 2, episode 0, replicate 0, clip .*): the episode does not ask about this clip",
    ),
    "clip of nowhere": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: _extra(lines, b"0" * 16)),
        PREDICTIONS,
        "line 2 (shots 2, episode 0, replicate 0, clip 0000000000000000): the episode does not ask about this clip",
    ),
    "one clip for another": (
        lambda f: replace_cell(f, PREDICTIONS, 1, 3, b"0" * 16),
        PREDICTIONS,
        "shots 2, episode 0, replicate 0",
    ),
    "episode of nowhere": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: lines.append(b"4,20,0," + b"0" * 16 + b",0.5\n")),
        PREDICTIONS,
        "line 2402 (shots 4, episode 20, .*): episodes.csv has no such episode",
    ),
    "replicate of nowhere": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: lines.append(b"4,19,1," + b"0" * 16 + b",0.5\n")),
        PREDICTIONS,
        "line 2402 (.*): results.json has replicates 0 to 0",
    ),
    "a whole episode": (
        lambda f: edit_lines(f, PREDICTIONS, _drop_group),
        PREDICTIONS,
        "shots 3, episode 7, replicate 0: all predictions are missing",
    ),
    "rows in another order": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: lines.insert(2, lines.pop(1))),
        PREDICTIONS,
        "line 2 (.*) is out of order",
    ),
    "NaN": (lambda f: replace_cell(f, PREDICTIONS, 5, 4, b"nan"), PREDICTIONS, "line 6 (.*): score is 'nan'"),
    "above 1": (
        lambda f: replace_cell(f, PREDICTIONS, 5, 4, b"1.0000001"),
        PREDICTIONS,
        "line 6 (.*): the score 1.0000001 is not in [0, 1]",
    ),
    "below 0": (lambda f: replace_cell(f, PREDICTIONS, 5, 4, b"-1e-9"), PREDICTIONS, "the score -1e-09 is not in"),
    "1e400": (lambda f: replace_cell(f, PREDICTIONS, 5, 4, b"1e400"), PREDICTIONS, "the score inf is not in"),
    "unknown column": (
        lambda f: edit_lines(f, PREDICTIONS, lambda lines: lines.__setitem__(0, lines[0].replace(b"clip", b"subject"))),
        PREDICTIONS,
        "line 1: unknown column 'subject'",
    ),
    "not UTF-8": (lambda f: replace_cell(f, PREDICTIONS, 5, 3, b"\xff"), PREDICTIONS, "line 6: is no UTF-8"),
    "an episode is gone": (
        lambda f: edit_lines(f, EPISODES, lambda lines: lines.pop(5)),
        EPISODES,
        "shots 2, episode 4 is missing",
    ),
    "an episode is doubled": (
        lambda f: edit_lines(f, EPISODES, lambda lines: lines.insert(5, lines[5])),
        EPISODES,
        "line 7: shots 2, episode 4 stands there twice",
    ),
    "an episode too many": (
        lambda f: edit_lines(f, EPISODES, lambda lines: lines.append(lines[-1].replace(b"4,19", b"4,20"))),
        EPISODES,
        "line 62: shots 4, episode 20: the protocol has episodes 0 to 19",
    ),
    "other shots": (
        lambda f: edit_lines(f, EPISODES, lambda lines: lines.append(lines[-1].replace(b"4,19", b"5,0"))),
        EPISODES,
        "line 62: shots 5, episode 0: results.json has no such shots",
    ),
    "queries of two episodes swapped": (
        lambda f: edit_lines(f, EPISODES, lambda lines: _swap(lines, 4)),
        "",
        "episode 0.*|query",
    ),
}


@pytest.mark.parametrize("labels", [True, False], ids=["labels", "no labels"])
@pytest.mark.parametrize("case", TABLES)
def test_a_changed_table_is_refused_by_row_though_its_hash_fits(
    folder: Path, references: dict[str, Reference], case: str, labels: bool
) -> None:
    harm, file, sentence = TABLES[case]
    harm(folder)
    said = refused(folder, references if labels else {})
    assert file in said
    pattern = ".*".join(re.escape(part) for part in sentence.split(".*")) if "|" not in sentence else sentence
    assert re.search(pattern, said), said


@pytest.mark.parametrize("name", [PREDICTIONS, EPISODES, RESULTS])
def test_a_hash_in_the_card_binds_each_file(folder: Path, references: dict[str, Reference], name: str) -> None:
    field = {PREDICTIONS: "predictions", EPISODES: "episodes", RESULTS: "results"}[name]
    edit_card(folder, lambda card: card["hashes"].update({field: "0" * 64}))
    said = refused(folder, references)
    assert name in said
    assert f"hashes.{field} {'0' * 64}" in said


def test_a_swapped_episode_hash_is_named_where_the_episodes_are_known(
    folder: Path, references: dict[str, Reference]
) -> None:
    edit_lines(folder, EPISODES, lambda lines: _swap(lines, 2))
    said = refused(folder, references)
    assert f"line 2: shots 2, episode 0: digest is {hashed('episode 0 2 1')}" in said
    assert hashed("episode 0 2 0") in said


def test_another_data_sets_hash_is_named(folder: Path, references: dict[str, Reference]) -> None:
    edit_card(folder, lambda card: card["track"]["data"].update(manifest="f" * 64))
    said = refused(folder, references)
    assert "track.data.manifest is " + "f" * 64 in said
    assert hashed("manifest 0") in said
    edit_card(folder, lambda card: card["track"]["data"].update(manifest=hashed("manifest 0"), pool="f" * 64))
    assert "track.data.pool is " + "f" * 64 in refused(folder, references)


def test_rendered_data_cannot_be_passed_off_as_a_hospitals(folder: Path, references: dict[str, Reference]) -> None:
    edit_card(folder, lambda card: card["track"]["data"].update(name="ward-7", rendered=False))
    assert "track.data.rendered is False" in refused(folder, references)


def _card_on_another_track(folder: Path, **data: object) -> None:
    edit_card(folder, lambda card: (card["track"].update(seed=1), card["track"]["data"].update(data)))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"name": "ward-7", "rendered": False}, "track.data.rendered is False"),
        ({"name": "ward-7", "rendered": False, "manifest": "f" * 64}, "track.data.rendered is False"),
        ({"name": "ward-7", "rendered": False, "pool": "f" * 64}, "track.data.rendered is False"),
        ({"name": "ward-7"}, "track.data.name is ward-7"),
        ({"name": "ward-7", "manifest": "f" * 64, "patients": 99}, "track.data.patients is 99"),
        ({"name": "ward-7", "manifest": "f" * 64, "positives": 99}, "track.data.positives is 99"),
        ({"name": "ward-7", "manifest": "f" * 64, "negatives": 99}, "track.data.negatives is 99"),
        (
            {"name": "ward-7", "rendered": False, "manifest": "f" * 64, "pool": "f" * 64},
            "its clips are those of the data set 'made-up-0'",
        ),
        ({"name": "ward-7", "manifest": "f" * 64, "pool": "f" * 64}, "its clips are those of the data set 'made-up-0'"),
    ],
)
def test_known_data_stay_what_they_are_on_any_track(
    folder: Path, references: dict[str, Reference], data: dict[str, object], sentence: str
) -> None:
    _card_on_another_track(folder)
    assert verify(folder, references).status == "reported"
    _card_on_another_track(folder, **data)
    assert sentence in refused(folder, references)


def test_known_data_bear_their_name_on_their_own_track_too(folder: Path, references: dict[str, Reference]) -> None:
    edit_card(folder, lambda card: card["track"]["data"].update(name="ward-7"))
    assert "track.data.name is ward-7, that of the reference made-up-0" in refused(folder, references)


def test_labels_at_hand_may_be_of_data_with_another_name_outside(folder: Path, drawn: Drawn) -> None:
    edit_card(folder, lambda card: card["track"]["data"].update(name="ward-7"))
    assert verify(folder, {}, drawn.reference).status == "re-scored"
    _card_on_another_track(folder)
    assert verify(folder, {}, drawn.reference).status == "reported"
    _card_on_another_track(folder, rendered=False)
    with pytest.raises(BadInput, match=r"track\.data\.rendered is False"):
        verify(folder, {}, drawn.reference)


def test_more_clips_than_the_data_have_are_refused_without_labels(folder: Path) -> None:
    def thin(content: dict) -> None:
        for scores in (*content["per_shot"], content["averaged"]):
            scores.update(positive_clips=None)

    edit_json(folder, RESULTS, thin)
    edit_card(folder, lambda card: card["track"]["data"].update(positives=23))
    assert "has predictions of 48 clips, track.data has 47" in refused(folder, {})


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ({"size": "base", "init": "k400"}, "method.init is 'k400', yet method.weights is null"),
        ({"size": "base", "init": "k400-ssl", "name": "m(stage1=cccccccc)"}, "yet method.weights is null"),
        ({"size": "base", "init": "Random"}, "method.init is 'Random', yet method.weights is null"),
        ({"size": "tiny", "init": "k400", "weights": "a" * 64}, "yet method.size is tiny"),
        ({"size": "tiny", "init": "-"}, "method.size is tiny, whose method.init can only be random"),
    ],
)
def test_initial_weights_of_nowhere_are_refused(
    folder: Path, references: dict[str, Reference], method: dict[str, str], sentence: str
) -> None:
    stage = {"what": "stage 1", "weights": "b" * 64, "rendered": False, "test_patients": 0}
    edit_card(folder, lambda card: (card["method"].update(method), card["pretraining"].append(stage)))
    assert sentence in refused(folder, references)
    edit_card(folder, lambda card: card["method"].update(size="base", init="k400", weights="a" * 64))
    verify(folder, references)


def test_a_row_that_is_named_by_its_stage_1_needs_no_other_weights(
    folder: Path, references: dict[str, Reference]
) -> None:
    stage = {"what": "stage 1", "weights": "b" * 64, "rendered": False, "test_patients": 0}
    told = {"size": "base", "init": "k400-ssl", "name": "m(stage1=bbbbbbbb)"}
    edit_card(folder, lambda card: (card["method"].update(told), card["pretraining"].append(stage)))
    verify(folder, references)


@pytest.mark.parametrize(
    ("part", "changes", "sentence"),
    [
        ("task", {"sop_s": 4.0}, "track.task.sop_s is 4.0, that of the shipped forecast_5s is 5.0"),
        ("task", {"name": "Forecast_5s"}, "track.task.name is Forecast_5s, that of the shipped forecast_5s"),
        ("protocol", {"donors": 3}, "track.protocol.donors is 3, that of the shipped patient_disjoint is 2"),
        ("task", {"sop_s": 4.0, "name": "forecast_4s"}, None),
        ("task", {"window_s": 4.0, "onset_type": "eeg", "description": "of our own"}, None),
        ("protocol", {"description": "of our own"}, None),
    ],
)
def test_a_shipped_specs_name_stands_for_it_but_for_what_run_lets_one_change(
    folder: Path, part: str, changes: dict[str, object], sentence: str | None
) -> None:
    edit_card(folder, lambda card: card["track"][part].update(changes))
    if sentence is None:
        assert verify(folder, {}).status == "reported"
    else:
        said = refused(folder, {})
        assert sentence in said
        assert "give it a name of its own" in said


def test_predictions_of_another_data_set_are_refused(
    root: Path, folder: Path, references: dict[str, Reference]
) -> None:
    other = write_submission(root / "other", draw_track(1), 1, scored_claims=False)
    for name in (PREDICTIONS, EPISODES, RESULTS):
        data = b"".join(lines_of(other, name))
        put(folder, name, data)
    assert f"{EPISODES}: line 2: shots 2, episode 0: digest is" in refused(folder, references)


LAYOUT: dict[str, tuple[Harm, str]] = {
    "no predictions": (lambda f: (f / PREDICTIONS).unlink(), f"{PREDICTIONS}: is missing"),
    "no results": (lambda f: (f / RESULTS).unlink(), f"{RESULTS}: is missing"),
    "no environment": (lambda f: (f / "environment.json").unlink(), "environment.json: is missing"),
    "parquet": (lambda f: (f / "predictions.parquet").write_bytes(b"PAR1"), "predictions.parquet: is none of"),
    "hidden": (lambda f: (f / ".git").mkdir(), ".git: is none of"),
    "printed rows": (lambda f: (f / "reported.yaml").write_text("rows: []"), "reported.yaml: does not belong"),
    "other case": (lambda f: (f / RESULTS).rename(f / "Results.json"), "Results.json: is none of"),
    "unknown field": (lambda f: edit_card(f, lambda c: c.update(frames="x")), "unknown field 'frames'"),
    "not UTF-8": (lambda f: (f / "submission.yaml").write_bytes(b"a: 1\nb: \xff\n"), "line 2 is no UTF-8"),
    "environment not UTF-8": (lambda f: (f / "environment.json").write_bytes(b'{"\xff": 1}'), "line 1 is no UTF-8"),
    "contradiction": (lambda f: edit_card(f, lambda c: c.update(content="results")), "contradict each other"),
    "a place": (
        lambda f: edit_card(f, lambda c: c["method"]["settings"].update(weights="/home/someone/w.pt")),
        "method.settings.weights: '/home/someone/w.pt' is a place on a computer",
    ),
}


@pytest.mark.parametrize("case", LAYOUT)
def test_a_folder_of_another_layout_is_refused(folder: Path, references: dict[str, Reference], case: str) -> None:
    harm, sentence = LAYOUT[case]
    harm(folder)
    assert sentence in refused(folder, references)


def _figure(content: dict, value: object, interval: object = None) -> None:
    content["per_shot"][1]["metrics"]["roc_auc"].update(value=value, interval=interval)


CLAIMS: dict[str, tuple[Callable[[dict], object], str]] = {
    "above 1": (lambda c: _figure(c, 1.01), "per_shot.1.metrics.roc_auc.value"),
    "interval beyond 1": (
        lambda c: c["averaged"]["metrics"]["brier"]["interval"].update(high=2.0),
        "averaged over shots",
    ),
    "outside its interval": (lambda c: c["per_shot"][0]["metrics"]["pr_auc"].update(value=0.0), "outside its interval"),
    "few patients": (
        lambda c: c["per_shot"][2].update(patients=4),
        "shots 4, balanced_accuracy: stands on fewer than 5",
    ),
    "suppressed, yet there": (
        lambda c: c["per_shot"][0]["metrics"]["brier"].update(suppressed=True),
        "shots 2, brier: stands on fewer than 5",
    ),
    "a metric is missing": (lambda c: c["averaged"]["metrics"].pop("roc_auc"), "roc_auc is missing"),
    "shots twice": (lambda c: c["per_shot"].append(c["per_shot"][0]), "per_shot has the shots 2, 3, 4, 2"),
    "more patients than there are": (
        lambda c: c["per_shot"][0].update(patients=13),
        "shots 2: patients is 13, track.data has 12",
    ),
    "more positive clips than there are": (
        lambda c: c["averaged"].update(positive_clips=25),
        "shots 2, 3, 4: positive_clips is 25, track.data has 24",
    ),
    "more negative clips than there are": (
        lambda c: c["averaged"].update(negative_clips=25),
        "negative_clips is 25, track.data has 24",
    ),
    "an average that is none": (
        lambda c: c["averaged"]["metrics"]["roc_auc"].update(value=c["averaged"]["metrics"]["roc_auc"]["value"] + 2e-9),
        "averaged over shots 2, 3, 4: roc_auc is",
    ),
    "averaged over others": (lambda c: c["averaged"].update(shots=[2, 5]), "averaged is over the shots 2, 5"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_figures_that_contradict_themselves_are_refused(
    folder: Path, references: dict[str, Reference], case: str
) -> None:
    change, sentence = CLAIMS[case]
    edit_json(folder, RESULTS, change)
    said = refused(folder, references)
    assert RESULTS in said
    assert sentence in said


def test_a_results_card_has_no_predictions_and_stays_reported(root: Path, drawn: Drawn) -> None:
    predictions = predictions_of(drawn, 1)
    method = read_card(root / "made-up-0001").method
    write_files(
        root / "card", drawn, None, claims(predictions, drawn.reference), method.model_copy(update={"name": "card"})
    )
    write_files(root / "few", drawn, None, withheld(drawn), method.model_copy(update={"name": "few"}))
    found = {one.name: one for one in verify_all(root)}
    for name in ("card", "few"):
        assert found[name].status == "reported"
        assert found[name].predictions is None
    assert found["few"].results.averaged.patients is None


def test_replicates_must_all_be_there(root: Path, drawn: Drawn, references: dict[str, Reference]) -> None:
    predictions = predictions_of(drawn, 1, replicates=2)
    method = read_card(root / "made-up-0001").method
    write_files(root / "two", drawn, predictions, withheld(drawn, replicates=2), method)
    assert len(verify(root / "two", references).predictions) == 4800
    write_files(root / "three", drawn, predictions, withheld(drawn, replicates=3), method)
    assert "shots 2, episode 0, replicate 2: all predictions are missing" in refused(root / "three", references)


@pytest.mark.parametrize("name", ["MADE-UP 2", "Made-up 2", "made-up\u20072", "ｍade-up 2", "made-up  2", "made-up ２"])
def test_names_that_differ_in_case_width_or_spaces_alone_are_refused(root: Path, name: str) -> None:
    edit_card(root / "made-up-0001", lambda card: card["method"].update(name=name))
    with pytest.raises(BadInput, match="in case, width or spaces alone") as refusal:
        verify_all(root)
    assert "made-up-0002" in str(refusal.value)
    assert "made-up-0001" in str(refusal.value)


def test_one_name_may_stand_for_two_sizes_and_on_two_tracks_but_not_twice_for_the_same(root: Path) -> None:
    edit_card(root / "made-up-0001", lambda card: card["method"].update(name="made-up 2", size="tiny", init="random"))
    write_submission(root / "elsewhere", draw_track(1), 2, scored_claims=False)
    assert len(verify_all(root)) == 4
    edit_card(root / "made-up-0001", lambda card: card["method"].update(size="-", init="-"))
    with pytest.raises(BadInput, match="is in made-up-0001 already"):
        verify_all(root)


def test_the_same_predictions_may_not_stand_on_a_track_twice(root: Path) -> None:
    copy = Path(shutil.copytree(root / "made-up-0001", root / "zz-copy"))
    edit_card(copy, lambda card: card["method"].update(name="our own"))
    with pytest.raises(BadInput, match="its predictions are those of made-up-0001") as refusal:
        verify_all(root)
    assert str(copy) in str(refusal.value)
    edit_card(copy, lambda card: card["track"].update(seed=1))
    assert len(verify_all(root)) == 4


def write_reported(folder: Path, rows: list[dict]) -> None:
    folder.mkdir()
    text = yaml.safe_dump({"rows": rows})
    card = {
        "content": "reported",
        "source": "A paper",
        "authors": ["A. Author"],
        "licence": "CC-BY-4.0",
        "track": dict.fromkeys(("name", "task", "protocol", "data", "onset_type"), "as printed"),
        "note": "Only printed.",
        "shots": [2, 3],
        "reported": hashlib.sha256(text.encode()).hexdigest(),
    }
    (folder / "submission.yaml").write_text(yaml.safe_dump(card))
    (folder / "reported.yaml").write_text(text)


def test_printed_rows_are_accepted_bound_by_their_hash_and_told_apart(root: Path) -> None:
    row = {"name": "CSN", "kind": "method", "balanced_accuracy": 0.5, "roc_auc": 0.6, "pr_auc": 0.7}
    write_reported(root / "paper", [row, {**row, "name": "X3D"}])
    found = {one.name: one for one in verify_all(root)}
    assert found["paper"].status == "reported"
    assert [r.name for r in found["paper"].reported.rows] == ["CSN", "X3D"]
    (root / "paper" / "reported.yaml").write_text("rows: []\n")
    assert "yet" in refused(root / "paper", {})
    write_reported(root / "alike", [row, {**row, "name": "csn"}])
    assert "look alike" in refused(root / "alike", {})


def test_reproduced_is_said_of_the_very_predictions_that_were(root: Path) -> None:
    hashes = read_card(root / "made-up-0001").hashes
    header = "submission,predictions,max_difference,tolerance\n"
    (root / "reproduced.csv").write_text(f"{header}made-up-0001,{hashes.predictions},3e-08,1e-06\n")
    assert [one.status for one in verify_all(root)] == ["re-scored", "reproduced", "re-scored"]
    (root / "reproduced.csv").write_text(f"{header}made-up-0001,{'0' * 64},3e-08,1e-06\n")
    assert [one.status for one in verify_all(root)] == ["re-scored"] * 3
    (root / "reproduced.csv").write_text(f"{header}made-up-0001,{hashes.predictions},3e-05,1e-06\n")
    with pytest.raises(BadInput, match=r"reproduced\.csv: line 2: .*off by 3e-05"):
        verify_all(root)
    (root / "reproduced.csv").write_text(f"{header}made-up-0001,{hashes.predictions},3e-08,1.1e-06\n")
    with pytest.raises(BadInput, match=r"line 2: the tolerance of made-up-0001 is 1\.1e-06, 1e-06 is the most"):
        verify_all(root)


def test_what_is_no_submission_may_not_lie_under_the_root(root: Path) -> None:
    (root / "README.md").write_text("how to submit")
    assert len(verify_all(root)) == 3
    (root / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match="notes"):
        verify_all(root)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_command_tells_of_every_submission_and_every_fault(
    root: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(f"verify {root} --quiet") == 0
    said = capsys.readouterr()
    assert [line.split(": ")[1].split(";")[0] for line in said.out.splitlines()] == ["re-scored"] * 3
    assert not said.err
    replace_cell(root / "made-up-0000", PREDICTIONS, 1, 4, b"1.0000001")
    (root / "made-up-0002" / RESULTS).unlink()
    assert run_cli(f"verify {root} --quiet") == 2
    said = capsys.readouterr()
    assert [line.split("/")[-1].split(":")[0] for line in said.out.splitlines()] == ["made-up-0001"]
    assert [line[:7] for line in said.err.splitlines()] == ["error: "] * 2
    assert "1.0000001" in said.err.splitlines()[0]
    assert "results.json: is missing" in said.err.splitlines()[1]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("made-up-0001,2026-02-30", "2026-02-30 is no day"),
        ("made-up-0009,2026-02-03", "there is no submission made-up-0009"),
        ("made-up-0000,2026-02-03", "made-up-0000 stands there twice"),
        ("made-up-0001,3.2.2026", "write a date such as 2026-03-31"),
    ],
)
def test_the_command_looks_at_the_dates_of_a_root(
    root: Path, own_cache: Path, capsys: pytest.CaptureFixture[str], row: str, sentence: str
) -> None:
    (root / "joined.csv").write_text("submission,date\nmade-up-0000,2026-02-03\n")
    assert run_cli(f"verify {root} --quiet") == 0
    (root / "joined.csv").write_text(f"submission,date\nmade-up-0000,2026-02-03\n{row}\n")
    assert run_cli(f"verify {root} --quiet") == 2
    said = capsys.readouterr().err
    assert "joined.csv: line 3" in said
    assert sentence in said
    assert run_cli(f"verify {root / 'made-up-0001'} --quiet") == 0


def test_the_command_refuses_references_that_are_not_there(
    root: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(f"verify {root} --references {root / 'nowhere'} --quiet") == 2
    assert f"--references {root / 'nowhere'}: is no folder" in capsys.readouterr().err


def test_the_command_prints_json_for_machines(root: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "made-up-0002" / RESULTS).unlink()
    assert run_cli(f"verify {root / 'made-up-0001'} {root / 'made-up-0002'} --json --quiet") == 2
    content = json.loads(capsys.readouterr().out)
    sound, bad = content["submissions"]
    assert (sound["status"], sound["fault"], sound["claims_off_by"]) == ("re-scored", None, 0.0)
    assert bad["status"] is None
    assert content["faults"] == [bad["fault"]]


@pytest.mark.parametrize(
    "path", ["nothing", "empty", "", "made-up-0001/submission.yaml", "made-up-0001/../made-up-0001"]
)
def test_the_command_refuses_what_is_no_submission(
    root: Path, own_cache: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    (root / "empty").mkdir()
    assert run_cli(f"verify {root}/{path} --quiet" if path else "verify") == 2
    assert capsys.readouterr().err.count("error: ") == 1
