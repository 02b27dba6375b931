"""`submit`: what is in a submission, what is not, and what may not become one."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark import registry
from benchmark.baseline import Scale
from benchmark.run.records import RunFolder
from benchmark.run.tables import read_tables
from benchmark.score.metrics import METRICS
from benchmark.score.summary import score_run
from benchmark.submission import documents, files
from benchmark.submission.card import Method
from benchmark.submission.facts import parameters_of
from benchmark.submission.finished import methods_of
from benchmark.submission.ids import open_key, read_site_key, token
from benchmark.submission.reference import reference_of_run
from benchmark.submission.rescore import rescored
from benchmark.submission.submit import About, submit, submit_run
from benchmark.submission.verify import verify, verify_all
from benchmark.submission.writing import yaml_text
from tasks.errors import BadInput
from tests.benchmark.conftest import content_of, run_cli
from tests.benchmark.submission.house import house_clips, write_house_run

ME = About(authors=("A. Author",), data_name="clinic")


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """The user's settings, empty: no test makes a key elsewhere."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings"


@pytest.fixture
def site(settings):
    return settings / "seizure-bench" / "site.key"


@pytest.fixture
def run(tmp_path):
    return write_house_run(tmp_path / "run", shots=(2, 3), replicates=2)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "submissions"


def unpacked(folder: Path) -> dict[str, bytes]:
    """What is in every file below, unpacked; with the names of the files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found[str(path.relative_to(folder))] = gzip.decompress(data) if path.suffix == ".gz" else data
    return found


def refused(parts, run, out, about=ME, **options):
    with pytest.raises(BadInput) as error:
        submit(run, out, about, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence
    assert not out.exists() or not list(out.rglob("*.*"))


# What is in it


def test_a_method_a_folder_which_can_be_read_again(run, out, site):
    folders = submit(run, out, ME)
    assert folders == [out / "clinic-forecast-5s-good", out / "clinic-forecast-5s-poor"]
    assert sorted(out.iterdir()) == folders
    found = verify_all(out)
    assert [one.status for one in found] == ["reported", "reported"]
    card, key = found[0].card, read_site_key(site)
    assert (card.method.name, card.authors, card.ids, card.track.data.name) == (
        "good",
        ("A. Author",),
        "site",
        "clinic",
    )
    assert card.method.settings == {"k": 3}
    assert card.compute.model_dump() == {"device": "cpu (x86_64)", "units": 8, "fit_s": 4.0, "predict_s": 2.0}
    assert card.hashes.code == ("c0" * 32,)
    assert card.hashes.run == RunFolder(run).card().digest
    assert card.trained_on.endswith("2 or 3 clips a class, of 2 patients at most, none of them in its query")
    assert found[0].environment.versions == {"numpy": "2.0.0", "torch": "absent"}
    made = read_tables(run).made.query("method == 'good'")
    id_of = {token(key, "clip", clip): clip for clip in house_clips(8, 8)["clip_id"]}
    back = found[0].predictions.assign(clip_id=found[0].predictions["clip"].map(id_of))
    place = ["shots", "episode", "replicate", "clip_id"]
    left, right = (table.sort_values(place)[[*place, "score"]].to_numpy() for table in (back, made))
    assert (left == right).all()
    assert len(back) == len(made) > 0


def test_figures_are_those_of_score_and_hold_to_the_last_bit_where_the_labels_are(run, out, site, tmp_path):
    submit(run, out, ME)
    tables = read_tables(run)
    reference = reference_of_run(run, read_site_key(site))
    scores = {one.method: one for one in score_run(tables.made, tables.clips, tables.planned).methods}
    for name in ("good", "poor"):
        checked = verify(out / f"clinic-forecast-5s-{name}", {}, reference)
        assert checked.status == "re-scored"
        again = rescored(checked, tmp_path / "cache")
        assert again.claims_off_by == 0
        claims = [*checked.results.per_shot, checked.results.averaged]
        for claim, here, there in zip(
            claims,
            (*scores[name].per_shot, scores[name].averaged),
            (*again.scores.per_shot, again.scores.averaged),
            strict=True,
        ):
            assert (claim.shots, claim.patients) == (here.shots, here.counts.patients)
            for metric in METRICS:
                assert claim.metrics[metric].value == pytest.approx(here.metrics[metric].per_clip.value, abs=1e-12)
                assert claim.metrics[metric].interval == there.metrics[metric].per_clip.interval
    assert checked.results.replicates == 2


def test_averages_are_over_the_boards_shots_where_a_method_has_more(tmp_path, out):
    run = write_house_run(tmp_path / "run", ("good",), shots=(1, 2, 3, 4))
    (folder,) = submit(run, out, ME)
    results = files.read_results(folder)
    assert [one.shots for one in results.per_shot] == [(1,), (2,), (3,), (4,)]
    assert results.averaged.shots == (2, 3, 4)
    parts = [one.metrics["roc_auc"].value for one in results.per_shot[1:]]
    assert results.averaged.metrics["roc_auc"].value == pytest.approx(np.mean(parts), abs=1e-12)


def test_open_data_are_hashed_with_their_own_key_and_their_labels_may_go_along(tmp_path, out, settings):
    run = write_house_run(tmp_path / "run", rendered=True)
    outcome = submit_run(run, out, ME, with_labels=True)
    assert outcome.reference == out / "references" / "clinic-forecast-5s-clinical-patient-disjoint"
    assert [one.status for one in verify_all(out)] == ["re-scored", "re-scored"]
    assert verify_all(out)[0].reference.digest == reference_of_run(run, open_key("ab" * 32)).digest
    assert not settings.exists()
    refused(["--key", "leave it out"], run, tmp_path / "other", key=tmp_path / "key")


def test_labels_of_a_house_stay_there(run, out):
    refused(["--with-labels", "stay in the house"], run, out, with_labels=True)


@pytest.mark.parametrize("baseline", ["linear_probe", "xspecies_videomae", "cnn_lstm"])
def test_parameters_are_those_of_the_network_as_it_is_built(tmp_path, baseline):
    run = write_house_run(tmp_path / "run", (baseline,), unit={"size": "tiny", "init": "random", "settings": {}})
    adapter = registry.load(baseline)
    network = adapter(adapter.Settings(), Scale("tiny", "random", 5.0)).build(None, 0)
    unit = read_tables(run).records[0].unit
    assert parameters_of(unit) == sum(one.numel() for one in network.parameters())
    assert parameters_of(unit.model_copy(update={"size": "-"})) is None


def test_stage_1_and_published_weights_are_declared(tmp_path, out):
    fields = {
        **{"size": "base", "init": "k400-ssl", "weights": "d1" * 32, "stage1": "e2" * 32},
        "settings": {"mix": "+R(Y/N)", "stage1_epochs": 20},
    }
    said = {"pool": "mean", "stage1_video": "rendered"}
    (folder,) = submit(write_house_run(tmp_path / "run", ("good",), unit=fields, card=said), out, ME)
    card = files.read_card(folder)
    assert folder.name == "clinic-forecast-5s-good-stage1-e2e2e2e2-base-k400-ssl"
    assert (card.method.pool, card.method.weights) == ("mean", "d1" * 32)
    assert card.method.parameters is None  # nobody knows this method here
    assert [stage.model_dump() for stage in card.pretraining] == [
        {"what": "published weights (k400-ssl)", "weights": "d1" * 32, "rendered": False, "test_patients": 0},
        {"what": "stage 1, on the mix +R(Y/N), 20 epochs", "weights": "e2" * 32, "rendered": True, "test_patients": 0},
    ]


def test_several_states_of_the_code_are_all_declared(tmp_path, out):
    run = write_house_run(tmp_path / "run", ("good",), odd_unit={"code": "a1" * 32})
    (folder,) = submit(run, out, ME)
    assert files.read_card(folder).hashes.code == ("a1" * 32, "c0" * 32)


# What is not in it


@pytest.mark.parametrize("results_only", [False, True])
def test_nothing_but_hashes_leaves(tmp_path, out, site, results_only):
    settings = {"mix": "/srv/ward7/own.yaml", "notes": r"C:\ward7\x.csv", "k": 1}
    fields = {"settings": settings, "changed": {"mix": "/srv/ward7/own.yaml"}}
    run = write_house_run(tmp_path / "run", unit=fields, shots=(2, 3))
    submit(run, out, ME, results_only=results_only)
    key, clips = read_site_key(site), house_clips(8, 8)
    recordings = {clip.rpartition("@")[0] for clip in clips["clip_id"]}
    patients = set(clips["subject_id"])
    secret = {*clips["clip_id"], *recordings, *patients, "anna", "ward", "srv", str(tmp_path), "@", "born"}
    secret |= {token(key, "patient", patient) for patient in patients} | {key.hex()}
    tokens = {token(key, "clip", clip) for clip in clips["clip_id"]}
    found = unpacked(out)
    assert len(found) == (8 if results_only else 10)
    for name, data in found.items():
        text = name + "\n" + data.decode()
        assert not [one for one in secret if one.lower() in text.lower()], name
        assert not re.search(r"(19|20)\d\d-\d\d-\d\d|\d\d:\d\d", text), name
        assert any(one in text for one in tokens) == ("predictions" in name), name
        assert key not in data
    assert files.read_card(out / "clinic-forecast-5s-good-mix-own-yaml").method.settings["mix"] == "own.yaml"


def test_the_name_of_the_data_set_is_the_runs_unless_another_is_given(run, out):
    assert submit(run, out, About(name="x"), methods=["good"]) == [out / "x"]
    assert files.read_card(out / "x").track.data.name == "ward 7"


def test_a_results_card_has_figures_and_no_prediction(run, out, tmp_path):
    whole, card = submit(run, tmp_path / "whole", ME)[0], submit(run, out, ME, results_only=True)[0]
    assert sorted(path.name for path in card.iterdir()) == sorted(
        ["submission.yaml", "results.json", "environment.json", "episodes.csv"]
    )
    for name in ("results.json", "episodes.csv", "environment.json"):
        assert (card / name).read_bytes() == (whole / name).read_bytes()
    checked = verify(card, {})
    assert (checked.card.content, checked.card.hashes.predictions) == ("results", None)


@pytest.mark.parametrize(("patients", "shown"), [(4, False), (5, True)])
def test_cells_of_fewer_than_5_patients_with_a_positive_are_left_out(tmp_path, out, patients, shown):
    run = write_house_run(tmp_path / "run", ("good",), patients=9, with_positives=patients)
    outcome = submit_run(run, out, ME, results_only=True)
    (written,) = outcome.written
    assert written.content.small == (() if shown else (2,))
    results = verify(written.folder, {}).results
    for cell in (*results.per_shot, results.averaged):
        assert (cell.patients, cell.positive_clips, cell.negative_clips) == (
            (9, 2 * patients, 36 - 2 * patients) if shown else (None, None, None)
        )
        for figure in cell.metrics.values():
            assert figure.suppressed is not shown
            assert (figure.value is None) is not shown
            assert (figure.interval is None) is not shown


def test_an_average_is_left_out_with_any_of_its_cells(tmp_path, monkeypatch, out):
    run = write_house_run(tmp_path / "run", ("good",), shots=(2, 3))
    monkeypatch.setattr("benchmark.submission.content.small_cells", lambda made, clips: frozenset({3}))
    results = files.read_results(submit(run, out, ME)[0])
    hidden = {cell.shots: cell.metrics["roc_auc"].suppressed for cell in (*results.per_shot, results.averaged)}
    assert hidden == {(2,): False, (3,): True, (2, 3): True}


# The same bytes


def test_the_same_run_in_another_place_gives_the_same_bytes(run, out, tmp_path):
    submit(run, out, ME)
    shutil.copytree(run, tmp_path / "elsewhere" / "copy")
    submit(tmp_path / "elsewhere" / "copy", tmp_path / "other", ME)
    assert content_of(out) == content_of(tmp_path / "other")


def test_a_packed_file_tells_no_time_and_no_name(run, out):
    head = (submit(run, out, ME)[0] / "predictions.csv.gz").read_bytes()[:10]
    assert head[3] == 0
    assert head[4:8] == bytes(4)


def test_what_is_there_is_left_as_it_is_and_only_what_is_not_is_added(run, out):
    (first,) = submit(run, out, ME, methods=["good"])
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    outcome = submit_run(run, out, ME)
    assert [one.new for one in outcome.written] == [False, True]
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == before


@pytest.mark.parametrize("harm", ["other", "extra", "less", "file"])
def test_other_content_is_refused_with_exit_code_2_and_nothing_is_written(run, out, harm, capsys):
    (last,) = submit(run, out, ME, methods=["poor"])
    if harm == "other":
        (last / "results.json").write_text("{}")
    elif harm == "extra":
        (last / "notes.txt").write_text("mine")
    elif harm == "less":
        (last / "results.json").unlink()
    else:
        shutil.rmtree(last)
        last.write_text("mine")
    before = content_of(out)
    assert run_cli(f"submit {run} --out {out} --author 'A. Author' --data-name clinic") == 2
    said = capsys.readouterr()
    assert f"{last}: is there" in said.err
    assert said.out == ""
    assert content_of(out) == before


# Keys


def test_the_sites_key_is_made_at_first_use_and_used_again(run, out, site, tmp_path):
    first = submit_run(run, out, ME)
    assert (first.key.path, first.key.new) == (site, True)
    assert stat.S_IMODE(site.stat().st_mode) == 0o600
    again = submit_run(run, tmp_path / "again", ME)
    assert (again.key.secret, again.key.new) == (first.key.secret, False)


def test_another_key_gives_other_tokens_and_the_same_figures(run, out, tmp_path):
    one, other = (
        verify(submit(run, tmp_path / name, ME, key=tmp_path / f"{name}.key", methods=["good"])[0], {})
        for name in ("one", "other")
    )
    assert not set(one.predictions["clip"]) & set(other.predictions["clip"])
    assert not set(one.episodes["query"]) & set(other.episodes["query"])
    assert one.episodes["digest"].tolist() == other.episodes["digest"].tolist()
    assert sorted(one.predictions["score"]) == sorted(other.predictions["score"])
    for metric in METRICS:
        here, there = (found.results.averaged.metrics[metric].value for found in (one, other))
        assert here == pytest.approx(there, abs=1e-12)


def test_a_key_among_the_submissions_is_refused(run, out):
    refused(["--key", "would leave the house"], run, out, key=out / "site.key")
    assert not out.exists()


# What may not become one


def test_failed_and_missing_units_are_named(tmp_path, out):
    run = write_house_run(tmp_path / "failed", failed=(("poor", 2, 1), ("poor", 2, 3)))
    refused(["unit poor-2shot-e001-", "of poor has failed (and 1 more)", "--method"], run, out)
    assert submit(run, tmp_path / "good", ME, methods=["good"])
    run = write_house_run(tmp_path / "lost", lost=(("poor", 2, 3),))
    refused(["poor has no prediction at 2 shots, episode 3, replicate 0", "finish the run"], run, out)


def test_a_method_all_of_whose_units_failed_is_named(tmp_path, out):
    run = write_house_run(tmp_path / "run", failed=tuple(("poor", 2, episode) for episode in range(4)))
    refused(["unit poor-2shot-e000-", "of poor has failed (and 3 more)"], run, out)


def test_units_that_were_asked_otherwise_are_refused(tmp_path, out):
    run = write_house_run(tmp_path / "run", ("good",), odd_unit={"settings": {"k": 4}})
    refused(["units of good were run with different defaults"], run, out)


def test_a_control_is_refused(tmp_path, out):
    refused(["a control with permuted labels"], write_house_run(tmp_path / "run", permuted_labels=True), out)


def test_a_choice_among_the_episodes_is_refused(run, out):
    saved = json.loads((run / "episodes.json").read_text())
    (run / "episodes.json").write_text(json.dumps(saved[:-1]))
    for unit in (run / "units").glob("*-3shot-e003-*"):
        unit.unlink()
    refused(["episode 3 of 3 shots is not the one that protocol patient_disjoint draws with seed 0"], run, out)


def test_changed_labels_are_refused(run, out):
    table = pd.read_csv(run / "clips.csv")
    table.assign(label=1 - table["label"]).to_csv(run / "clips.csv", index=False)
    refused(["clips.csv", "not those of run.json"], run, out)


@pytest.mark.parametrize(
    ("about", "part"),
    [
        (About(authors=()), "authors: "),
        (About(authors=("A\u202eB",)), "U+202E"),
        (About(links=("http://example.org",)), "https"),
        (About(remarks="two\nlines"), "U+000A"),
        (About(licence=""), "licence: "),
        (About(data_name="a\u200bb"), "U+200B"),
        (About(remarks="/srv/ward7"), "place on a computer"),
    ],
)
def test_texts_that_would_not_be_read_again_are_refused(run, out, about, part):
    refused([part], run, out, about)


# Names


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"about": About(name="x")}, "--name x: 2 methods would have it"),
        ({"about": About(name="../x"), "methods": ["good"]}, "is no name of a folder"),
        ({"about": About(name="X"), "methods": ["good"]}, "is no name of a folder"),
        ({"about": About(name="references"), "methods": ["good"]}, "is the folder of labels"),
        ({"methods": ["god"]}, "--method god: is no method of"),
    ],
)
def test_names_of_nothing_are_refused(run, out, options, part):
    refused([part], run, out, **options)


def test_names_of_folders_are_plain_short_and_unique(tmp_path, out):
    run = write_house_run(tmp_path / "run", ("Gut ähnlich", "gut-ahnlich", "好", "x" * 150))
    names = [folder.name for folder in submit(run, out, About(data_name="../Clinic/ß"))]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"clinic-forecast-5s(-[a-z0-9-]+)?", name) and len(name) <= 80 for name in names)
    assert sum(name.startswith("clinic-forecast-5s-gut-ahnlich-") for name in names) == 2
    assert sorted(path.name for path in out.iterdir()) == sorted(names)


def test_methods_are_chosen_by_row_method_or_baseline(tmp_path, out):
    tiny = {"size": "tiny", "init": "random"}
    run = write_house_run(tmp_path / "run", ("good", "poor"), unit=tiny)
    assert len(submit(run, out, ME, methods=methods_of("good [tiny, random],poor"))) == 2
    assert methods_of("a(b=1, c=2), d [tiny, random],e") == ["a(b=1, c=2)", "d [tiny, random]", "e"]
    with pytest.raises(BadInput, match="empty name"):
        methods_of("a,,b")


# Texts


ODD = ["1e5", "1E5", "yes", "null", "~", "0x1f", "1_000", "1:30", "2026-01-01", "nan", ".inf", "inf", "12", "-", "- a"]
ODD += [
    "a: b",
    "#x",
    "a #b",
    "&a",
    "*a",
    "!t",
    "'",
    '"',
    "%a",
    "@a",
    "`a",
    "a\\",
    "{a}",
    "[a]",
    "?",
    "é",
    "好 " * 90 + "x",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_read_again_as_they_were(text):
    assert_read_again(text)


@given(st.text(min_size=1, max_size=200))
def test_texts_are_read_again_as_they_were(text):
    assert_read_again(text)


def assert_read_again(text):
    try:
        method = Method(name=text, baseline="b", settings={text: text, "list": (text, 1, 0.1, True, None)})
    except ValidationError:
        return
    if not documents.PLACE.fullmatch(text):
        assert Method.model_validate(documents.from_yaml(yaml_text(method))) == method


def test_floats_keep_their_last_bit_in_yaml():
    for value in (0.1, 1e-5, 1e22, 5e-324, 2.0, 1 / 3):
        method = Method(name="m", baseline="b", settings={"x": value})
        back = Method.model_validate(documents.from_yaml(yaml_text(method))).settings["x"]
        assert (back, type(back)) == (value, float)


# The command


def test_the_command_tells_what_has_left_the_house_and_under_which_key(run, out, site, capsys):
    command = f"submit {run} --method good --out {out} --author 'A. Author' --author B --data-name clinic"
    assert run_cli(command) == 0
    said = capsys.readouterr().out
    tables = read_tables(run)
    count = len(tables.made.query("method == 'good'"))
    assert f"{out / 'clinic-forecast-5s-good'}: written, {count} predictions" in said
    for name in ("submission.yaml", "results.json", "environment.json", "episodes.csv", "predictions.csv.gz"):
        assert name in said
    assert "At most 32 clips go by a keyed hash each; no hash of a patient is in it" in said
    assert "Not in it: labels of clips, ids of patients" in said
    assert "data 'clinic'" in said
    assert "authors: A. Author, B; licence: CC-BY-4.0" in said
    assert f"Key of the hashes: {site} (made now)" in said
    assert "null: " not in said
    assert run_cli(command + " --json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["written"][0]["new"] is False
    assert (content["clips"], content["ids"], content["key_is_new"]) == (32, "site", False)
    assert content["written"][0]["predictions"] == count


def test_the_command_says_what_is_left_out_of_few_patients_and_what_is_no_result(tmp_path, out, capsys):
    run = write_house_run(tmp_path / "run", ("good",), patients=4, rendered=True, split="develop")
    assert run_cli(f"submit {run} --out {out} --results-card --with-labels") == 0
    said = capsys.readouterr().out
    assert "results alone" in said
    assert "predictions.csv.gz" not in said
    assert "No clip goes by a name or hash of its own" in said
    assert "at 2 shots, and the averages over shots: fewer than 5 patients" in said
    assert "develop patients" in said
    assert "The video is rendered" in said
    assert f"{out / 'references'}" in said
    assert "Key of the hashes: that of the open manifest" in said


def test_a_run_of_real_videos_can_be_submitted(finished_run, out, site):
    (folder,) = submit(finished_run, out, About(data_name="small"))
    assert folder.name == "small-short-chance"
    checked = verify(folder, {})
    tables = read_tables(finished_run)
    assert len(checked.predictions) == len(tables.made) == len(tables.planned)
    reference = reference_of_run(finished_run, read_site_key(site))
    assert verify(folder, {reference.track.digest: reference}).status == "re-scored"
