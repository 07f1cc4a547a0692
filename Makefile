# make demo: a whole study on embedded data.  make test: the tests.  Nothing but Python 3.11+ with venv is taken for granted.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# which tests: make test MARK=slow; the quick ones in two processes, for a cluster wants the machine to itself
MARK ?= not slow
JOBS ?= $(if $(findstring not slow,$(MARK)),2,0)

.PHONY: demo test lint bench clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/topotune run search_spaces/digits.toml --studies studies

test: export OMP_NUM_THREADS = 1
test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) -m "$(MARK)"

lint: $(INSTALLED)
	$(BIN)/ruff check topotune tests docs
	$(BIN)/ruff format --check topotune tests docs
	$(BIN)/mypy topotune

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.layer --out bench/layer.json
	$(BIN)/python -m tests.benchmarks.step --out bench/step.json
	$(BIN)/python -m tests.benchmarks.compiled --out bench/compiled.json
	$(BIN)/python -m tests.benchmarks.pruning --images 1000 --proportions 21
	$(BIN)/python -m tests.benchmarks.trial_start --out bench/trial_start.json
	$(BIN)/python -m tests.benchmarks.bookkeeping --out bench/bookkeeping.json
	$(BIN)/python -m tests.benchmarks.efficiency --out bench/efficiency.json
	$(BIN)/python -m tests.benchmarks.tracking --out bench/tracking.json
	$(BIN)/python -m tests.benchmarks.against_ray --out bench/against_ray.json
	$(BIN)/python -m tests.benchmarks.faults --out bench/faults.json
	@test -z "$(DATA)" || $(BIN)/python -m tests.benchmarks.corruptions --data $(DATA) --out bench/corruptions.json
	@test -z "$(DATA)" || $(BIN)/python -m tests.benchmarks.training --data $(DATA) --out bench/training.json
	@test -z "$(DATA)" || $(BIN)/python -m tests.benchmarks.data_memory --data $(DATA) --out bench/data_memory.json

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "topotune needs Python 3.11 or later: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build bench *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
