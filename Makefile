# Everything here sets itself up: it needs make, Python 3.11 to 3.13, and a way to the Python package index.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# uv trusts its own list of authorities unless told; pip and Python use the machine's.
export UV_SYSTEM_CERTS ?= true

.DEFAULT_GOAL := help
.PHONY: help demo ui env test test-live soak year kills stores explore versions bench lint fmt dist screenshots coverage-pictures clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## backfill 14 days from a simulated CCA with a real Airflow, check every file, stop
	@$(RUN) -m tests.live.demo

ui: $(INSTALLED) ## the same Airflow, left running for you to click Backfill; Ctrl-C stops it
	@$(RUN) -m tests.live.demo --ui

env: ## write .env, with fresh secrets, for `docker compose up`
	@sh docker/make-env.sh

test: lint ## lint, types, and the test suite, on all cores
	$(RUN) -m pytest -n auto -m "not live"

explore: SECONDS ?= 600
explore: $(INSTALLED) ## try the orders in which tasks can move that write one partition; ten minutes
	@$(RUN) -m tests.reliability.explorer --seconds $(SECONDS)

# A folder of its own: PostgreSQL has a user of its own, whom any other run of pytest would lock out of the usual one.
test-live: $(INSTALLED) ## the tests that run a real Airflow, the demo among them
	@folder=$$(mktemp -d /tmp/cca-live-XXXXXX) && trap 'rm -rf "$$folder"' EXIT && \
		$(RUN) -m pytest -m live --ignore=tests/reliability/test_store_matrix.py --basetemp="$$folder/run" $(ONLY)

soak: $(INSTALLED) ## backfill 365 days of three reports while answers fail and tasks are killed; takes half an hour
	@$(RUN) -m tests.live.soak --days 365 --reports 3

year: $(INSTALLED) ## land a year of all reports beside curl, damage it, let it heal; takes pictures before and after; 3 minutes
	@$(RUN) -m tests.live.year

kills: $(INSTALLED) ## kill a landing at 100 random moments on each store; see what is left, and land the rest
	$(RUN) -m pytest -m live tests/reliability/test_kills.py

stores: $(INSTALLED) ## what is promised of each kind of store, on real servers; 8 minutes
	@$(RUN) -m uv pip install --quiet --python $(RUN) --group stores || $(RUN) -m pip install --quiet --group stores
	$(RUN) -m pytest -m live tests/reliability/test_store_matrix.py

versions: $(INSTALLED) dist ## what meets Airflow on the newest 3.1 and 3.2, with our wheel installed; on 3.1 also backfills
	@$(RUN) -m tests.package.versions

bench: $(INSTALLED) ## measure us beside curl, rclone and others; writes docs/benchmarks.md
	@$(RUN) -m uv pip install --quiet --python $(RUN) --group bench --group stores || $(RUN) -m pip install --quiet --group bench --group stores
	@$(RUN) -m benchmarks
	@$(RUN) -m benchmarks.growth

lint: $(INSTALLED) ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

fmt: $(INSTALLED) ## format, and fix what ruff can fix
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

dist: $(INSTALLED) ## build the wheel and the source distribution into dist/
	rm -rf dist
	$(RUN) -m build

screenshots: $(INSTALLED) ## take docs/images anew from the real UI; needs Debian's chromium
	@$(RUN) -m tests.live.screenshot
	@$(RUN) -m tests.live.coverage_pictures

coverage-pictures: $(INSTALLED) ## only those of the coverage page with gaps, in light and dark
	@$(RUN) -m tests.live.coverage_pictures

clean: ## remove the environment, the demo's Airflow with its store, builds and caches
	rm -rf $(VENV) .versions .airflow dist .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find airflow_provider_cca benchmarks dags tests -name __pycache__ -prune -exec rm -rf {} +

# Compiled to bytecode at once: otherwise each of Airflow's processes starts two to three times slower at first.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: install one, or say make PYTHON=/path/to/it" >&2; exit 1; }
	@$(RUN) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing Airflow and what the tests need into $(VENV) ..."
	@{ $(RUN) -m pip install --quiet uv && \
		$(RUN) -m uv pip install --quiet --python $(RUN) --compile-bytecode -e . --group dev; } || \
		{ echo "uv could not install it; trying pip ..."; \
		$(RUN) -m pip install --quiet --upgrade 'pip>=25.1' && $(RUN) -m pip install --quiet -e . --group dev; }
	@touch $@
