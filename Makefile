# `make` lists the targets. Requirements: GNU make 3.81 or newer, git, and Python 3.11 or newer.

STACK ?= dev
PYTHON ?= python3
# Additional arguments for Pulumi, kubectl or pytest: make up ARGS="--target '**name'"
ARGS ?=
# Files of `make test-lab`
LAB_TESTS ?= $(addprefix tests/lab/test_,cluster.py reconcile.py hardship.py preflight.py hosts.py ownership.py \
  dead_cluster.py)
# Files of `make test-notebook`, which `make test` does not run
NOTEBOOK_TESTS := tests/stack/test_notebook.py tests/door/test_notebook_hub.py
# Seed, duration, predictions a second and control planes of `make test-chaos`
SEED =
MINUTES = 10
RATE = 500
CONTROL_PLANES = 1
# Regular expression of the names of the tests of `make conformance`; all without it
FOCUS =
# Options of pytest for tests that take minutes: one line for each
LIVE := --quiet -p tests.live_progress
# The machine of `make ssh`
NODE ?=
# The stack or address, and the permission to replace data, of `make restore`. Only the command line sets them: variables
# of the environment with these names mean something else.
FROM =
OVERWRITE =
# The version or time of `make back`
TO =

.DEFAULT_GOAL := help

VENV := .venv/bin/python
# Some container images set this variable. Each process would then compile all its libraries again, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# Arguments of `make token`, `make revoke` and `make user`, from the command line only
TEAM =
FOR =
EXPIRES =
ROLE =
ID =
NAME =

.PHONY: help tools up preview picture refresh down outputs status history canary audit back env notebook kubectl pages ssh trust tokens token revoke user test test-notebook test-lab test-platform test-chaos conformance lint format bench bundle backup restore drill rehearse prune

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "  STACK=dev (the default) selects the stack, PYTHON=python3 the Python; ARGS=... adds arguments for Pulumi or pytest."

tools: ## install the missing tools in the cache folder
	@$(PYTHON) -m tools.bootstrap

up: ## create or update the stack from its settings
preview: ## show the changes of the next `up`
picture: ## print a Mermaid diagram of the stack's dependencies
refresh: ## compare the state with the running resources
down: ## destroy the stack
outputs: ## print the stack's outputs as JSON
status: ## print a summary of the stack and the current state of its cluster
history: ## print each model's champions over time: make history ARGS='--at 2026-11-28T20:15'
back: ## pin an earlier champion: make back TO=2026-11-28T20:15, or TO=3; then `make up`
audit: ## search who did what: make audit ARGS='--user anna --since 2026-11-28T20:15 --contains iris'
canary: ## compare the canary with the champion, and say what the next `up` does with it
env: ## print variables for the `pulumi` command: eval "$(make -s env)"
notebook: ## open JupyterLab with the stack's libraries, MLflow and data, on this computer
kubectl: ## run kubectl on the stack's cluster: make kubectl STACK=lab ARGS='get nodes'
pages: ## forward the cluster's web pages to this computer until Ctrl-C
ssh: ## log in to a node: make ssh STACK=lab NODE=worker-1 [ARGS=command]

up preview picture refresh down outputs status history canary audit env notebook backup drill rehearse prune:
	@$(PYTHON) -m tools.bootstrap --stack '$(STACK)'
	@$(VENV) -m tools.cli $@ --stack '$(STACK)' $(ARGS)

trust: ## print the authority of the door's certificate, and how to trust it
tokens: ## list the tokens of the door
token: ## make a token: make token STACK=lab TEAM=shop FOR=iris [EXPIRES=90d] [ROLE=reader]
revoke: ## delete a token: make revoke STACK=lab ID=... from `make tokens`
user: ## make a password for a person: make user STACK=lab NAME=anna ROLE=editor, then `make up`

OPTIONS_token = --team '$(TEAM)' --for '$(FOR)' $(if $(EXPIRES),--expires '$(EXPIRES)') $(if $(ROLE),--role '$(ROLE)')
OPTIONS_revoke = --id '$(ID)'
OPTIONS_user = --name '$(NAME)' --role '$(ROLE)'

trust tokens token revoke user:
	@$(PYTHON) -m tools.bootstrap --stack '$(STACK)'
	@$(VENV) -m tools.cli $@ --stack '$(STACK)' -- $(OPTIONS_$@)

backup: ## save the stack's data and state to platform:backup.target
restore: ## restore a stack: make restore STACK=new FROM=old; OVERWRITE=yes replaces data
prune: ## delete old runs and versions by platform:keep; ARGS=--dry-run lists them
drill: ## restore the last backup into a temporary stack and compare it

rehearse: ## update a temporary lab as the next `up` updates the stack, under load

restore:
	@$(PYTHON) -m tools.bootstrap --stack '$(STACK)'
	@$(VENV) -m tools.cli $@ --stack '$(STACK)' $(if $(FROM),--from '$(FROM)') $(if $(OVERWRITE),--overwrite) $(ARGS)

back:
	@$(PYTHON) -m tools.bootstrap --stack '$(STACK)'
	@$(VENV) -m tools.cli $@ --stack '$(STACK)' --to '$(TO)' $(ARGS)

kubectl pages ssh:
	@$(PYTHON) -m tools.bootstrap --stack '$(STACK)'
	@$(VENV) -m tools.cli $@ --stack '$(STACK)' -- $(NODE) $(ARGS)

test: tools ## run all tests that need no cluster
	@$(VENV) -m pytest -n 3 --ignore tests/lab --ignore tests/cluster --ignore tests/chaos --ignore tests/conformance $(NOTEBOOK_TESTS:%=--ignore %) $(ARGS)

test-notebook: tools ## test `make notebook` with JupyterLab, and JupyterHub behind the door, five minutes
	@$(VENV) -m pytest $(NOTEBOOK_TESTS) $(ARGS)

test-lab: tools ## test clusters on this computer, 20 minutes; needs root and `make bundle`
	@$(VENV) -m pytest $(LIVE) $(LAB_TESTS) $(ARGS)

test-platform: tools ## test services, upgrades and migration on clusters, two hours; needs the same
	@$(VENV) -m pytest $(LIVE) tests/cluster tests/lab $(LAB_TESTS:%=--ignore %) $(ARGS)

test-chaos: tools ## test a cluster through faults: make test-chaos [SEED=7] [MINUTES=10]; needs the same
	@SEED='$(SEED)' MINUTES='$(MINUTES)' RATE='$(RATE)' CONTROL_PLANES='$(CONTROL_PLANES)' $(VENV) -m pytest $(LIVE) tests/chaos $(ARGS)

conformance: tools ## run Kubernetes' conformance tests on a lab: make conformance [FOCUS='sig-network.*DNS']
	@FOCUS='$(FOCUS)' $(VENV) -m pytest $(LIVE) tests/conformance $(ARGS)

lint: tools ## run ruff, import-linter, the linters of prose and structure, shellcheck and mypy
	@$(VENV) -m ruff check
	@$(VENV) -m ruff format --check
	@# mypy and import-linter find the folder platform/ under its import name through this link.
	@mkdir -p .mypy_cache/bases && ln -sfn ../../platform .mypy_cache/bases/mlplatform
	@PYTHONPATH=.mypy_cache/bases:. .venv/bin/lint-imports
	@$(VENV) -m tools.ci.prose_lint
	@$(VENV) -m tools.ci.structure_lint
	@.venv/bin/shellcheck $$(git grep --untracked -lE '^#!(/usr/bin/env |/bin/)(ba)?sh')
	@$(VENV) -m mypy

format: tools ## format the code with ruff
	@$(VENV) -m ruff format

bench: tools ## compare serving and batch prediction with other servers
	@$(VENV) tests/bench/run.py

bundle: tools ## build binaries and images for a cluster without internet (images need root)
	@$(VENV) -m airgap.bundle build $(ARGS)
