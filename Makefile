# `make up` and `make test` are all that a fresh machine needs: both install first, into .venv.
PROFILE ?= cpu
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKS   := deploy/requirements
STAMP   := $(VENV)/.installed-$(PROFILE)
PYTHON  ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)

.PHONY: up down install test test-slow faults test-gpu gpu-check check bench clean
.DEFAULT_GOAL := up

up: $(STAMP)
	@exec env BONDHU_PROFILE=$(PROFILE) $(BIN)/bondhu up

down:
	@test -x $(BIN)/bondhu && $(BIN)/bondhu down || echo "nothing to stop: bondhu is not installed here"

install: $(STAMP)

# Torch first: where pip already finds the CPU build, from there, else from PyTorch's own index.
$(VENV)/.installed-cpu: $(LOCKS)/cpu.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the CPU build into $(VENV) (about 1.5 GB; once, a few minutes) ..."
	@torch=$$(grep '^torch==' $(LOCKS)/cpu.txt); \
	$(PIP) install --no-deps "$$torch" 2>/dev/null || \
	$(PIP) install --no-deps --index-url https://download.pytorch.org/whl/cpu "$$torch"
	@$(PIP) install --no-deps --requirement $(LOCKS)/cpu.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*; touch $@

$(VENV)/.installed-gpu: $(LOCKS)/gpu.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the GPU build into $(VENV) (about 10 GB; once) ..."
	@$(PIP) install --no-deps --requirement $(LOCKS)/gpu.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*; touch $@

$(VENV)/.installed-dev: $(LOCKS)/dev.txt $(STAMP)
	@$(PIP) install --no-deps --requirement $(LOCKS)/dev.txt
	@touch $@

$(VENV)/pgbouncer: | $(VENV)/bin/python
	@deploy/unpack-pgbouncer.sh $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Bondhu needs Python 3.11 or 3.12 (found neither): install one, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment with $(PYTHON): install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(PIP) install --upgrade pip setuptools wheel

test: $(VENV)/.installed-dev $(VENV)/pgbouncer
	@$(BIN)/python -m pytest

faults: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest tests/faults -m 'not gpu' --write-faults

test-slow: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m gpu

# What it needs of the machine is a GPU and an installed `make install PROFILE=gpu`; GPU_CHECK="--base DIR --adapter DIR".
gpu-check: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.gpu $(GPU_CHECK)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.serving
	@$(BIN)/python -m bench.added
	@$(BIN)/python -m bench.gateway

clean:
	rm -rf $(VENV) build *.egg-info
