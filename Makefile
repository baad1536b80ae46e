# Two commands do everything on a fresh machine with Python 3.11 or later: make demo, make test.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint type bench kernel-report gpu-check gpu-train clean

help:
	@echo "make demo    derain a rainy clip made on the spot; look into demo/"
	@echo "make test    run the tests"
	@echo "make lint    ruff: rules and format"
	@echo "make type    mypy --strict"
	@echo "make bench   measure this machine: networks and whole programs"
	@echo "make kernel-report   compile every kernel for six GPUs; needs none"
	@echo "make gpu-check OUT=FOLDER   tests and benchmarks that need a GPU, in ten minutes"
	@echo "make gpu-train CONFIG=first   pack a training slot for a GPU machine into slot/"
	@echo "make clean   remove what the other commands made"

# The stamp is newer than pyproject.toml while the environment holds what it asks for.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/installed
	mkdir -p demo
	$(BIN)/python -m sapnet_training.rain demo/rainy.mp4 --clean demo/clean.mp4
	$(BIN)/sapnet-stream demo/rainy.mp4 demo/derained.mp4 --overwrite
	$(BIN)/python -m sapnet_training.before_after demo/clean.mp4 demo/rainy.mp4 demo/derained.mp4 \
		--picture demo/before_after.png

# Two processes, one of which has what waits for cameras.
test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/installed
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/sapnet-stream bench

kernel-report: $(VENV)/installed
	$(BIN)/python kernels/benchmarks/kernel_report.py \
		--out kernels/benchmarks/results/kernel_report.md

# By PYTHON, which need not have the package; CLIP is a 1920x1080 video, made if there is none;
# PARTS are some of the parts that the script names.
OUT ?= gpu-check
gpu-check:
	OUT="$(OUT)" CLIP="$(CLIP)" PARTS="$(PARTS)" PYTHON="$(PYTHON)" bash kernels/benchmarks/gpu_check.sh

# A slot goes on from RUN, the folder the slot before gave back; the first one may begin with the
# weights START, a run's .pt or bundled ones. BUDGET is the time of all slots together, in minutes.
# CONFIG is a recipe of configs/ by the end of its name, or the path of one.
CONFIG ?= first
RECIPE = $(firstword $(wildcard configs/sapnet_$(CONFIG).yaml configs/$(CONFIG).yaml))
gpu-train: $(VENV)/installed
	$(BIN)/python -m sapnet_training.gpu_slot \
		"$(or $(RECIPE),$(CONFIG))" slot \
		$(if $(RUN),--run "$(RUN)") $(if $(START),--start "$(START)") \
		$(if $(BUDGET),--budget-minutes $(BUDGET)) $(OVERRIDES)

clean:
	rm -rf $(VENV) gpu-check slot demo .mypy_cache .pytest_cache .ruff_cache
