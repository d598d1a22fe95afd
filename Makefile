# Switchyard. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The package lives under operator/, the tests' own packages under tests/.
export PYTHONPATH := operator:tests
export PYTHONUNBUFFERED := 1

.PHONY: help setup demo test lint format crds lock bench bench-policy sandbox build clean

help: ## this list
	@echo "Switchyard: make TARGET"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

$(READY): requirements/develop.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo ">> setup: virtual environment in $(VENV), about 40 packages, 150 MB, under a minute"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/develop.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY) ## build the virtual environment (the other targets do it by themselves)

build: $(READY) ## build Kubernetes, KWOK, Helm and Prometheus for the tests, into a cache outside the checkout
	@$(BIN)/python -m controlplane build

demo: $(READY) ## a farm of 24 rigs on a real control plane, switching on replayed prices (MARKET=FILE, KEEP=1)
	@$(BIN)/python -m controlplane build k8s kwok
	@$(BIN)/python -m controlplane exec -- $(BIN)/switchyard demo \
	  $(if $(MARKET),--market "$(MARKET)") $(if $(KEEP),--keep) --crds crds --out build/demo $(ARGS)

sandbox: $(READY) ## a control plane with a small farm in it, in the foreground; prints the KUBECONFIG to use
	@$(BIN)/python -m controlplane build k8s kwok
	@$(BIN)/python -m controlplane sandbox -f crds -f examples/sandbox

test: $(READY) ## all tests: on a real control plane, with real Prometheus and Helm
	@echo ">> test: the first run builds Kubernetes, KWOK, Helm and Prometheus from source (10-15 minutes on 2 cores)"
	@$(BIN)/python -m controlplane build
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## ruff, mypy strict, import-linter, generated files up to date
	@$(BIN)/ruff check operator tests tools
	@$(BIN)/ruff format --check operator tests tools
	@$(BIN)/mypy operator/switchyard tests tools
	@$(BIN)/lint-imports
	@$(BIN)/python -m switchyard.api.crd --check crds
	@$(BIN)/python -m switchyard.backtest.schema --check docs/backtest.schema.json
	@diff -r crds charts/switchyard/crds || { echo "the chart's CRDs differ from crds/: run make crds"; exit 1; }

format: $(READY) ## put the code into its form
	@$(BIN)/ruff check --fix-only --quiet operator tests tools
	@$(BIN)/ruff format operator tests tools

crds: $(READY) ## write crds/*.yaml from the models, the chart's copy, and the schema of back-test scenarios
	@$(BIN)/python -m switchyard.api.crd crds
	@mkdir -p charts/switchyard/crds && cp crds/*.yaml charts/switchyard/crds/
	@$(BIN)/python -m switchyard.backtest.schema docs/backtest.schema.json

lock: $(READY) ## resolve the dependencies anew: exact versions with hashes, no index address
	@$(BIN)/python -m pip install --quiet uv==0.13.9
	@$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --quiet -o requirements/operator.txt
	@$(BIN)/uv pip compile pyproject.toml --group test --group lint --group build --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet -o requirements/develop.txt

bench: $(READY) ## measure: cold start, steady load, price change to last switch; writes docs/benchmarks.md
	@$(BIN)/python -m controlplane build k8s kwok
	@$(BIN)/python -m bench $(ARGS)

bench-policy: $(READY) ## measure: what every policy earns on public traces (DATA=FOLDER), an hour or two; docs/benchmarks.md
	@$(BIN)/python -m bench.policies $(if $(DATA),--data "$(DATA)") $(ARGS)

clean: ## remove what was built in the checkout (the cache of built tools stays)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
