# Every target makes the environment first when it is missing.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
# One thread per process: the tests start workers of their own, and results must not depend on the machine's cores.
export OMP_NUM_THREADS = 1

.PHONY: search test test-long lint clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[test]"
	touch $@

# The first search: ResNet-18 on the bundled digits, the paper's surrogates first. Run it again to go on.
search: $(VENV)/.installed
	$(BIN)/sugar-search --arch resnet18 --dataset digits --epochs 5 --repeats 1 --time-budget 7m

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# Slow suites: Ray, kill and resume at random times, fuzzing, installs in new environments.
test-long: $(VENV)/.installed
	$(BIN)/python -m pytest -m long

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
