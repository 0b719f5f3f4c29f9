# make demo: set up, train five folds of two kinds of model on simulated EEG, blend them, write a submission
# make test: set up, lint, types, tests; make slow: the long tests

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: setup demo test lint types tests slow docs bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo 'installing 7 GB into $(VENV), mostly PyTorch: some minutes'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Two trainings at a time, in a thread each: small networks train no faster on two threads than on one.
demo: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m hbac.train -m experiment=demo_resnet_gru,demo_efficientnet fold=0,1,2,3,4 \
	  hydra/launcher=joblib hydra.launcher.n_jobs=2
	$(BIN)/python -m hbac.infer

test: lint types tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# One thread a process: two workers with two threads each would fight for two cores.
tests: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# Fuzzers, kills, benchmarks, networks that learn by heart: about half an hour more.
slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# Without what mkdocs-material says of its successor at each build.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: setup
	$(BIN)/python benchmarks/resnet_gru.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
