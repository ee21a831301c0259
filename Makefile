# Every target does its own set-up. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMFYUI_URL ?=

.PHONY: demo test test-all check fix bench clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@COMFYUI_URL='$(COMFYUI_URL)' $(BIN)/comfyops storyboard demo --output demo-output

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: check
	@sh tests/system-packages.sh
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-all: check
	@sh tests/system-packages.sh
	COMFYOPS_TEST_ALL=1 $(BIN)/python -m pytest -n 3 --dist worksteal

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo-output bench-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
