# make demo    everything once, from nothing: install, draw clips, train, test, predict
# make data    the drawn data set; DATA=kth gets one by its name, DATA=my_clips/ opens each file of a folder
# make train   a model of it, in runs/; DATA= as above, ARGS='--folds group --per-class' adds options
# make test    all that proves marey, about 5 minutes on two cores; make test-all adds what takes longer,
#              which make test-long runs by itself
# make check   ruff, ruff format, mypy --strict
# make coverage   the tests of make test, with the lines that they run; fails below the floor in pyproject.toml
# make docs    the documentation as a site, in site/; make docs-serve shows it and follows changes
# make bench   measurements; ONLY=name runs one; make bench-gpu measures what a GPU brings
# make test-gpu   the tests that need a GPU; all others hide it
# make pictures   the images of the README
# With another Python, in an environment of its own: make test PYTHON=python3.13 VENV=.venv-newest

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ONLY ?=
DATA ?=
ARGS ?=
INSTALLING = @echo "installing into $(BIN): minutes, and quiet until it is done. With PyTorch from PyPI on Linux $(1) GB are downloaded" \
	"and $(2) GB lie on disk; $(3) and $(4) GB where a CPU build of it is there already (README.md, Install)"
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo data train test test-all test-long test-gpu check bench bench-gpu coverage docs docs-serve pictures clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("marey needs Python 3.11 or newer, and this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(call INSTALLING,3.2,6.2,0.2,0.7)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(call INSTALLING,3.5,7.2,0.5,1.7)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(VENV)/installed $@

demo: $(VENV)/installed
	$(BIN)/marey demo --out runs/demo

data: $(VENV)/installed
ifeq ($(strip $(DATA)),)
	$(BIN)/marey data make
else
	if test -e '$(DATA)'; then $(BIN)/marey data scan '$(DATA)'; else $(BIN)/marey data get '$(DATA)'; fi
endif

train: $(VENV)/installed $(if $(strip $(DATA)),,data)
	$(BIN)/marey train '$(or $(DATA),embedded)' --out "runs/$$(basename '$(or $(DATA),embedded)' .csv)" $(ARGS)

test: $(VENV)/installed-dev
	$(PYTEST) -m 'not long'

test-all: $(VENV)/installed-dev
	$(PYTEST)

test-long: $(VENV)/installed-dev
	$(PYTEST) -m long

test-gpu: $(VENV)/installed-dev
	MAREY_TEST_GPU=1 $(BIN)/python -m pytest tests/encoders/test_engines.py -k 'gpu or cuda'

check: $(VENV)/installed-dev
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy

coverage: $(VENV)/installed-dev
	$(PYTEST) -m 'not long' --cov --cov-report term --cov-report xml

$(VENV)/installed-docs: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/installed-docs
	$(BIN)/mkdocs serve --strict

$(VENV)/installed-bench: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY))

bench-gpu: $(VENV)/installed-bench
	$(BIN)/python benchmarks/bench.py --only gpu $(ARGS)

pictures: $(VENV)/installed-dev
	$(BIN)/python scripts/readme_images.py docs/images
	test -d runs/demo/run || $(BIN)/marey demo --out runs/demo
	$(BIN)/marey data make runs/untrimmed --untrimmed --actors 2
	$(BIN)/python scripts/app_screenshots.py runs runs/demo/new/walking.mp4 docs/images runs/untrimmed/person02_d2_1.mp4

clean:
	rm -rf .venv .venv-newest .venv-keras runs build dist site .coverage coverage.xml src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
