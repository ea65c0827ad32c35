# `make demo` and `make test` do all set-up themselves; `make help` lists what there is.

ENGINE ?= rds
VENV := .venv
PY := $(VENV)/bin/python
# Most tests wait for servers rather than compute, so there are more workers than cores.
PYTEST := $(PY) -m pytest -n 3 --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup engine demo test test-all test-engine test-lsn test-cutover check docs bench clean

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

test: check ## lint, types and the tests that every change has to pass: six minutes on two cores   [TESTS="-k fence"]
	@$(PYTEST) -m "not full and not matrix" --ignore=tests/engine tests $(TESTS)

test-all: setup ## what `make test` leaves out: other versions and flows, and samples of the two matrices
	@$(PY) -m tests.kit.versions
	@$(PYTEST) -m "full and not matrix" --ignore=tests/engine tests $(TESTS)

test-engine: setup ## the program on the real Pulumi engine, or in-process with the same assertions where there is none
	@./scripts/engine >/dev/null || echo "engine: the in-process run alone" >&2
	@$(PYTEST) tests/engine $(TESTS)

test-lsn: setup ## the whole matrix: 312 random cuts of WAL on PostgreSQL 13 to 18, about ten minutes   [RUNS=4 SEED=20240427]
	@$(PY) -m tests.kit.versions
	@ENCRYPTDB_RUNS=$(or $(RUNS),4) ENCRYPTDB_CUTS=13 $(if $(SEED),ENCRYPTDB_SEED=$(SEED)) \
		$(PY) -m pytest -o timeout=300 tests/postgres/test_exact_lsn_random.py

test-cutover: setup ## the whole matrix of faults at the verbs of the move, and 500,000 transactions back, about ten minutes
	@$(PY) -m pytest -m "" tests/cutover/test_aborts.py
	@$(PY) -m pytest -m "" -o timeout=3600 tests/cutover/test_long_rollback.py

docs: setup ## the parts of docs/ that are printed from the code
	@$(PY) -m tests.docs.sections

bench: setup ## the figures that are measured, not tested; takes its time
	@$(PY) -m benchmarks.help
	@$(PY) -m benchmarks.lsn
	@$(PY) -m benchmarks.cutover

clean: ## everything that the targets above made in this directory
	rm -rf $(VENV) build .lab .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
