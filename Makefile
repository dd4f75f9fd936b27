# `make` lists what there is. Needs GNU make 3.81 or newer, git, and Python 3.11 or newer.

STACK ?= dev
PYTHON ?= python3
# More arguments, for Pulumi, kubectl or pytest: make up ARGS=--refresh
ARGS ?=
# What `make test-lab` runs
LAB_TESTS ?= $(addprefix tests/lab/test_,cluster.py hardship.py preflight.py hosts.py)
# Which machine `make ssh` logs in to
NODE ?=

.DEFAULT_GOAL := help

VENV := .venv/bin/python

.PHONY: help tools up preview picture refresh down outputs status env kubectl pages ssh test test-lab test-platform lint format bench bundle

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "  STACK=dev (the default) chooses the stack, PYTHON=python3 the Python, ARGS=... adds arguments for Pulumi or pytest."

tools: ## bring the tools into the cache folder; skips those that are there
	@$(PYTHON) tools/bootstrap

up: ## bring the stack to what its settings say
preview: ## show what `up` would change
picture: ## what waits for what in the stack, drawn in Mermaid's language
refresh: ## compare the state with what really runs
down: ## destroy the stack
outputs: ## the stack's outputs as JSON
status: ## the stack's outputs for a person to read, and how its cluster is now
env: ## variables for `pulumi` typed by hand: eval "$(make -s env)"
kubectl: ## kubectl on the stack's cluster: make kubectl STACK=lab ARGS='get nodes'
pages: ## pages and services that only the cluster reaches, on this computer until Ctrl-C
ssh: ## log in to a node: make ssh STACK=lab NODE=worker-1 [ARGS=command]

up preview picture refresh down outputs status env:
	@$(PYTHON) tools/bootstrap --stack '$(STACK)'
	@$(VENV) tools/cli $@ --stack '$(STACK)' $(ARGS)

kubectl pages ssh:
	@$(PYTHON) tools/bootstrap --stack '$(STACK)'
	@$(VENV) tools/cli $@ --stack '$(STACK)' -- $(NODE) $(ARGS)

test: tools ## all tests that need no cluster
	@$(VENV) -m pytest -n 3 --ignore tests/lab --ignore tests/cluster $(ARGS)

test-lab: tools ## tests of clusters in this computer, some twenty minutes; take root and `make bundle`
	@$(VENV) -m pytest $(LAB_TESTS) $(ARGS)

test-platform: tools ## tests of what runs on one, of upgrades and of moving, an hour and a half; take the same
	@$(VENV) -m pytest tests/cluster tests/lab/test_upgrade.py tests/lab/test_migration.py $(ARGS)

lint: tools ## ruff, mypy, import-linter, the project's English, shellcheck
	@$(VENV) -m ruff check
	@$(VENV) -m ruff format --check
	@# mypy and import-linter see the folder platform/ by its import name through this link.
	@mkdir -p .mypy_cache/bases && ln -sfn ../../platform .mypy_cache/bases/mlplatform
	@$(VENV) -m mypy
	@PYTHONPATH=.mypy_cache/bases:. .venv/bin/lint-imports
	@$(VENV) -m tools.ci.prose_lint
	@.venv/bin/shellcheck $$(git grep --untracked -lE '^#!(/usr/bin/env |/bin/)(ba)?sh')

format: tools ## let ruff put the code into shape
	@$(VENV) -m ruff format

bench: tools ## serving and batch prediction, side by side with others
	@$(VENV) tests/bench/run.py

bundle: tools ## binaries and images for a cluster without internet (the images take root)
	@$(VENV) -m airgap.bundle build $(ARGS)
