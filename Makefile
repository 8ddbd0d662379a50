# The four commands; everything else is behind them. `scripts/setup` says what it installs before it does.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
BENCHMARKS := adapters chat crash end_to_end intents orchestrator private_learning replicas sandbox secagg storage torture training

.PHONY: help chat test check bench clean

help:
	@echo "make chat    set up what chatting needs, and start the assistant"
	@echo "make test    set up everything, and run every check and test"
	@echo "make check   lint, types and import rules only"
	@echo "make bench   the benchmarks, side by side with their peers"

chat: $(VENV)/.chat
	@exec $(BIN)/claw

test: check
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	@status=0; for bench in $(BENCHMARKS); do \
	  echo; echo "== $$bench"; $(BIN)/python benchmarks/$$bench.py || status=1; done; exit $$status

$(VENV)/.chat: pyproject.toml scripts/setup
	@scripts/setup chat

$(VENV)/.dev: pyproject.toml scripts/setup
	@scripts/setup dev

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
