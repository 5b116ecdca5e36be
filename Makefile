PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
RUN := $(VENV)/bin/python
WORKERS := -n auto --dist loadfile --no-loadscope-reorder
EVERY := -m 'not slow'
SESSION := $(if $(MINUTES),--minutes $(MINUTES))

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1  /p' Makefile | awk '{printf "  make %-10s", $$1; $$1 = ""; print}'

setup: $(VENV)/.experiments $(VENV)/.dev  ## make the environment .venv for all other targets but benchmark, which adds to it

sweep: $(VENV)/.experiments  ## run the default sweep into results/default/
	$(RUN) -m experiments.sweep --preset default

study: $(VENV)/.experiments  ## go on with the study in results/, hours in all (MINUTES=N: N for each preset)
	$(RUN) -m experiments.sweep --preset planned --out results/reference $(SESSION)
	$(RUN) -m experiments.sweep --preset dials --out results/dials $(SESSION)
	$(RUN) -m experiments.sweep --preset starts --out results/starts $(SESSION)
	$(RUN) -m experiments.sweep --preset starts --start zero --out results/starts_zero $(SESSION)
	$(RUN) -m experiments.sweep --preset full --out results/reference $(SESSION)
	$(RUN) -m experiments.sweep --preset answers --out results/reference $(SESSION)
	$(RUN) -m experiments.sweep --preset budgets --out results/budgets $(SESSION)
	$(RUN) -m experiments.sweep --preset sizes --out results/sizes $(SESSION)
	for of in reference dials starts starts_zero sizes budgets; do $(RUN) -m experiments.archive results/$$of; done
	$(RUN) -m experiments.compare results/starts_zero results/starts --starts results/starts/compared

benchmark: $(VENV)/.experiments $(VENV)/.bench  ## time training beside PyTorch, Keras and Flax
	$(RUN) -m experiments.benchmark

test: $(VENV)/.experiments $(VENV)/.dev  ## run the tests, on a sample where there are many cases
	$(RUN) -m pytest $(WORKERS)

thorough: $(VENV)/.experiments $(VENV)/.dev  ## run the tests on every case
	$(RUN) -m pytest $(WORKERS) $(EVERY)

check: lint  ## before a commit: lint, types, and the tests that touch what changed (SINCE=main: since then)
	$(RUN) -m tests.changed $(SINCE) | xargs -r $(RUN) -m pytest $(WORKERS) $(EVERY)

oldest: $(OLDEST)/.done  ## run the tests with the oldest packages that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest $(WORKERS) $(EVERY)

docs: $(VENV)/.experiments $(VENV)/.docs  ## build the documentation site, docs/_build/html/index.html
	$(RUN) -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build/html

lint: $(VENV)/.experiments $(VENV)/.dev  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; give one with: make PYTHON=python3.11")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip --version > /dev/null 2>&1 || $(RUN) -m ensurepip
	$(RUN) -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.experiments: $(VENV)/.pip pyproject.toml
	$(RUN) -m pip install --quiet --editable '.[experiments]'
	touch $@

$(VENV)/.bench: $(VENV)/.pip pyproject.toml
	$(RUN) -m pip install --quiet --editable '.[bench]'
	touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml
	$(RUN) -m pip install --quiet --group dev
	touch $@

$(VENV)/.docs: $(VENV)/.pip pyproject.toml
	$(RUN) -m pip install --quiet --group docs
	touch $@

$(OLDEST)/.done: $(VENV)/.dev
	$(RUN) -m uv venv --quiet --clear --python $(RUN) $(OLDEST)
	$(RUN) -m uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --editable '.[experiments]' --group dev
	touch $@

.PHONY: help setup sweep study benchmark test thorough check oldest docs lint
