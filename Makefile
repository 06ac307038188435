# make demo    everything once, from nothing: install, draw clips, train, test, predict
# make test    the tests (minutes); make test-all adds the long ones
# make check   ruff, ruff format, mypy --strict
# make bench   measurements; ONLY=name runs one
# make pictures   the pictures of the README

PYTHON ?= python3
BIN := .venv/bin
ONLY ?=
INSTALLING = @echo "installing into $(BIN): minutes, and quiet until it is done. With PyTorch from PyPI on Linux $(1) GB are downloaded" \
	"and $(2) GB lie on disk; $(3) and $(4) GB where a CPU build of it is there already (README.md, Install)"

.PHONY: demo test test-all check bench pictures clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("marey needs Python 3.11 or newer, and this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | $(BIN)/python
	$(call INSTALLING,3.3,6.5,0.3,1.0)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: pyproject.toml | $(BIN)/python
	$(call INSTALLING,3.5,7.2,0.5,1.7)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch .venv/installed $@

demo: .venv/installed
	$(BIN)/marey demo --out runs/demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m 'not long'

test-all: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed-bench: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

bench: .venv/installed-bench
	$(BIN)/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY))

pictures: .venv/installed-dev
	$(BIN)/python scripts/pictures.py docs/images
	test -d runs/demo/run || $(BIN)/marey demo --out runs/demo
	$(BIN)/marey data make --untrimmed --actors 2 --out runs/untrimmed
	$(BIN)/python scripts/app_pictures.py runs runs/demo/new/walking.mp4 docs/images runs/untrimmed/person02_d2_1.mp4

clean:
	rm -rf .venv .venv-keras runs build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
