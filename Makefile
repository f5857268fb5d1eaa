# `make` alone lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help setup run test check lint fmt types imports docs lock bench

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.complete

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(SETUP) ## .venv with the pinned dependencies

$(SETUP): requirements-dev.lock pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup $(VENV)
	@touch $@

run: $(SETUP) ## start everything, with a tenant and a key to try it with
	@exec $(BIN)/cdp serve --dev

test: $(SETUP) ## the whole suite, on a real Postgres
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: lint types imports test ## what CI runs

lint: $(SETUP) ## style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || ($(BIN)/ruff format --diff .; exit 1)

types: $(SETUP) ## mypy, strict
	@$(BIN)/mypy

imports: $(SETUP) ## who may import whom
	@$(BIN)/lint-imports

fmt: $(SETUP) ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

docs: $(SETUP) ## write the generated documents anew
	@$(BIN)/python -m scripts.generate_docs

bench: $(SETUP) ## measure speed and memory; needs wrk
	@$(BIN)/python -m bench.run $(ARGS)

lock: ## pin the newest dependencies that pyproject.toml allows; needs uv
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --constraint requirements.lock --group dev pyproject.toml \
	  -o requirements-dev.lock
