# Two commands for a newcomer: `make demo` and `make test`. Needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= logical
SPREAD := --numprocesses $(JOBS) --maxprocesses 8 --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Keep compiled files, also where the environment says not to: collecting the tests takes 20 s less in each process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-all test-fast test-world test-robot robot docs lint format clean

help:
	@echo "make demo    set up, track points through a real video, say how to open the page over it"
	@echo "make test    set up and run the tests of all rooms but for those that take long, on all cores (JOBS=1 for one)"
	@echo "make test-all    all tests, as CI does: an hour on two cores"
	@echo "make test-fast   those that take a tenth of a second at most, four in five: two minutes on two cores, to run between edits"
	@echo "make test-world  the tests of packages/world, the synthetic world"
	@echo "make test-robot  the tests with Meta-World and Franka Kitchen, in an environment of their own, build/robot"
	@echo "make docs    build the site into build/site, warnings as errors"
	@echo "make lint    formatting, lint, types, arrows of imports"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tapetum needs Python 3.11 or newer; $(PYTHON) is older: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/tapetum.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[start]'
	@touch $@

.venv/dev.stamp: pyproject.toml packages/world/pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --editable ./packages/world
	@touch .venv/tapetum.stamp $@

demo: .venv/tapetum.stamp
	$(BIN)/tapetum sample demo-out
	$(BIN)/tapetum track demo-out/clip.mp4 --grid 12 --out demo-out/tracks
	@echo "the page over this clip, in your browser:"
	@echo "  $(BIN)/tapetum serve demo-out"

test: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) -m "not long"

test-all: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD)

test-fast: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) -m "not slow" --at-most 0.1

test-world: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) packages/world/tests

# Meta-World pins an older MuJoCo than the development extra: its environment has that, and all else from .venv.
build/robot/tapetum.stamp: pyproject.toml packages/world/pyproject.toml .venv/dev.stamp
	$(BIN)/python -m venv build/robot
	site='import site; print(site.getsitepackages()[0])'; \
	  $(BIN)/python -c "$$site" > "$$(build/robot/bin/python -c "$$site")/dev.pth"
	build/robot/bin/python -m pip install --quiet --editable '.[robot]'
	build/robot/bin/python -m pip install --quiet --no-deps --editable ./packages/world
	@touch $@

robot: build/robot/tapetum.stamp

test-robot: robot
	OMP_NUM_THREADS=1 build/robot/bin/python -m pytest $(SPREAD) -p no:cacheprovider tests/systems/adapters/test_simulators.py

docs: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site
	@echo "build/site/index.html"

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo-out runs build dist
