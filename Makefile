# Two commands for everybody: `make demo` and `make test`. Both set up what they need on a fresh machine.
PYTHON ?= python3
DATA ?= ../shared/data
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check bench drawing clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("rlar-graph needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed ## Score the example data: no key, no GPU, no network
	$(BIN)/rlar score examples/mixed.jsonl --out scores.jsonl

test: $(VENV)/installed-dev ## Run all tests, offline
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev ## Lint, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(VENV)/installed-dev ## Print the figures the project claims, beside their rivals
	if test -d $(DATA); then $(BIN)/rlar eval $(DATA)/*.jsonl.gz --registry /tmp/rlar-bench.db; fi
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/maths.py
	$(BIN)/python benchmarks/sandbox.py --quick
	$(BIN)/python benchmarks/acquire.py --scripted
	$(BIN)/python benchmarks/server.py

drawing: $(VENV)/installed ## Draw the compiled graph into docs/architecture.md
	$(BIN)/python docs/draw_graph.py

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
