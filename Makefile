# `make demo` and `make test` do all set-up themselves; `make help` lists what there is.

ENGINE ?= rds
VENV := .venv
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup engine demo test test-engine test-lsn test-cutover check docs bench clean

help: ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## the virtual environment, the pinned packages, pgbouncer and gocryptfs
	@./scripts/setup

engine: setup ## the pulumi CLI and engine, where there is none on PATH; built once where only Go modules are reached
	@./scripts/engine

demo: setup ## from nothing to an encrypted database under load   [ENGINE=rds|aurora] [PG=15|18 or PG_BIN=directory]
	@$(PY) -m demo --engine $(ENGINE) $(if $(PG),--pg $(PG)) $(if $(PG_BIN),--pg-bin $(PG_BIN))

check: setup ## lint and types
	@$(PY) -m ruff check .
	@$(VENV)/bin/shellcheck scripts/* .ci/run examples/*.sh
	@$(PY) -m mypy

test: check ## lint, types and the test suite, but for tests/engine   [TESTS="-k fence"]
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/engine $(TESTS)

test-engine: setup ## the program on the real Pulumi engine, or in-process with the same assertions where there is none
	@./scripts/engine >/dev/null || echo "engine: the in-process run alone" >&2
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/engine $(TESTS)

test-lsn: setup ## 312 random cuts of WAL on PostgreSQL 13 to 18, about ten minutes   [RUNS=4 SEED=20240427]
	@$(PY) -m tests.postgres.versions
	@ENCRYPTDB_RUNS=$(or $(RUNS),4) ENCRYPTDB_CUTS=13 $(if $(SEED),ENCRYPTDB_SEED=$(SEED)) \
		$(PY) -m pytest -o timeout=300 tests/postgres/test_exact_lsn_random.py

test-cutover: setup ## every fault at every verb of the move, and 500,000 transactions back again, about ten minutes
	@$(PY) -m pytest tests/cutover/aborts_everywhere.py
	@$(PY) -m pytest -o timeout=3600 tests/cutover/long_rollback.py

docs: setup ## the parts of docs/ that are printed from the code
	@$(PY) -m tests.docs.sections

bench: setup ## the figures that are measured, not tested; takes its time
	@$(PY) -m benchmarks.help
	@$(PY) -m benchmarks.lsn
	@$(PY) -m benchmarks.cutover

clean: ## everything that the targets above made in this directory
	rm -rf $(VENV) build .lab .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
