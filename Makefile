# Every target makes its own environment. `demo` installs the base only, the others everything.
# AIRFLOW=3.1.8 runs a target on the oldest supported version.
PYTHON ?= python3.11
AIRFLOW ?=
VENV := .venv$(if $(AIRFLOW),-$(AIRFLOW))
BIN := $(VENV)/bin
CONSTRAINTS := constraints$(if $(AIRFLOW),-$(AIRFLOW)).txt
# What stands in for warehouses and object storage, and dbt, want other versions than we do: environments of their own.
FAKESNOW := .venv-fakesnow
BIGQUERY := .venv-bigquery
STORAGE := .venv-storage
DBT := .venv-dbt
# Temporary files of the tests lie in memory where it has room: SQLite waits for the disk at each commit.
MEMORY := $(shell test "$$(df --output=avail -B1G /dev/shm 2>/dev/null | tail -1)" -ge 8 2>/dev/null && echo /dev/shm)
UV := UV_NO_CONFIG=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(CONSTRAINTS) --compile-bytecode

.PHONY: demo demo-snowflake demo-bigquery environments test test-law test-others test-long coverage lint docs bench mutants state-machine fuzz torture constraints dist matrix clean

demo: $(VENV)/.base
	$(BIN)/python dags/demo/run.py

demo-snowflake: $(VENV)/.all $(FAKESNOW)/.made
	$(BIN)/python dags/demo/warehouses.py snowflake

demo-bigquery: $(VENV)/.all $(BIGQUERY)/.made
	$(BIN)/python dags/demo/warehouses.py bigquery

# Tests wait for servers and for times, so more processes than cores end sooner.
WORKERS ?= $(shell expr $$(nproc) '*' 2)
# Bytecode is written even where the machine says otherwise: tests start hundreds of processes.
PYTEST = PYTHONDONTWRITEBYTECODE= $(if $(MEMORY),TMPDIR=$(MEMORY)) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

environments: $(VENV)/.all $(VENV)/.browser $(FAKESNOW)/.made $(BIGQUERY)/.made $(STORAGE)/.made $(DBT)/.made

# Both halves run at the same time: each alone would leave a part of the processors waiting.
test: environments
	$(MAKE) --no-print-directory --jobs 2 test-law test-others

# The branches of the law are measured, with a floor. Measuring doubles the time of tests: the others run without. One
# process is enough beside the others. It shows what it printed at its end, because the others print meanwhile.
test-law: WORKERS = 0
test-law: $(VENV)/.all
	@$(PYTEST) tests/consent --confcutdir=tests/consent --cov=airflow_consent_retl/consent --cov-report=term:skip-covered \
		--cov-fail-under=97 > $(VENV)/law.txt 2>&1; ended=$$?; cat $(VENV)/law.txt; exit $$ended

test-others: environments
	$(PYTEST) --ignore=tests/consent -m "not long"

# What `make test` leaves out: each case of a product in its other places too, and whole programs. It takes about as long.
# Most of them ask the stand-ins of warehouses: in one process they would go on long after all others.
test-long: environments
	$(PYTEST) --dist worksteal --ignore=tests/consent -m long

# Branch coverage of the package, by all tests in the test processes.
coverage: environments
	$(PYTEST) --cov --cov-report=term

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site, in build/site. Any warning is an error; `--quiet` would hide warnings from the count.
docs: $(VENV)/.all
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.all $(FAKESNOW)/.made $(BIGQUERY)/.made
	$(BIN)/python benchmarks/all.py

# Which mutants: all of them, which takes some six minutes, or those of a module, such as
# MUTANTS='airflow_consent_retl.consent.answers.*'.
MUTANTS ?=
mutants: $(VENV)/.all
	rm -rf mutants
	PYTHONPATH=tests $(BIN)/python -m support.mutants $(MUTANTS)

# The state machine of the protocol with many random examples, in all four kinds of places. About 30 minutes.
state-machine: $(VENV)/.all
	CONSENT_RETL_STATE_MACHINE_EXAMPLES=25 $(PYTEST) --timeout 3600 tests/delivery/test_state_machine.py

# Reads what a fuzzer makes of strings that grant. `make test` has a short run.
fuzz: $(VENV)/.all
	$(BIN)/python tests/fuzz/iab.py -runs=1000000 -max_len=600 -seed=1
	$(BIN)/python tests/fuzz/records.py -runs=1000000 -max_len=900 -seed=1

# Kills, stops and overlaps real workers against a vendor that misbehaves, with workspaces in files and in object storage,
# and against a table whose server is killed too; and checks what is left. About 25 minutes.
torture: $(VENV)/.all $(STORAGE)/.made
	cd tests && ../$(BIN)/python -m torture.run --seeds 10 --seconds 60
	cd tests && ../$(BIN)/python -m torture.run --seeds 4 --seconds 60 --target table
	cd tests && ../$(BIN)/python -m torture.run --seeds 2 --seconds 60 --workspace gs
	cd tests && ../$(BIN)/python -m torture.run --seeds 2 --seconds 60 --workspace s3

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix --constraint ,$(wildcard $(CONSTRAINTS))) uv
	touch $@

$(VENV)/.base: $(VENV)/.uv pyproject.toml $(CONSTRAINTS)
	$(UV) --editable .
	touch $@

$(VENV)/.all: $(VENV)/.uv pyproject.toml $(CONSTRAINTS)
	$(UV) --editable '.[all]' --group dev
	touch $@ $(VENV)/.base

# The browser of the tests: the machine's own, or one that this installs.
$(VENV)/.browser: $(VENV)/.all tests/support/chromium.py
	$(BIN)/python tests/support/chromium.py
	touch $@

.venv-%/.made: constraints-%.txt | $(VENV)/.uv
	UV_NO_CONFIG=1 $(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) .venv-$*
	UV_NO_CONFIG=1 $(BIN)/uv pip install --quiet --python .venv-$*/bin/python --requirement $<
	touch $@

# Writes the pins anew, without the addresses they came from.
constraints: $(VENV)/.uv
	echo uv > $(VENV)/tools.in
	$(if $(AIRFLOW),echo apache-airflow==$(AIRFLOW) >> $(VENV)/tools.in)
	UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --extra all --extra testing --group dev \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--output-file $(CONSTRAINTS) pyproject.toml $(VENV)/tools.in

# Builds what a release uploads, into `dist`, and checks it; installs the wheel into an empty environment.
dist: $(VENV)/.all
	rm -rf dist
	UV_NO_CONFIG=1 $(BIN)/uv build --quiet --out-dir dist
	UV_NO_CONFIG=1 $(BIN)/uv tool run --quiet twine==7.0.0 check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/python -m pytest --confcutdir=tests/packaging tests/packaging/check_dist.py

# The light part of the tests on each supported Python that this machine has, and on each supported Airflow.
matrix: $(VENV)/.uv
	$(BIN)/python tests/packaging/matrix.py $(BIN)/uv

clean:
	rm -rf .venv* .demo
