# Every target carries one line of help: `make help` prints them.
# POSIX make and sh only. Any variable can be given on the command line, and make hands
# those to the program it runs: DATA=, OUT=, N= and SEED= reach a benchmark that way.

# The first of these that is 3.11 or 3.12, and can make environments, makes this one. Distributions
# optimise theirs by profile, pyenv does not unless it is told: that is up to 19 % of a request.
PYTHON = /usr/bin/python3.12 /usr/bin/python3.11 python3.12 python3.11 python3

# Dagster, MLflow and Evidently together take ten seconds longer to import without bytecode.
PYTHONDONTWRITEBYTECODE =

VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.setup-stamp
OURS = fraud feature_store bentos orchestration dashboards benchmarks
CLIENTS = clients/generate.py clients/java_models.py clients/python/fraud_client

LOCK_FROM = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"
LOCK = $(LOCK_FROM) pyproject.toml

.PHONY: help setup run token test check parity chaos chaos-stream loop-picture bench-stream kafka clients lock bench-features bench-materialize bench-serving bench-quality bench-drift boards clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv and install the locked packages; does nothing when they are current

# All chatter goes to stderr, so that `make -s token` prints a token and nothing else.
$(STAMP): pyproject.toml requirements/dev.lock
	@set -e; exec >&2; \
	python=; for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import ensurepip, sys, venv; assert (3, 11) <= sys.version_info[:2] < (3, 13)' \
			2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make setup: this project needs Python 3.11 or 3.12 with its venv package (on Debian" \
			"and Ubuntu: python3-venv), and none of these is one: $(PYTHON)." \
			"Install it, or name yours: make setup PYTHON=path"; \
		exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import pip, sys; assert (3, 11) <= sys.version_info[:2] < (3, 13)' \
		2>/dev/null; then \
		echo "Making $(VENV) with $$("$$python" --version) ..."; \
		"$$python" -m venv --clear $(VENV) >/dev/null; \
	fi; \
	awk '/^uv==/ { on = 1; print; next } on && /^ *--hash/ { print; next } { on = 0 }' \
		requirements/dev.lock > $(VENV)/uv.lock; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		-r $(VENV)/uv.lock; \
	echo "Installing the locked packages ..."; \
	UV_SYSTEM_CERTS=1; export UV_SYSTEM_CERTS; \
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	touch $@; \
	echo "Ready: $$($(BIN)/python --version) in $(VENV)."

run: setup ## start everything and print the addresses, a token and a request to try
	@$(BIN)/fraud run

token: setup ## print a development token for the API
	@$(BIN)/fraud token

# Whole files go to one process each: what their tests share is expensive.
test: setup ## run the tests on every core; PYTEST_ARGS="-n 0 -k name" narrows them, in one process
	@$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(PYTEST_ARGS)

check: setup ## lint, format, types, import rules, docs, alerts and layout, in under two minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(OURS) $(CLIENTS)
	$(BIN)/lint-imports
	deploy/check.sh
	$(BIN)/fraud features docs --check
	@dashboards/check.sh
	$(BIN)/python -m dashboards.grafana.build --check
	$(BIN)/pytest -q tests/test_layout.py

parity: setup ## stream, rebuild offline, compare bit by bit; N= events, SEED=, OUT= a file
	@$(BIN)/python -m benchmarks.parity

loop-picture: setup ## run the closed loop's journey and draw docs/closed-loop.svg from it
	@FRAUD_LOOP_RECORD=.run/loop $(BIN)/pytest -q tests/journeys/test_closed_loop.py
	@PYTHONPATH=. $(BIN)/python -m tests.journeys.closed_loop_picture .run/loop docs/closed-loop.svg

lock: setup ## resolve requirements/*.lock again from pyproject.toml; UPGRADE=--upgrade for newest
	$(LOCK) $(UPGRADE) --all-extras --output-file requirements/dev.lock
	$(LOCK) --extra serve --constraint requirements/dev.lock --output-file requirements/serve.lock
	$(LOCK) --extra train --constraint requirements/dev.lock --output-file requirements/train.lock
	printf 'hatchling\nuv\n' | $(LOCK_FROM) - $(UPGRADE) --constraint requirements/dev.lock \
		--output-file requirements/build.lock

clients: setup clients/node/node_modules ## write the clients' models again from the service's description
	@PYTHONPATH=. $(BIN)/python clients/generate.py

clients/node/node_modules: clients/node/package-lock.json
	@cd clients/node && npm ci --silent --no-audit --no-fund >&2 && touch node_modules

chaos: setup ## kill, stop, fill and mislead the service under load; N= kills, ONLY= faults, SEED=, OUT=
	@$(BIN)/python -m benchmarks.chaos

chaos-stream: setup ## kill workers, relay and Kafka under load; N= kills, SEED=, OUT= a file
	@$(BIN)/python -m benchmarks.chaos_stream

bench-stream: setup ## time transactions through Kafka, ledger and relay; N= of them, SEED=, OUT= a file
	@$(BIN)/python -m benchmarks.stream

kafka: setup ## run a Kafka broker in the foreground for trying things out; needs a JDK and Maven
	@$(BIN)/fraud kafka

bench-features: setup ## time the features against pandas; DATA= transactions, OUT= a file, one JSON line last
	@$(BIN)/python -m benchmarks.features

bench-materialize: setup ## time history into online state; DATA= transactions, OUT= a file
	@$(BIN)/python -m benchmarks.materialize

bench-serving: setup ## time the service under load; N= requests, ROWS= in the ledger, SEED=, OUT= a file
	@$(BIN)/python -m benchmarks.serving

bench-quality: setup ## score the four-fold protocol; DATA= transactions, OUT= scores, one JSON line last
	@$(BIN)/python -m benchmarks.quality

bench-drift: setup ## time drift reports; N= rows, SEEDS= worlds, SEED= the first, OUT= a file
	@$(BIN)/python -W ignore -m benchmarks.drift

boards: setup ## build Grafana's boards again from dashboards/grafana/panels.py
	@$(BIN)/python -m dashboards.grafana.build

clean: ## remove .venv, .run and every cache
	rm -rf $(VENV) .run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
