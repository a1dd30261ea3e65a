# Two commands for everybody: `make run` and `make test`. Needs make, python3-venv and Python 3.11 to 3.13.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do command -v $$p >/dev/null 2>&1 && \
  $$p -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
DEMO := var/demo
# Two workers on two cores: libraries that thread by themselves would fight over them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help run setup test test-all check format bench

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.serving ## start the service with four demonstration studies; Ctrl-C ends it
	@mkdir -p $(DEMO)
	@FIRSTREAD_SETTLE_S=3 FIRSTREAD_LOG=$(DEMO)/log.jsonl $(BIN)/firstread up --demonstration --data $(DEMO)

setup: .venv/.complete ## install everything for development into .venv

test: .venv/.complete ## the fast tests, under two minutes
	$(PYTEST) -m 'not slow and not services'

test-all: .venv/.complete ## the other tests: slow ones and those that need services
	$(PYTEST) -m 'slow or services'

check: .venv/.complete ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.complete ## put the code into shape
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .
	$(BIN)/ruff check .

bench: .venv/.complete ## seconds and memory of each stage, beside the limit and a peer; writes bench*.json
	$(BIN)/python -m tests.bench --json bench.json
	$(BIN)/python -m tests.bench.service --json bench-service.json

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed"; \
	  echo "  hint: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module"; \
	  echo "  hint: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv

# Serving needs no torch: a network is an ONNX file by then.
.venv/.serving: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing what serving needs into .venv (a minute or two) ..."
	@$(PIP) --editable '.[cpu]'
	@touch $@

.venv/.complete: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing everything for development into .venv; this downloads PyTorch"
	@echo "(for its small CPU build set pip's find-links or extra index first, see docs/development.md) ..."
	@$(PIP) --editable '.[cpu,postgresql,ray,training,test]'
	@touch $@ .venv/.serving
