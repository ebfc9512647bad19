# Everything a person does here. `make demo` and `make test` set themselves up; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
APT_PACKAGES := chromium fonts-dejavu-core prometheus redis-server

export DAGSTER_HOME ?= $(CURDIR)/.dagster
export LLM_ASSETS_ROOT ?= $(CURDIR)/data

.DEFAULT_GOAL := help
.PHONY: help demo dev test check torture bench format clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(DAGSTER_HOME)/dagster.yaml:
	@mkdir -p $(@D)
	@test -e $@ || ln -s $(CURDIR)/dagster.yaml $@

demo: $(INSTALLED) $(DAGSTER_HOME)/dagster.yaml ## Real text through the whole chain, then a tiny model trained on it
	$(BIN)/llm-assets demo-data
	$(BIN)/llm-assets run demo
	$(BIN)/python examples/train_tiny.py
	@echo
	@echo "See it in the Dagster UI: make dev, then http://127.0.0.1:3000/asset-groups"

dev: $(INSTALLED) $(DAGSTER_HOME)/dagster.yaml ## Open the Dagster UI, sensors running
	$(BIN)/dagster dev --workspace workspace.yaml

test: $(INSTALLED) servers ## Lint, types, import rules, all tests, a tenth of the torture trials (ARGS="-k …")
	@$(MAKE) --no-print-directory lint
	$(PYTEST) -n 2 --dist loadgroup $(ARGS)

check: $(INSTALLED) ## The quick part of the tests, for your own loop
	@$(MAKE) --no-print-directory lint
	$(PYTEST) -n 2 -m 'not slow and not torture' $(ARGS)

torture: $(INSTALLED) servers ## The long trials in full: kills, corruptions, scale; the loader's with peers too
	LLM_ASSETS_TORTURE=full $(PYTEST) -m torture --timeout 3600 -s $(ARGS)
	$(BIN)/python -m benchmarks.loader_torture

bench: $(INSTALLED) ## Side by side with the peers (TARGET=name for one)
	$(BIN)/python -m benchmarks $(TARGET)

.PHONY: lint servers
lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

servers:
	@if command -v chromium >/dev/null && command -v prometheus >/dev/null && command -v redis-server >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(APT_PACKAGES) >/dev/null; \
	else echo "not installed: $(APT_PACKAGES). The tests that need them will be skipped."; fi

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches, not the data
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
