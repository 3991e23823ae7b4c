# `make run` and `make test` set up all they need in .venv; needs Python 3.11, git and make.
PYTHON ?= python3.11
BIN := .venv/bin
DETECTRON2 := sal-detectron2==0.7.2

.PHONY: run test setup clean

run: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc plots show -o plots
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc metrics show results/runs/*/*/metrics.json

test: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest

setup: .venv/complete

# detectron2's republication is pure Python, though its wheel is tagged for 3.10: hence --target.
.venv/complete: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[test]'
	$(BIN)/pip install --no-deps --only-binary=:all: --python-version 3.10 --implementation cp --abi none \
		--platform any --upgrade --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" $(DETECTRON2)
	touch $@

clean:
	rm -rf .venv
