# `make up` and `make test` are all that a fresh machine needs: both install first, into .venv.
PROFILE ?= cpu
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Every file that is installed has a hash in its lock file, and nothing is that has not: docs/security.md.
LOCKED  := $(PIP) install --require-hashes --no-deps
LOCKS   := deploy/requirements
STAMP   := $(VENV)/.installed-$(PROFILE)
PYTHON  ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)

# In how many processes `make test` runs the tests; each has servers of its own.
PROCESSES  ?= 2
# What runs compose files and containers here: docker, or podman (COMPOSE=podman-compose CONTAINERS=podman).
COMPOSE    ?= docker compose
CONTAINERS ?= docker

.PHONY: help sbom secrets licences compose-test compose-test-gpu-shape compose-test-upgrade compose-test-repeatable test-wheel up down install test test-slow faults test-gpu gpu-check check bench audit clean
.DEFAULT_GOAL := up

help:
	@echo "make up            install, start everything on 127.0.0.1:8000; PROFILE=gpu on a GPU"
	@echo "make down          stop it"
	@echo "make install       install only"
	@echo "make test          tests against the real stack; test-slow, test-gpu: the others; test-wheel: against the wheel"
	@echo "make check         ruff, mypy, import-linter"
	@echo "make bench         the gateway beside bare vLLM and LiteLLM, about forty minutes"
	@echo "make faults        break every part on purpose, write docs/faults.md"
	@echo "make gpu-check     the whole service on a GPU, eight minutes"
	@echo "make compose-test  the small machine's containers; -gpu-shape: the GPU's, without a GPU; -upgrade: blue and green"
	@echo "make audit         known vulnerabilities of pinned packages"
	@echo "make licences      docs/licences.md; sbom: CycloneDX; secrets: strings in the repository that look like some"
	@echo "make clean         remove the virtual environments"

up: $(STAMP)
	@exec env BONDHU_PROFILE=$(PROFILE) $(BIN)/bondhu up

down:
	@test -x $(BIN)/bondhu && $(BIN)/bondhu down || echo "nothing to stop: bondhu is not installed here"

install: $(STAMP)

# Torch first: where pip already finds the CPU build, from there, else from PyTorch's own index.
$(VENV)/.installed-cpu: $(LOCKS)/cpu.txt pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python $(LOCKS)/interpreter.py cpu
	@echo "Installing the CPU build into $(VENV) (about 1.5 GB; once, a few minutes) ..."
	@sed -n '/^torch==/,/[^\\]$$/p' $(LOCKS)/cpu.txt > $(VENV)/torch.txt
	@$(LOCKED) --requirement $(VENV)/torch.txt 2>/dev/null || \
	$(LOCKED) --index-url https://download.pytorch.org/whl/cpu --requirement $(VENV)/torch.txt || \
	{ echo "pip found no CPU build of torch for $$($(BIN)/python --version): see above; another Python: rm -r $(VENV), then make PYTHON=/path/to/python3.11"; exit 1; }
	@$(LOCKED) --requirement $(LOCKS)/cpu.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*; touch $@

$(VENV)/.installed-gpu: $(LOCKS)/gpu.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the GPU build into $(VENV) (about 10 GB; once) ..."
	@$(LOCKED) --requirement $(LOCKS)/gpu.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*; touch $@

$(VENV)/.installed-dev: $(LOCKS)/dev.txt $(STAMP)
	@$(LOCKED) --requirement $(LOCKS)/dev.txt
	@touch $@

$(VENV)/pgbouncer: | $(VENV)/bin/python
	@deploy/unpack-pgbouncer.sh $@

$(VENV)/prometheus: | $(VENV)/bin/python
	@deploy/unpack-prometheus.sh $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Bondhu needs Python 3.11 or 3.12 (found neither): install one, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) $(LOCKS)/interpreter.py $(PROFILE)
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment with $(PYTHON): install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(LOCKED) --requirement $(LOCKS)/build.txt

# In two processes: one begins with the tests of the real stack, the other with the rest (tests/support/whole_stack.py).
test: $(VENV)/.installed-dev $(VENV)/pgbouncer $(VENV)/prometheus
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

faults: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest tests/faults -m 'not gpu' --write-faults

test-slow: $(VENV)/.installed-dev $(VENV)/prometheus
	@$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m gpu

# What it needs of the machine is a GPU and an installed `make install PROFILE=gpu`; GPU_CHECK="--base DIR --adapter DIR".
# The published model is measured too where it can be fetched; without a network the check says that it was left out.
gpu-check: $(VENV)/.installed-dev
	-@$(BIN)/bondhu models fetch smollm2-135m-instruct --form checkpoint
	@$(BIN)/python -m bench.gpu $(GPU_CHECK)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests against the wheel of the last commit, as the images have it: those that need no sources beside it.
WHEEL_TESTS ?= tests/storage tests/serving/cli tests/serving/routes tests/serving/config tests/jobs
test-wheel: $(STAMP)
	@deploy/test_wheel.sh $(BIN)/python -q $(WHEEL_TESTS)

# The small machine's compose file for real: up, used, broken on purpose, memory beside limits, down.
compose-test:
	@BUILDAH_FORMAT=docker $(PYTHON) deploy/docker/compose_test --compose "$(COMPOSE)" --containers "$(CONTAINERS)" $(COMPOSE_TEST)

# The GPU's compose file, the CPU image in the GPU's place.
compose-test-gpu-shape: $(STAMP)
	@BUILDAH_FORMAT=docker $(CONTAINERS) build --file deploy/docker/Dockerfile --target cpu --tag localhost/bondhu:cpu .
	@BUILDAH_FORMAT=docker $(CONTAINERS) build --file deploy/docker/Dockerfile --target worker --tag localhost/bondhu:worker .
	@$(BIN)/python deploy/docker/compose_test/gpu_shape.py --compose "$(COMPOSE)" --containers "$(CONTAINERS)" $(COMPOSE_TEST)

# An image built twice from nothing, file by file: docs/deploy.md, the first section.
compose-test-repeatable:
	@BUILDAH_FORMAT=docker $(PYTHON) deploy/docker/compose_test/repeatable.py --build "$(CONTAINERS) build" --containers "$(CONTAINERS)" $(COMPOSE_TEST)

# Blue, green and blue again under load, the images of compose-test: docs/deploy.md, "Upgrading without an interruption".
compose-test-upgrade:
	@BUILDAH_FORMAT=docker $(PYTHON) deploy/docker/compose_test/upgrade.py --compose "$(COMPOSE)" --containers "$(CONTAINERS)" $(COMPOSE_TEST)

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.serving --model bondhu-demo
	@$(BIN)/python -m bench.serving --model smollm2-135m-instruct --name serving-default --concurrency 1,8 --rounds 4
	@$(BIN)/python -m bench.serving.engines --forms
	@$(BIN)/python -m bench.serving.added
	@$(BIN)/python -m bench.gateway

# In an environment of its own, so that what it needs is none of ours. It asks PyPI's advisories: it needs the internet.
audit: $(VENV)-audit/bin/cyclonedx-py
	@$(BIN)/python deploy/audit.py $(VENV)-audit/bin/pip-audit $(foreach lock,cpu gpu dev build,$(LOCKS)/$(lock).txt)

# What is installed, as CycloneDX (https://cyclonedx.org), and strings in the repository that look like secrets: nothing
# beyond deploy/secrets-baseline.json, which has the made-up ones of tests and examples.
sbom: $(STAMP) $(VENV)-audit/bin/cyclonedx-py
	@$(VENV)-audit/bin/cyclonedx-py environment --no-validate --output-reproducible --pyproject pyproject.toml \
	-o build/sbom.json $(BIN)/python && echo build/sbom.json

secrets: $(VENV)-audit/bin/cyclonedx-py
	@git ls-files -z | grep -zvE '^deploy/requirements|\.(safetensors|jsonl|png)$$|tokenizer' | \
	xargs -0 $(VENV)-audit/bin/detect-secrets-hook --baseline deploy/secrets-baseline.json

licences: $(STAMP)
	@$(BIN)/python deploy/licences.py

$(VENV)-audit/bin/cyclonedx-py: $(LOCKS)/audit.txt | $(VENV)/bin/python
	@$(BIN)/python -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip --quiet install --require-hashes --no-deps --requirement $(LOCKS)/audit.txt
	@mkdir -p build; touch $@

clean:
	rm -rf $(VENV) $(VENV)-audit build *.egg-info
