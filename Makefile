# Everything here needs only make and a Python of 3.11 or newer; the rest is installed into $(VENV).

VENV ?= .venv
# The Python to make $(VENV) with; empty: the newest that works.
PYTHON ?=
PYTEST_FLAGS ?=
TESTS ?= tests
# Beside these there is `gateway`, which takes a quarter of an hour and wants gcc, Go and Node.js.
BENCHES ?= snapshot latency idle join routing election drain sidecar router detection
SECONDS ?= 180
PORT ?= 0
SEED ?=

BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help install lock check format test fuzz chaos chaos-elections chaos-drain audit demo gateway bench clean
.DEFAULT_GOAL := help

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

install: $(STAMP) ## put clusterd, clusterctl and the tools to develop them into .venv

lock: ## write the locks anew after a change of pyproject.toml; UPGRADE=1 takes the newest of everything
	@$(ensure_venv)
	$(PIP) packaging uv
	$(BIN)/python .ci/locks.py renew $(if $(UPGRADE),--upgrade)

check: $(STAMP) ## lint, format, types, layers, locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/locks.py check

format: $(STAMP) ## put the code into the form that check wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) ## run the tests; TESTS=tests/unit for some of them
	$(BIN)/pytest -n 4 $(PYTEST_FLAGS) $(TESTS)

chaos: $(STAMP) ## a fleet of 50 while everything breaks, its history checked; SECONDS=180 SEED=...
	$(BIN)/python -m tests.chaos.fleet.run --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
	@$(MAKE) --no-print-directory chaos-elections

chaos-elections: $(STAMP) # elections alone, with more faults for each term
	$(BIN)/python -m tests.chaos.elections --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.chaos.elections --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) --strict

chaos-drain: $(STAMP) # the agent, the operator's command and etcd are killed at each step of a drain
	TEST_EVERY_STEP=1 $(BIN)/pytest -n 4 $(PYTEST_FLAGS) tests/integration/drain/test_every_step.py

fuzz: $(STAMP) ## look for input that breaks something; SECONDS=180
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

audit: $(STAMP) ## look the dependencies up among known vulnerabilities; says so where it can't
	$(PIP) --editable '.[audit]'
	$(BIN)/python .ci/audit.py

demo: $(STAMP) ## play drains, failures and a restart of etcd on a small fleet that carries messages, and count them
	$(BIN)/clusterctl demo

gateway: $(STAMP) ## run a message gateway of three nodes behind a router, with a page to try it; PORT=8080
	$(BIN)/python -m examples.gateway fleet --port $(PORT)

bench: $(STAMP) ## measure what clusterd costs, one figure after the other
	@set -e; for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m bench.$$name; done

clean: ## remove what was installed, built and cached
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest Python that can make a virtual environment. Debian ships ensurepip, which that needs, apart.
define make_venv
find_python() { \
	for candidate in $(if $(PYTHON),$(PYTHON),python3.14 python3.13 python3.12 python3.11 python3); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		"$$candidate" -c 'import ensurepip, venv' 2>/dev/null && { echo "$$candidate"; return; }; \
		without="$${without:-$$candidate}"; \
	done; \
	if [ -n "$$without" ]; then \
		version=$$("$$without" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
		echo "$$without can't make virtual environments: install the Debian package $$version-venv (or python3-venv)" >&2; \
	else \
		echo "no Python 3.11 or newer was found$(if $(PYTHON), as $(PYTHON)):" \
			"install the Debian packages python3 and python3-venv" >&2; \
	fi; \
	return 1; \
}; \
python=$$(find_python) && "$$python" -m venv --clear $(VENV)
endef

ensure_venv = $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { $(make_venv); }

$(STAMP): pyproject.toml requirements-dev.lock
	@$(ensure_venv)
	$(PIP) --require-hashes --requirement requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python .ci/locks.py check
	@touch $@
