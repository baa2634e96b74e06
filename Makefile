# The one entry to everything: `make demo`, `make test`. An empty machine needs Python 3.11 or newer, git and make.
#   PYTHON=python3.12        which Python makes .venv
#   PIP_ARGS="..."           passed to pip, for example another package index
#   OUTPUT=json KEEP=1       passed to `make demo`
#   ARGS="tests/api -k name" passed to pytest by `make test`
#   KUBECONFIG, KUBEBUILDER_ASSETS: which cluster `make test` runs on (CONTRIBUTING.md); the embedded one without them
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,$(shell command -v $(name) 2>/dev/null)))
PIP_ARGS ?=
OUTPUT ?= text
KEEP ?=
ARGS ?=
BIN := .venv/bin
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/trimtab/version.py)

.DEFAULT_GOAL := help
.PHONY: help install demo test lint crds chart docs sbom audit images kind clean
.DELETE_ON_ERROR:

help: ## Show what can be made.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

install: .venv/demo.stamp ## Make .venv with trimtab and what the demo and the tutorial need.

demo: .venv/demo.stamp ## Compress, prove, serve, scale and interrupt a model on this machine; about two minutes.
	@$(BIN)/trimtab demo --output $(OUTPUT) $(if $(KEEP),--keep)

test: .venv/test.stamp ## Run the tests.
	@$(BIN)/python -m pytest $(ARGS)

lint: .venv/test.stamp ## Check style, types and the import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/trimtab crds --check
	$(BIN)/python charts/generate.py --check

crds: .venv/demo.stamp ## Write crds/ from the API models, and the chart from them.
	$(BIN)/trimtab crds
	$(BIN)/python charts/generate.py

chart: .venv/demo.stamp ## Write charts/trimtab from manifests/ and crds/.
	$(BIN)/python charts/generate.py

docs: .venv/test.stamp ## Write the documentation as a site, build/site; fails on links that lead nowhere.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

sbom: .venv/test.stamp ## Write what each image is made of, as CycloneDX, to build/sbom.
	@$(BIN)/python .ci/sbom.py build/sbom

audit: .venv/test.stamp ## Ask the advisory database about every version in constraints.txt; needs the internet.
	@$(BIN)/python .ci/audit.py

images: ## Build the images with Docker.
	@for role in operator compress serve gateway; do \
	  docker build --quiet --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(if $(PIP_ARGS),--build-arg PIP_ARGS="$(PIP_ARGS)") --target $$role -t trimtab/$$role:$(VERSION) . || exit 1; \
	done

kind: images ## From nothing to a served model on a cluster of containers; needs Docker, kind and kubectl.
	@manifests/kind/up $(VERSION)

clean: ## Remove the virtual environment, caches and reports.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build demo-report

# What a user needs, then what a developer needs on top. pip's chatter goes to standard error: the demo's output is data.
.venv/demo.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	@echo "installing trimtab and what the demo needs into .venv (once, some minutes)" >&2
	@$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[demo]' >&2
	@touch $@

.venv/test.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	@echo "installing trimtab and what the tests need into .venv (once, some minutes)" >&2
	@$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[test]' >&2
	@touch $@ .venv/demo.stamp

.venv/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "error: no Python found; install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Trimtab needs Python 3.11 or newer:" \
	       "install it, or name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
