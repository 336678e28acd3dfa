# make prosqa   trains, tests and predicts the default model
# make softcot  trains SoftCoT's two models, then SoftCoT with its baselines and controls, and prints their table
# make test     lint, types and tests
# All set up what they need in .venv, once. Another Python: make PYTHON=python3.12 …

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) -c \
	'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin

.PHONY: prosqa softcot test clean

prosqa: .venv/installed
	$(BIN)/python -m lcot fit -c configs/prosqa.yaml --resume=true
	$(BIN)/python -m lcot test -c configs/prosqa.yaml
	$(BIN)/python -m lcot predict -c configs/prosqa.yaml

# The language model reads facts and hints; the assistant knows one ontology. They do not wait for one another.
LLM := -c configs/prosqa_deeper.yaml -c configs/methods/hints.yaml --data.symbols=40 --data.nodes=[6,9] --trainer.max_epochs=24
SOFTCOT := softcot softcot_pp softcot_shuffled softcot_zeros softcot_random zero_shot_cot cot_unk assist_cot \
	softcot_lora softcot_coconut

softcot: .venv/installed
	$(BIN)/python -m lcot fit -c configs/closed_prosqa.yaml --name softcot-assistant --resume=true \
		--trainer.enable_progress_bar=false & other=$$!; \
	$(BIN)/python -m lcot fit $(LLM) --name softcot-llm --resume=true && wait $$other
	$(BIN)/python -m lcot compare -c configs/softcot_prosqa.yaml --methods $(SOFTCOT) --seeds 0 1 2 --jobs 2 \
		--runs_dir runs/softcot --markdown runs/softcot/table.md

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lcot needs Python 3.11 or newer, and found none: make PYTHON=/path/to/python"; exit 1; }
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all]'
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
