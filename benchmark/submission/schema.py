"""`submissions/schema.json`, made of the models that read submissions: `schema_text()`.

The schema is of an object with the parsed files by their names; `$defs` has each model on its own. What it cannot say,
such as invisible characters, hashes and completeness, `seizure-bench verify` checks.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from benchmark.submission import files
from benchmark.submission.card import Card, Environment, Reported, ReportedCard, Results

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """A JSON schema with a definition for each file."""
    models = (Card, ReportedCard, Results, Environment, Reported)
    refs, made = models_json_schema([(model, "validation") for model in models], title="A submission to seizure-bench")
    run, reported, results, environment, rows = (refs[model, "validation"] for model in models)
    of_run = {files.CARD: run, files.RESULTS: results, files.ENVIRONMENT: environment}
    of_paper = {files.CARD: reported, files.REPORTED: rows}
    return {
        "$schema": DIALECT,
        "title": made["title"],
        "description": "The YAML and JSON files of one folder, by name; `seizure-bench verify` checks the tables.",
        "oneOf": [_object(of_run), _object(of_paper)],
        "$defs": made["$defs"],
    }


def schema_text() -> str:
    """The same bytes for the same models."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
