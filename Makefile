# Every target wraps one command line of amodal-bench and echoes it.
# A folder named datasets/ beside the package must never be what `import datasets` finds.
export PYTHONSAFEPATH := 1

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/amodal-bench

METHOD ?=
DATASET ?=
SPLIT ?=
LIMIT ?=
SEED ?=
ROOT ?=
DATA_ROOT ?=
RUNS ?=
KIND ?= curve
ARGS ?=

comma := ,
option = $(if $(2),--$(1) $(2))
OPTIONS = $(strip $(call option,method,$(METHOD)) $(call option,dataset,$(DATASET)) $(call option,split,$(SPLIT)) \
  $(call option,limit,$(LIMIT)) $(call option,seed,$(SEED)) $(call option,root,$(ROOT)) \
  $(call option,data-root,$(DATA_ROOT)) $(ARGS))

.DEFAULT_GOAL := help
.PHONY: help setup bench score verify measure train ablation report figure tables compare audit doctor list test test-large lint perf gpu fuzz soak clean

help: ## this text
	@echo "make TARGET [METHOD=m[,m]] [DATASET=d[,d]] [SPLIT=s] [LIMIT=n] [SEED=n[,n]] [ROOT=dir] [DATA_ROOT=dir] [ARGS='...']"
	@echo
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make bench METHOD=visible DATASET=coco_a ROOT=/data/coco_a"

setup: $(VENV)/.installed ## make .venv and install the harness and what all methods need

bench: $(VENV)/.installed ## run methods on datasets and compare them (the embedded ones if none is named)
	$(RUN) bench $(OPTIONS)

score: $(VENV)/.installed ## score the runs in RUNS=folder again (default: results), e.g. ARGS='--protocol pooled/1'
	$(RUN) score $(or $(RUNS),results) $(ARGS)

verify: $(VENV)/.installed ## count the runs in RUNS=folder again (default: results) from masks and dataset; ARGS=--quick: the folder alone
	$(RUN) verify $(or $(RUNS),results) $(strip $(call option,root,$(ROOT)) $(call option,data-root,$(DATA_ROOT)) $(ARGS))

measure: $(VENV)/.installed ## metrics of pixels of the runs in RUNS=folder (default: results), e.g. ARGS='--metric boundary'
	$(RUN) measure $(or $(RUNS),results) $(strip $(call option,root,$(ROOT)) $(call option,data-root,$(DATA_ROOT)) $(ARGS))

train: $(VENV)/.installed ## train METHOD on DATASET; bench finds the weights (several GPUs: docs/conddiff.md)
	$(RUN) train $(strip $(call option,method,$(METHOD)) $(call option,dataset,$(DATASET)) $(call option,split,$(SPLIT)) \
	  $(call option,seed,$(SEED)) $(call option,root,$(ROOT)) $(call option,data-root,$(DATA_ROOT)) $(ARGS))

ablation: $(VENV)/.installed ## train conddiff-nano without each of its parts and compare (half an hour on two cores)
	$(BIN)/python benchmarks/ablations/conddiff.py $(ARGS)

report: $(VENV)/.installed ## one page of all runs that opens from disk: results/report/index.html
	$(RUN) report $(strip $(call option,data-root,$(DATA_ROOT)) $(ARGS))

figure: $(VENV)/.installed ## KIND=curve|scatter|bars|grid of METHOD's runs on DATASET, as PNG and PDF
	$(RUN) figure $(KIND) $(strip $(call option,method,$(METHOD)) $(call option,dataset,$(DATASET)) $(call option,split,$(SPLIT)) \
	  $(call option,root,$(ROOT)) $(call option,data-root,$(DATA_ROOT)) $(ARGS))

tables: $(VENV)/.installed ## write the papers' tables, published and measured, to results/tables
	$(RUN) tables $(ARGS)

compare: $(VENV)/.installed ## compare METHOD=a,b[,c] on DATASET instance by instance, e.g. ARGS='--protocol pooled/1'
	$(RUN) compare $(subst $(comma), ,$(METHOD)) $(strip $(call option,dataset,$(DATASET)) $(call option,split,$(SPLIT)) $(ARGS))

audit: $(VENV)/.installed ## what published tables compare that is not like for like; RUNS=run: one run under every protocol
	$(RUN) audit $(RUNS) $(ARGS)

doctor: $(VENV)/.installed ## check this machine, or DATASET's files
	$(RUN) doctor $(DATASET) $(strip $(call option,split,$(SPLIT)) $(call option,root,$(ROOT)) $(call option,data-root,$(DATA_ROOT)) $(ARGS))

list: $(VENV)/.installed ## methods, datasets and protocols, and whether they are ready
	$(RUN) list $(ARGS)

# One process a core with one thread each: two processes of two threads on two cores run ten times slower. A file's tests
# share what they make once, so they stay together.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/.installed-dev ## run the test suite
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-large: $(VENV)/.installed-dev ## the real architectures with random weights on a CPU (ten minutes, 13 GB of memory)
	$(BIN)/python -m pytest -s -m large --durations=0 tests/methods/inpaint/test_large.py $(ARGS)

lint: $(VENV)/.installed-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

perf: $(VENV)/.installed-dev ## the speed comparisons in benchmarks/
	set -e; for file in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/*.py)); do echo $$file; $(BIN)/python $$file; done

gpu: $(VENV)/.installed-dev ## conddiff on a CUDA card, into gpu-conddiff.json (four minutes; again: what is left)
	$(BIN)/python benchmarks/gpu.py conddiff $(ARGS)

fuzz: $(VENV)/.installed-dev ## open damaged datasets of every layout for ten minutes
	PYTHONPATH=. $(BIN)/python -m benchmarks.fuzz $(ARGS)

soak: $(VENV)/.installed-dev ## kill, crowd and starve runs for a quarter of an hour; writes docs/soak.md
	$(BIN)/python benchmarks/soak --write docs/soak.md $(ARGS)

clean: ## remove .venv and what tools left (results, data and weights stay)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[all]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[all,dev]'
	@touch $@
