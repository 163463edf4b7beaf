# Two commands for everybody: `make demo` and `make test`. Both set up what they need on a fresh machine.
PYTHON ?= python3
DATA ?= ../shared/data
VENV := .venv
BIN := $(VENV)/bin
MORE := .venv-more
VERIFIERS := .venv-verifiers
MORE_TESTS := tests/models tests/scale tests/trainers

.DEFAULT_GOAL := help
.PHONY: help demo test more test-more check bench drawing clean

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
	$(BIN)/python -m pytest -n 2 --dist loadfile  # they wait more than they compute

$(MORE)/installed: pyproject.toml tests/constraints.txt tests/trainers/requirements.txt tests/trainers/no-deps.txt
	$(PYTHON) -m venv $(MORE)
	$(MORE)/bin/python -m pip install --quiet -c tests/constraints.txt --editable '.[dev,local,postgres,ray,trl]' \
	  -r tests/trainers/requirements.txt
	$(MORE)/bin/python -m pip install --quiet --no-deps -r tests/trainers/no-deps.txt
	@touch $@

$(VERIFIERS)/installed: pyproject.toml tests/trainers/verifiers.txt
	$(PYTHON) -m venv $(VERIFIERS)
	$(VERIFIERS)/bin/python -m pip install --quiet --editable . -r tests/trainers/verifiers.txt
	@touch $@

more: $(MORE)/installed $(VERIFIERS)/installed ## Install torch, trainers and Ray, apart from the rest (3 GB)

test-more: more ## Run the tests that need them, and PostgreSQL where it is installed
	$(MORE)/bin/python -m pytest $(MORE_TESTS)
	$(MORE)/bin/python -m pytest tests/registry -k postgresql
	$(VERIFIERS)/bin/python -m pytest tests/trainers/test_verifiers.py

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
	if test -d $(DATA); then $(BIN)/python benchmarks/lazy_policies.py; fi
	$(BIN)/python benchmarks/acquire.py --scripted
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/machine.py
	if test -e $(MORE)/installed; then \
	  $(MORE)/bin/python benchmarks/reward_model.py && $(MORE)/bin/python benchmarks/ray_sandbox.py; fi

drawing: $(VENV)/installed ## Draw the graph into docs/architecture.md and docs/studio.md, list the settings in docs/settings.md
	$(BIN)/python docs/draw_graph.py
	$(BIN)/python docs/list_settings.py

clean: ## Remove the virtual environments and caches
	rm -rf $(VENV) $(MORE) $(VERIFIERS) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
