# Each target sets up in .venv what it needs: Python 3.11, git and make have to be there.
PYTHON ?= python3.11
BIN := .venv/bin
DETECTRON2 := sal-detectron2==0.7.2

.PHONY: help run reference test test-fast check docs setup clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F '|' '{printf "make %-10s %s\n", $$1, $$2}'

run: setup ## the whole chain on built-in micrographs, in demo/, where git does not look
	mkdir -p demo
	rm -rf demo/tem_data demo/pipelines demo/conf demo/cards/templates
	git ls-files -z tem_data pipelines conf cards/templates dvc.yaml params.yaml .dvcignore | xargs -0 cp --parents -t demo
	cd demo && test -d .dvc || PATH="$(CURDIR)/$(BIN):$$PATH" dvc init --no-scm -q
	cd demo && PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	cd demo && PATH="$(CURDIR)/$(BIN):$$PATH" dvc metrics show
	@echo "Look at demo/runs/1-10-1/report.html, demo/runs/study.html and demo/cards/rendered/."

reference: setup ## the chain in place: renews the results that git keeps
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro

test: check ## check, then all tests
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest

test-fast: setup ## the tests that are not marked slow
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 python -m pytest -m "not slow" -n logical

check: setup ## ruff's rules and format, and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

setup: .venv/complete ## the package, all its extras and the tools, into .venv

# detectron2's republication is pure Python, though its wheel is tagged for 3.10: hence --target.
.venv/complete: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --no-deps --only-binary=:all: --python-version 3.10 --implementation cp --abi none \
		--platform any --upgrade --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" $(DETECTRON2)
	touch $@

clean: ## remove .venv
	rm -rf .venv
