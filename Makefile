PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := build/lowest
# what the package reads; a change of either installs anew, and what is imported is compiled then, a tenth of all files
PACKAGE := pyproject.toml constraints.txt

.PHONY: demo test test-all test-lowest lint docs bench clean

demo: $(VENV)/.installed
	$(BIN)/lowerbound train digits --minutes 3.5 --out demo/digits
	$(BIN)/lowerbound evaluate demo/digits
	$(BIN)/lowerbound sample demo/digits -n 100 -o demo/digits/samples.png
	$(BIN)/lowerbound report demo/digits

# each worker, and each process that a test starts, would compile the package anew
test test-all test-lowest: export PYTHONDONTWRITEBYTECODE :=

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

# with the oldest packages that pyproject.toml allows, whose warnings about one another are not ours
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $(LOWEST)/constraints.txt -e '.[dev]'
	$(LOWEST)/bin/python -m pytest -n 2 --dist worksteal -m "not slow" -o filterwarnings=

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python --min-severity warn --progress-bar no

# the guide's snippets say what it shows, and every page, formula and link is right; nothing is fetched but the packages
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/snippets.py
	$(BIN)/python -m sphinx -b html -W --keep-going --quiet docs build/docs

bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/oracle.py
	$(BIN)/python benchmarks/estimators.py
	$(BIN)/python benchmarks/premise.py
	$(BIN)/python benchmarks/density.py
	$(BIN)/python benchmarks/variances.py
	$(BIN)/python benchmarks/orders.py
	$(BIN)/python benchmarks/grids.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/inverse.py

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: $(PACKAGE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(PACKAGE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed
