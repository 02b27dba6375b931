"""`verify` inside a house: labels of a run, and the maintainers' own run of a submitted method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.submission.files import read_card
from benchmark.submission.submit import About, submit
from tests.benchmark.conftest import run_cli
from tests.benchmark.submission.house import write_house_run
from tests.benchmark.submission.tampering import edit_card


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_house_run(tmp_path / "run")


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """The submission of one of the run's methods, under the site's key."""
    good, _ = submit(run, tmp_path / "submissions", About(("A. Author",), "MIT", (), None, None, None))
    return good


def said(capsys: pytest.CaptureFixture[str], command: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run_cli(f"{command} --quiet") == code
    both = capsys.readouterr()
    return both.out if code != 2 else both.err


def test_without_labels_figures_stay_reported_with_those_of_a_run_they_are_scored_again(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ": reported;" in said(capsys, f"verify {folder}")
    assert ": re-scored;" in said(capsys, f"verify {folder} --labels {run}")


def test_another_key_is_found_out(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.key").write_bytes(bytes(32))
    (tmp_path / "other.key").chmod(0o600)
    sentence = said(capsys, f"verify {folder} --labels {run} --key {tmp_path / 'other.key'}", 2)
    assert "episodes.csv: line 2" in sentence
    assert "query is" in sentence
    assert "no.key" in said(capsys, f"verify {folder} --labels {run} --key {tmp_path / 'no.key'}", 2)
    assert not (tmp_path / "no.key").exists()


def _shifted(run: Path, by: float) -> None:
    """Move one score of every unit."""
    for path in (run / "units").glob("*.json"):
        record = json.loads(path.read_text())
        scores = record["predictions"]["scores"][0]
        scores[0] += by if scores[0] < 0.5 else -by
        path.write_text(json.dumps(record))


def test_a_run_of_the_same_method_is_compared_score_by_score(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed = read_card(folder).hashes.predictions
    command = f"verify {folder} --reproduced-by {run}"
    assert f"\n{folder.name},{hashed},0.0,1e-06\n" in said(capsys, command)
    _shifted(run, 5e-7)
    line = said(capsys, command).splitlines()[-1]
    name, predictions, difference, tolerance = line.split(",")
    assert (name, predictions, tolerance) == (folder.name, hashed, "1e-06")
    assert float(difference) == pytest.approx(5e-7, rel=1e-6)
    (folder.parent / "reproduced.csv").write_text(f"submission,predictions,max_difference,tolerance\n{line}\n")
    assert ": reproduced;" in said(capsys, f"verify {folder} --labels {folder.parent.parent / 'run'}")
    assert "not reproduced" in said(capsys, f"{command} --tolerance 1e-7", 1)
    content = json.loads(said(capsys, f"{command} --json"))
    assert content["reproduction"]["max_difference"] == float(difference)


def test_a_run_of_something_else_reproduces_nothing(
    folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {
        "another track": write_house_run(tmp_path / "larger", patients=9),
        "has no good": write_house_run(tmp_path / "methods", ("poor",)),
        "only the submission has the prediction": write_house_run(tmp_path / "lost", lost=(("good", 2, 0),)),
    }
    for what, other in others.items():
        assert what in said(capsys, f"verify {folder} --reproduced-by {other}", 2)
    assert "2 submissions are named" in said(capsys, f"verify {folder.parent} --reproduced-by {run}", 2)


def test_a_results_card_has_nothing_to_reproduce(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = About(("A. Author",), "MIT", (), None, None, None)
    folder, _ = submit(run, tmp_path / "cards", about, results_only=True)
    assert ": reported;" in said(capsys, f"verify {folder} --labels {run}")
    assert "no predictions to compare" in said(capsys, f"verify {folder} --reproduced-by {run}", 2)


def test_nothing_is_reproduced_by_a_faulty_submission(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_card(folder, lambda card: card["hashes"].update(predictions="0" * 64))
    assert "hashes.predictions" in said(capsys, f"verify {folder} --reproduced-by {run}", 2)
