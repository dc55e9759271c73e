# Each verb sets up what it needs; nothing has to run before it.
.DEFAULT_GOAL := help
.PHONY: help setup demo ingest build cluster cluster-demo experiment docs test torture bench lint clean
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
CLUSTER := .venv/.cluster
LAKE := $(if $(LAKE_ROOT),$(LAKE_ROOT),data/processed/medallion)
# A lake in an object store is nothing to make itself: what it remembers of that is here.
FOLDER := $(if $(findstring ://,$(LAKE)),target/store,$(LAKE))
RAW := $(if $(RAW_ROOT),$(RAW_ROOT),data/raw)
ifneq ($(words $(LAKE)) $(words $(RAW)),1 1)
$(error LAKE_ROOT and RAW_ROOT must be paths without spaces for make; 'python -m ingest' takes any)
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv: pinned packages, Delta's JARs, Java 17 if the machine has none

$(READY): requirements/build.lock requirements/main.lock requirements/java.lock ingest/provision.py profiles/log4j2.properties
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not on the PATH: install Python 3.11, or name it with 'make PYTHON=...'"; exit 1; }
	@echo "Setting up .venv (once, about two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/build.lock
	@$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation --requirement requirements/main.lock
	@$(BIN)/python -m ingest.provision
	@touch $@

cluster: $(CLUSTER) ## add to .venv what a Spark cluster ('python -m deploy'), S3 stores and Kafka take

$(CLUSTER): $(READY) requirements/cluster.lock requirements/broker.lock deploy/provision.py
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/cluster.lock
	@$(BIN)/python -m deploy.provision
	@touch $@

demo: $(FOLDER)/.demo ## sample data, load, build: the whole way from raw files to gold
	@$(BIN)/python -m ingest status || true
	@echo
	@$(BIN)/python -m ingest report
	@echo "Then ask for the life of a record, and look at the lineage of it all:"
	@echo "  . .venv/bin/activate"
	@echo "  python -m ingest trace --source-file events/20240304T060000Z/events.jsonl --line 213"
	@echo "  make docs"

$(FOLDER)/.demo: $(READY)
	@test -e $(RAW) || $(BIN)/python -m ingest sample --out $(RAW)
	@$(BIN)/python -m ingest build
	@mkdir -p $(@D) && touch $@

ingest: $(READY) ## load new raw files into bronze
	@$(BIN)/python -m ingest

build: $(READY) ## load, then make silver and gold with dbt
	@$(BIN)/python -m ingest build

cluster-demo: $(CLUSTER) ## the same on a Spark cluster of this machine, PostgreSQL and all; STORE=s3 with the lake in an S3 store
	@$(BIN)/python -m deploy.demo $(STORE)

experiment: $(READY) ## build both variants of silver on what is loaded, and compare them
	@$(BIN)/dbt build --select event_types staged_driver_events silver_experiments --exclude-resource-type unit_test --vars '{experiments: true}'
	@$(BIN)/python -m ingest experiment

docs: $(READY) ## write the documentation as one file, docs/site/index.html
	@$(BIN)/dbt --quiet docs generate --static
	@mkdir -p docs/site && cp target/static_index.html docs/site/index.html
	@echo "docs/site/index.html: open it in a browser; the lineage graph is the blue button at the bottom right"

test: $(CLUSTER) ## every test: Python, Spark, Delta and dbt
	@$(BIN)/python -m pytest

torture: $(CLUSTER) ## an hour or more: kill at every step, 50 times at random and the parts of a cluster, full disks, 200,000 mutants
	@TORTURE=1 $(BIN)/python -m pytest tests/integration tests/unit/test_parsing.py

bench: $(READY) ## measure, beside what others use; SIZE=100k|1m|10m, SCENARIO=S1,...|load, PEERS=ours,...
	@$(BIN)/python -m benchmarks

lint: $(READY) ## sqlfluff, ruff, mypy
	@$(BIN)/sqlfluff lint
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

clean: ## remove what was generated: the lake, dbt's files, the page of docs; raw files and .venv stay
	@rm -rf $(FOLDER) target logs docs/site
