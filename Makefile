# Everything sets itself up: a fresh machine needs Python 3.11 (or newer) and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check unit ort-training format bench-step clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/demo.stamp: pyproject.toml constraints.txt
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev,oracle]'
	@touch $@

demo: $(VENV)/demo.stamp  ## eight devices on a ring learn from each other over real MQTT
	@$(RUN)/edge-sim scenarios/demo.toml

test: check unit ort-training  ## everything CI runs

check: $(VENV)/test.stamp  ## lint, format, types, layers
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

unit: $(VENV)/test.stamp  ## the tests
	$(RUN)/pytest

# The official training package takes onnxruntime's import name, so it has an environment of its own; its last
# release has wheels for x86-64 and Python up to 3.12 only.
TRAINING := .venv-ort-training
SUITS := import platform, sys; sys.exit(not (platform.machine() in ("x86_64", "AMD64") and sys.version_info < (3, 13)))

$(TRAINING)/stamp: pyproject.toml constraints-ort-training.txt
	@test -x $(TRAINING)/bin/python || $(PYTHON) -m venv $(TRAINING)
	$(TRAINING)/bin/python -m pip install --quiet --constraint constraints-ort-training.txt \
		--editable '.[export,ort-training]' pytest
	@touch $@

ort-training:  ## the official on-device-training artifacts against our graph
	@if $(PYTHON) -c '$(SUITS)'; then $(MAKE) --no-print-directory $(TRAINING)/stamp && \
		MURMUR_ORT_TRAINING=1 $(TRAINING)/bin/python -m pytest -q -p no:cacheprovider tests/ort_training; \
	else echo "onnxruntime-training-cpu has no wheel for this machine or Python: its tests are left out"; fi

format: $(VENV)/test.stamp  ## put the code in shape
	$(RUN)/ruff check --fix . ; $(RUN)/ruff format .

bench-step: $(VENV)/test.stamp  ## the training step side by side with PyTorch eager
	$(RUN)/python -m benchmarks.step

clean:
	rm -rf $(VENV) $(TRAINING) .mypy_cache .ruff_cache .pytest_cache .hypothesis
