# Each verb sets up what it needs; nothing has to run before it.
.DEFAULT_GOAL := help
.PHONY: help setup demo ingest build docs test lint lock clean
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
LAKE := $(if $(LAKE_ROOT),$(LAKE_ROOT),data/processed/medallion)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv: pinned packages, Delta's JARs, Java 17 if the machine has none

$(READY): requirements/build.lock requirements/main.lock requirements/java.lock ingest/provision.py profiles/log4j2.properties
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not on the PATH: install Python 3.11, or name it with 'make PYTHON=...'"; exit 1; }
	@echo "Setting up .venv (once, about two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/build.lock
	@$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation --requirement requirements/main.lock
	@$(BIN)/python -m ingest.provision
	@touch $@

