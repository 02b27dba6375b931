# `make demo` runs the main job, `make test` passes the tests; each does its own set-up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-lock

.PHONY: demo test setup lock check

demo: setup
	$(BIN)/seizure-bench run --model xspecies_videomae --shots 2,3,4

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(STAMP)

# The stamp is written last, so an interrupted installation is done again, not believed.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "seizure-bench needs Python 3.11, 3.12 or 3.13; name one with: make $(MAKECMDGOALS) PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# For maintainers, after changing pyproject.toml (needs uv).
lock:
	uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url \
		--no-header --python-version 3.11 --upgrade -o requirements.lock
