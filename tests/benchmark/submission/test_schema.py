"""submissions/schema.json is what the models say, and a stranger's tool can use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from benchmark.submission.schema import schema, schema_text
from tests.benchmark.conftest import run_cli

COMMITTED = Path(__file__).parents[3] / "submissions" / "schema.json"


@pytest.fixture(scope="session")
def documents(sound: Path) -> str:
    folder = sound / "made-up-0001"
    content = {name: json.loads((folder / name).read_text()) for name in ("results.json", "environment.json")}
    return json.dumps({**content, "submission.yaml": yaml.safe_load((folder / "submission.yaml").read_text())})


def test_the_committed_schema_is_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("verify --schema") == 0
    printed = capsys.readouterr().out
    assert printed == schema_text()
    assert COMMITTED.read_text() == printed, "seizure-bench verify --schema > submissions/schema.json"


def test_the_schema_is_a_schema_and_accepts_a_valid_submission(documents: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(documents), schema())


def test_the_schema_accepts_the_papers_printed_rows() -> None:
    folder = COMMITTED.parent / "paper-2603-12887"
    content = {name: yaml.safe_load((folder / name).read_text()) for name in ("submission.yaml", "reported.yaml")}
    jsonschema.validate(content, schema())


BAD: dict[str, Callable[[dict[str, Any]], object]] = {
    "no licence": lambda d: d["submission.yaml"].pop("licence"),
    "unknown field": lambda d: d["submission.yaml"].update(frames=[]),
    "no hash": lambda d: d["submission.yaml"]["hashes"].update(run="0" * 63),
    "above 1": lambda d: d["results.json"]["averaged"]["metrics"]["roc_auc"].update(value=1.0000001),
    "too long a name": lambda d: d["submission.yaml"]["method"].update(name="x" * 201),
    "a file too many": lambda d: d.update({"labels.csv": []}),
    "a file missing": lambda d: d.pop("results.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_the_schema_refuses_what_verify_refuses(documents: str, case: str) -> None:
    content = json.loads(documents)
    BAD[case](content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema())
