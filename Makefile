# Everything starts here: each target sets up what it needs, once, and says nothing when there is nothing to do.
#
#   make demo     the whole stack on this machine, until Ctrl-C
#   make test     all tests              make lint     style and types
#   make bench    the benchmarks         make chaos    faults by seed on the real stack
#   make clean    remove all that was made here, data included
#
# Needed: Python 3.11 or 3.12 and make. Java, Kafka, PostgreSQL and S3 come as packages.

SHELL := /bin/sh
.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.PHONY: demo test lint bench bench-doubt bench-fold bench-processing bench-settlement bench-takeover chaos clean setup setup-dev jars-lock

# Settings of the stack for `make demo`, for example: make demo STACK="--brokers 3"
STACK ?=
DIRECTORY ?= .paystream

# --no-deps: the lock files name every package that is needed, so there is nothing to resolve.
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet --no-deps
# Kafka's jars are fetched with whichever packages the goal needs anyway.
PACKAGES := $(if $(filter test lint bench bench-doubt bench-fold bench-processing bench-settlement bench-takeover chaos setup-dev,$(MAKECMDGOALS)),.venv/.dev,.venv/.demo)

demo: .venv/.demo .jgo/verified
	@exec .venv/bin/python -m paystream stack up --directory '$(DIRECTORY)' --end-with-parent $(STACK)

test: .venv/.dev .jgo/verified
	.venv/bin/python -m pytest -q

lint: .venv/.dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/.dev .jgo/verified
	.venv/bin/python -m bench

# The fold beside Kafka Streams (wants Maven and a JDK of 17 or later) and Quix Streams; about 15 minutes.
bench-fold: .venv/.dev .jgo/verified .venv-quix/ready
	.venv/bin/python -m bench.fold

# Processor calls a second of one process, beside bare aiohttp.
bench-processing: .venv/.dev .jgo/verified
	.venv/bin/python -m bench.processing

# How long shards are not served when their owner is killed or stopped.
bench-takeover: .venv/.dev .jgo/verified
	.venv/bin/python -m bench.fold.takeover

# A day's settlement file of a million lines, imported and matched; a few minutes.
bench-settlement: .venv/.dev .jgo/verified
	.venv/bin/python -m bench.settlement

# Payments by both protocols while calls time out, are reset and are answered twice; a small one: PAYMENTS=300.
PAYMENTS ?= 20000
bench-doubt: .venv/.dev .jgo/verified
	.venv/bin/python -m bench.doubt --payments $(PAYMENTS)

# Faults by seed on the real stack: make chaos SEEDS=50, or in parts with FROM=11; JOBS at a time.
SEEDS ?= 3
FROM ?= 1
JOBS ?= 1
chaos: .venv/.dev .jgo/verified
	.venv/bin/python -m tests.chaos --seeds $(SEEDS) --from $(FROM) --jobs $(JOBS)

setup: .venv/.demo .jgo/verified
setup-dev: .venv/.dev .jgo/verified

clean:
	@if [ -x .venv/bin/python ] && [ -e '$(DIRECTORY)' ]; then \
		.venv/bin/python -m sandbox.stack down --directory '$(DIRECTORY)' && \
		.venv/bin/python -m sandbox.stack erase --directory '$(DIRECTORY)'; \
	fi
	rm -rf .venv .venv-quix .jgo '$(DIRECTORY)' bench/kafka_streams/target build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The packages for tests contain those of the demo, in the same versions.
.venv/.dev: requirements-dev.lock pyproject.toml .venv/bin/python
	@echo "installing Python packages for tests into .venv"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-build-isolation --editable .
	@touch .venv/.demo $@

.venv/.demo: requirements.lock pyproject.toml .venv/bin/python
	@echo "installing Python packages into .venv"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@touch $@

# Quix Streams wants older packages than ours, so it has an environment of its own.
.venv-quix/ready: bench/quix/requirements.lock
	@echo "installing Quix Streams into .venv-quix"
	@PYTHON="$(PYTHON)" sh sandbox/make-venv .venv-quix
	@$(subst .venv/,.venv-quix/,$(PIP)) --require-hashes -r bench/quix/requirements.lock
	@touch $@

.venv/bin/python:
	@PYTHON="$(PYTHON)" sh sandbox/make-venv .venv

.jgo/verified: jgo.toml jgo.lock.toml | $(PACKAGES)
	@echo "fetching Kafka's jars into .jgo"
	@.venv/bin/python -m sandbox.jars
	@touch $@

jars-lock: $(PACKAGES)
	.venv/bin/python -m sandbox.jars --lock
