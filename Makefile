# make prosqa   trains, tests and predicts the default model
# make test     lint, types and tests
# Both set up all that they need in .venv, once. Another Python: make PYTHON=python3.12 …

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) -c \
	'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
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
	$(BIN)/python -m pytest -n 2 --dist loadfile

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lcot needs Python 3.11 or newer, and found none: make PYTHON=/path/to/python"; exit 1; }
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
