# A helper, not the build system: CMake builds; lit, unit tests and pytest test.
# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
ROOT := $(CURDIR)
BUILD := $(ROOT)/build
LLVM_BIN ?= /usr/lib/llvm-22/bin
PYTHON := $(ROOT)/.venv/bin/python
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider
TEST_FOLDERS := python/tests examples/demo scripts/tests

# What is written at run time stays in build/.
export CCACHE_DIR ?= $(BUILD)/cache/ccache
export FLA_CACHE_DIR ?= $(BUILD)/cache/fla
export MPLCONFIGDIR ?= $(BUILD)/cache/matplotlib
export PYTHONPYCACHEPREFIX ?= $(BUILD)/cache/python
export TORCHINDUCTOR_CACHE_DIR ?= $(BUILD)/cache/torchinductor
export HF_HUB_OFFLINE := 1
export PYTHONPATH := $(ROOT)/python

.PHONY: help setup build demo test test-long wheel benchmark docs format clean

help: ## list the targets
	@echo "usage: make TARGET"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

setup: ## install missing Debian packages and .venv, after saying which
	@scripts/setup.sh

$(BUILD)/build.ninja: | setup
	@echo "configure: build/"
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang-22 \
	  -DCMAKE_CXX_COMPILER=clang++-22 -DFLA_BUILD_PYTHON=ON -DPython_EXECUTABLE=$(PYTHON) > $(BUILD)-configure.log 2>&1 \
	  || { cat $(BUILD)-configure.log; rm -f $(BUILD)-configure.log; exit 1; }
	@mv $(BUILD)-configure.log $(BUILD)/configure.log

build: setup $(BUILD)/build.ninja ## build everything
	@ninja -C $(BUILD) -j $(JOBS) --quiet

demo: setup $(BUILD)/build.ninja ## build, check two definitions, train a small language model
	@echo "build: the compiler, its Python module and its tools (minutes the first time)"
	@ninja -C $(BUILD) -j $(JOBS) fla _fla fla-check
	@$(PYTHON) examples/demo/demo.py

test: build ## lit, unit tests and pytest, at most 15 minutes
	@$(LLVM_BIN)/lit -sv $(BUILD)/test
	@ninja -C $(BUILD) --quiet check-unit
	@$(PYTEST) -m "not long" $(TEST_FOLDERS)

# check-unit tries one definition of each class in the simulator of GPUs, test-long all.
# It leaves a new docs/gpu-resources.md in build/. The tests of the wheel (scripts/tests/test_wheel.py, marked long) want one of this checkout.
test-long: build ## everything, at most two hours
	@$(MAKE) --no-print-directory wheel
	@$(LLVM_BIN)/lit -sv $(BUILD)/test
	@ninja -C $(BUILD) --quiet check-unit
	@$(BUILD)/unittests/GPU/DefinitionsTest --all --jobs=$(JOBS)
	@$(BUILD)/bin/fla-check lib/Models/*.mlir
	@$(PYTHON) scripts/gpu_resources.py $(BUILD)/bin/fla-translate --out $(BUILD)/gpu-resources.md --jobs=$(JOBS)
	@$(PYTEST) -m "long or not long" $(TEST_FOLDERS)

benchmark: setup $(BUILD)/build.ninja ## time two operators against eager PyTorch
	@ninja -C $(BUILD) -j $(JOBS) --quiet fla _fla
	@$(PYTHON) benchmarks/eager_chunks.py

# The static build is a folder of its own: WHEEL_BUILD, so that a rebuild takes what changed.
WHEEL_BUILD ?= $(BUILD)/wheel
wheel: setup ## build dist/fla_compiler-*.whl, which runs where no LLVM is, and check what it needs
	@$(PYTHON) scripts/build_wheel.py --build-dir $(WHEEL_BUILD) --out dist --jobs $(JOBS)

docs: setup ## write docs/Dialects and docs/Passes.md anew from TableGen
	@scripts/generate-docs.sh

format: ## clang-format on the C++ sources
	@git ls-files '*.cpp' '*.h' | xargs $(LLVM_BIN)/clang-format -i

clean: ## remove build/ (.venv stays)
	@rm -rf $(BUILD)
