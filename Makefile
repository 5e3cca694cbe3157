# The two main commands are `make` (environment and demo) and `make test`. `make help` lists all targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc)
GPUS := $(shell nvidia-smi --list-gpus 2>/dev/null | wc -l)
SLURM := munge slurmctld slurmd slurm-client slurm-wlm-torque iproute2
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
CPU_BUILDS ?= wheels
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --resources gpu=$(GPUS)

# Variables that a notebook, a shell or a container may set, and that would break the steps or, the last, slow them down.
unexport MPLBACKEND PYTHONSAFEPATH PYTHONIOENCODING PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := demo
.PHONY: demo environment cluster test test-slow test-demo test-tools test-slurm test-kubernetes tools status
.PHONY: extraction demo-media test-extract partial-report test-kill test-ci check format docs lock unlock clean help

demo: environment ## run the demo; the report is results/demo/report.html
	$(SNAKEMAKE) --config experiment=demo --quiet rules
	@echo "The report: results/demo/report.html"

environment: $(VENV)/.installed ## create .venv from the lock file

# Without a GPU, PyTorch's CPU build saves gigabytes. If no index has it, PyPI's build is installed.
$(VENV)/.installed: envs/requirements.lock envs/torch_cpu.lock envs/torch_cuda.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	if [ $(GPUS) = 0 ] && $(INSTALL) --no-deps --requirement envs/torch_cpu.lock 2>/dev/null; then \
		$(INSTALL) --requirement envs/requirements.lock; \
	else \
		$(INSTALL) --requirement envs/requirements.lock --requirement envs/torch_cuda.lock; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# For example, make status CONFIG="experiment=paper data=/my/corpora". Both work while Snakemake runs.
status: environment ## show progress and the estimated time left: CONFIG="experiment=paper"
	@$(BIN)/python scripts/status.py --config $(CONFIG)

partial-report: environment ## write the report of an unfinished experiment: CONFIG="experiment=paper"
	@$(BIN)/python scripts/partial_report.py --config $(CONFIG)

cluster: $(VENV)/.cluster ## install the plugins for the profiles of schedulers

$(VENV)/.cluster: envs/cluster.txt $(VENV)/.installed
	$(INSTALL) --no-deps --requirement envs/cluster.txt
	touch $@

extraction: $(VENV)/.extraction ## install the packages for extraction from raw media

# Without dependencies: the file lists those that are used, and leaves out TensorFlow.
$(VENV)/.extraction: envs/extract.txt $(VENV)/.installed
	$(INSTALL) --no-deps --requirement envs/extract.txt
	touch $@

demo-media: extraction ## run the demo of extraction; the report is results/demo_media/report.html
	$(SNAKEMAKE) --config experiment=demo_media --quiet rules
	@echo "The report: results/demo_media/report.html"

test: environment ## run the tests that are not slow (minutes)
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: tools ## run every test
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile

test-ci: environment ## run the slow tests that continuous integration runs
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile -m ci

test-kill: environment ## kill a small experiment five times at random and compare its results with an uninterrupted run
	$(BIN)/python -m pytest tests/workflow/test_kill.py -k "[5]"

test-demo: export NMER_DEMO := required

test-demo: environment ## check the scores of the finished demo; fails if `make` has not run
	$(BIN)/python -m pytest tests/workflow/test_demo_scores.py

test-tools: export NMER_TOOLS := required

test-tools: tools ## run the tests that need Chromium, LaTeX and axe-core; fails if one is missing
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile -m tools

tools: environment ## install Chromium, LaTeX and axe-core for the tests, system packages only as root
	.ci/tools $(VENV)

test-extract: export NMER_EXTRACTION := required

test-extract: extraction ## install the packages for extraction and run all its tests
	$(INSTALL) --no-deps --requirement tests/extraction/requirements.txt
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder tests/extraction

test-slurm: cluster ## run the workflow on a real Slurm, installed on this machine for the tests (Debian, root)
	dpkg --status $(SLURM) >/dev/null 2>&1 || { apt-get update && apt-get install --yes --no-install-recommends $(SLURM); }
	$(BIN)/python tests/slurm/cluster.py $(BIN)/python -m pytest tests/slurm

test-kubernetes: cluster ## render Kubernetes jobs, check them against its schemas and run them without a cluster
	$(INSTALL) --no-deps --requirement tests/kubernetes/requirements.txt
	$(BIN)/python -m pytest tests/kubernetes

# snakefmt calls shfmt, which is in the same folder.
check format: export PATH := $(CURDIR)/$(BIN):$(PATH)

check: environment ## run the checks of continuous integration other than tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: environment ## format code and rules
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

docs: $(VENV)-docs/.installed ## build the documentation; open site/index.html
	$(VENV)-docs/bin/mkdocs build --strict --quiet

$(VENV)-docs/.installed: envs/docs.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement envs/docs.txt
	touch $@

lock: ## pin the newest versions that envs/requirements.in allows (CPU_BUILDS: folder with PyTorch's CPU wheels)
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	$(VENV)-lock/bin/python envs/lock.py --cpu-builds $(CPU_BUILDS)
	rm -r $(VENV)-lock

unlock: ## after a crash, remove the lock of a killed Snakemake
	$(SNAKEMAKE) --unlock

clean: ## remove results; the environment stays
	rm -rf results .snakemake

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16
