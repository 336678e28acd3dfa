# make prosqa   trains, tests and predicts the default model (about 15 minutes on two CPU cores)
# make test     lint, types and tests
# Both set up everything that they need in .venv by themselves.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: prosqa test clean

prosqa: .venv/installed
	$(BIN)/python -m lcot fit -c configs/prosqa.yaml --resume=true
	$(BIN)/python -m lcot test -c configs/prosqa.yaml
	$(BIN)/python -m lcot predict -c configs/prosqa.yaml

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("lcot needs Python 3.11 or newer: make PYTHON=python3.11" * (sys.version_info < (3, 11)))'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
