# `make demo` runs the main job, `make test` passes the tests, `make leaderboard` makes the demo's rows and the board
# anew; each does its own set-up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-lock

QUICK := chance,clip_metadata,motion_energy,motion_features,linear_probe,zero_shot,probe_first_frame,probe_shuffled_time,probe_background
ALL := $(QUICK),human_only,xspecies_videomae,csn,x3d,slowfast,cnn_lstm

.PHONY: demo test leaderboard setup browser lock check

demo: setup
	$(BIN)/seizure-bench run --model xspecies_videomae --shots 2,3,4

# Two processes with a thread each; a file's tests stay together, for they share what they made, and go in the folders' order,
# which puts short files last.
test: setup browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Finished units are kept under runs/, so a second call only scores and draws. About 40 minutes on 2 cores at first.
# The positive control is run by the methods that take seconds.
leaderboard: setup
	$(BIN)/seizure-bench run --model $(ALL) --shots 2,3,4 --out runs/board-forecast
	$(BIN)/seizure-bench run --model $(QUICK) --shots 2,3,4 --task detect_ictal --out runs/board-detect
	rm -rf submissions/demo-* submissions/references/demo-*
	for run in runs/board-forecast runs/board-detect; do \
		$(BIN)/seizure-bench submit $$run --with-labels --author seizure-bench --licence CC0-1.0 || exit; done
	$(BIN)/seizure-bench verify submissions
	$(BIN)/seizure-bench leaderboard --out docs/leaderboard

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

# The board's page is tested in Debian's chromium. Where it cannot be installed those tests are skipped (never in CI).
browser:
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && \
		$(if $(filter 0,$(shell id -u)),,sudo -n) sh -c 'apt-get update -qq && apt-get install -y -qq chromium' >/dev/null; } \
		|| echo "no chromium: the tests of the board's page will be skipped"

# For maintainers, after changing pyproject.toml (needs uv).
lock:
	uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url \
		--no-header --python-version 3.11 --upgrade -o requirements.lock
