# Each target does all of its own set-up in .venv; a machine needs Python 3.11 with pip and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup run test lint types walls ui bench bench-peers docs clean

setup: $(READY)

# torch goes first and alone: asked for by another package it may come in a build with gigabytes of accelerator packages
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	touch $(READY)

run: $(READY)
	$(BIN)/rotation run

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright

walls: $(READY)
	$(BIN)/lint-imports

# The Dagster pages on http://localhost:3000; what Dagster remembers is kept in .dagster/
ui: $(READY)
	mkdir -p .dagster && cp dagster.yaml .dagster/dagster.yaml
	DAGSTER_HOME=$(CURDIR)/.dagster $(BIN)/dagster dev -w workspace.yaml

# The peers that need an environment of their own; `make bench` uses it if it is there
bench-peers: .venv-peers/.ready

.venv-peers/.ready: benchmarks/peers-requirements.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers-requirements.txt
	touch .venv-peers/.ready

bench: $(READY)
	mkdir -p build && rm -f build/bench.jsonl
	failed=0; for file in benchmarks/bench_*.py; do BENCH_TABLE=build/bench.jsonl $(BIN)/python $$file || failed=1; done; \
	$(BIN)/python benchmarks/scoreboard.py build/bench.jsonl && exit $$failed

# The docs site into site/, every warning an error; open site/index.html
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-peers .pytest_cache .ruff_cache .hypothesis .benchmarks build site *.egg-info
