# make report   install what the report needs into .venv, then make the report
# make test     install what the tests need, then run them
#
# .venv is made anew when it is missing and refreshed when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: report test lint book book-test benchmarks clean

report: $(VENV)/.installed-base
	$(BIN)/stopping report

test: $(VENV)/.installed-test
	$(BIN)/pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

book: $(VENV)/.installed-book
	bash book/build.sh $(BIN)/python

# Opens the book that `make book` built in the system's chromium.
book-test: $(VENV)/.installed-browser
	$(BIN)/pytest tests/book

clean:
	rm -rf $(VENV) build dist book/_build report .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than Python 3.11; use: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-base: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test $(VENV)/.installed-dev $(VENV)/.installed-book $(VENV)/.installed-browser: $(VENV)/.installed-%: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[$*]"
	@touch $@
