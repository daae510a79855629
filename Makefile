# Each target sets up what it needs, once: .venv/.complete is written when the set-up ended well, and is older than
# the files below only after one of them changed.
SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.complete
ARGS ?=

.PHONY: help setup demo test check docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    real text -> data -> tokenizer -> training -> Hugging Face model -> report, on this machine"
	@echo "             (ARGS='--source my.jsonl' uses your own text; ARGS=--help lists the options)"
	@echo "make test    run the tests            (ARGS='tests/eval -k unigram' runs some)"
	@echo "make check   ruff (rules and format) and mypy"
	@echo "make docs    build this documentation as a site, in English and Chinese: site/index.html"
	@echo "make setup   make .venv, which the others do by themselves"
	@echo "make clean   remove .venv, site/ and caches; datasets/, runs/ and exports/ stay"

setup: $(READY)

$(READY): pyproject.toml requirements.lock launch/setup_env.sh launch/image_constraints.py
	@bash launch/setup_env.sh

demo: $(READY)
	@$(BIN)/megatron-recipe demo $(ARGS)

# The whole suite in two processes, since much of it waits for others to start; chosen tests in one.
test: $(READY)
	$(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadfile)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(READY)
	@$(BIN)/python -m docs.generator.build site

clean:
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './datasets/*' -not -path './runs/*' -prune -exec rm -rf {} +
	@echo "datasets/, runs/ and exports/ were left as they are"
