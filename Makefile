# make demo | test | lint | bench: each sets up .venv first, once.
#
# Variables:  PYTHON      interpreter to make .venv with (3.10 or newer)
#             TORCH_SPEC  the PyTorch to install; the only place that pins it
#             TORCH_ARGS  pip arguments for PyTorch alone, e.g. an --index-url of CPU wheels where pip's
#                         own index would hand out a CUDA build of several gigabytes
#             PIP_ARGS    arguments for every pip command

PYTHON ?= python3
VENV ?= .venv
TORCH_SPEC ?= torch==2.13.0
TORCH_ARGS ?=
PIP_ARGS ?=

BIN := $(abspath $(VENV))/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
READY := $(VENV)/.ready

# Tests call cmake and ninja, which come from pip.
export PATH := $(BIN):$(PATH)

.PHONY: demo test lint bench clean devices

demo: $(READY) devices
	$(BIN)/python examples/demo.py

# One torch thread per worker: there is a worker for each core already.
test: $(READY) devices
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build/lint && mkdir -p build/lint/millijoule
	@ln -s $(addprefix $(CURDIR)/,$(wildcard sdk/millijoule/*) converters targets) build/lint/millijoule
	$(BIN)/mypy
	$(BIN)/pylint sdk/millijoule converters targets

# Emulators and cross compilers from apt: installed where we may, asked for where we may not.
devices: $(READY)
	@.ci/devices $(BIN)/python

# Three minutes behind the environment (180 s on two cores); `benchmarks/run.py` without --quick takes an hour.
bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py --quick

clean:
	rm -rf $(VENV) build dist

$(VENV)/.bench: $(READY) benchmarks/requirements-no-deps.txt
	$(PIP) --editable '.[convert,bench]' '$(TORCH_SPEC)'
	$(PIP) --no-deps -r benchmarks/requirements-no-deps.txt
	@touch $@

$(READY): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) must be Python 3.10 or newer; choose one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; run: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_ARGS) '$(TORCH_SPEC)'
	$(PIP) --editable '.[convert,cross,train,nir,onnx,tflite,tensorrt,jetson,litert,coreml,tune,report,image,energy,dev]'
	$(PIP) --no-deps timm==1.0.31 # torchvision, a dependency, would bring a torch of its own
	@touch $@
