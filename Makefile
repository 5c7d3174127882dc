# Everything runs in .venv, made from requirements.txt the first time.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test check
train: .venv/ready
	$(BIN)/python train.py --config=configs/digits/diet.py
	$(BIN)/python eval.py --run=runs/digits-diet

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@
