# Everything runs in .venv, made from requirements.txt the first time.
PYTHON ?= python3
BIN := .venv/bin

STUDY ?= configs/studies/diet_small.py

.PHONY: train study test check
train: .venv/ready
	$(BIN)/python train.py --config=configs/digits.py:diet
	$(BIN)/python eval.py --run=runs/digits-diet

# Two processes share the runs, one on each of two cores; after a stop the same command goes on.
study: .venv/ready
	$(BIN)/python reproduce.py --study=$(STUDY) --shard=2/2 > /dev/null & other=$$!; \
	$(BIN)/python reproduce.py --study=$(STUDY) --shard=1/2; wait $$other || true
	$(BIN)/python reproduce.py --study=$(STUDY) --tables

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: requirements.txt requirements-test.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements-test.txt
	touch $@
