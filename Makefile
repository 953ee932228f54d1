# primegap: two commands do everything. `make demo` runs the main job, `make test` runs every test.
# Everything else is for people who change the code: see CONTRIBUTING.md.

SHELL := /bin/bash
PYTHON := .venv/bin/python
ARGS ?=
ONLY ?=
FUZZ_SECONDS ?= 60
N ?= 60
SEED ?= $(shell date +%s)
KILLS ?=
SEEDS ?= 20000
FIRST ?= 0

# A test that waits for processes leaves its core idle, so there are two workers for each.
WORKERS ?= $(shell echo $$((2 * $$(nproc))))

.PHONY: help demo test guarantees check format bench fuzz adversary kills docs screens lock clean setup setup-dev

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: setup ## Pair, receive, pay and sign by QR on a private chain; then stay open in the browser.
	@$(PYTHON) -m primegap.cli --data-dir build/demo demo $(ARGS)

test: setup-dev ## Run every test.
	@$(PYTHON) -bb -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

guarantees: setup-dev ## Attack the device and report each guarantee by id (KILLS=5000 for a long run).
	@$(if $(KILLS),PRIMEGAP_KILLS=$(KILLS)) $(PYTHON) -bb -m pytest --quiet --numprocesses $(WORKERS) \
	    --dist loadfile --guarantees build/guarantees.json $(ARGS)

check: setup-dev ## Static checks: format, lint, types, import contracts, docs.
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/mkdocs build --strict --quiet --site-dir build/site

format: setup-dev ## Format the code.
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: setup-dev ## Measure, each figure beside a limit or a peer (ONLY=name for one).
	@$(PYTHON) -m benchmarks $(if $(ONLY),--only $(ONLY)) $(ARGS)

fuzz: setup-dev ## Fuzz every decoder, FUZZ_SECONDS for all together (ONLY=name for one).
	@$(PYTHON) -m fuzz --seconds $(FUZZ_SECONDS) $(if $(ONLY),--only $(ONLY)) $(ARGS)

kills: setup-dev ## Kill N processes at random moments of pairing, sharing and paying (SEED=number).
	@PRIMEGAP_KILLS=$(N) PRIMEGAP_KILLS_SEED=$(SEED) $(PYTHON) -bb -m pytest -p no:randomly -s tests/e2e/test_walking_kills.py $(ARGS)

adversary: setup-dev ## A hostile chip and a hostile air, seed by seed (SEEDS=n seeds, FIRST=n to start at).
	@RADIO_ADVERSARY_SEEDS=$(SEEDS) RADIO_ADVERSARY_FIRST=$(FIRST) $(PYTHON) -bb -m pytest -q tests/adversary $(ARGS)

docs: setup-dev ## Build the documentation into build/site.
	@.venv/bin/mkdocs build --strict --site-dir build/site

screens: setup-dev ## Draw sample screens of the device into build/screens.
	@$(PYTHON) scripts/render_screens.py

lock: setup-dev ## Resolve the dependencies again and write the lock files.
	@scripts/lock

setup: ## Make the virtual environment with the locked dependencies.
	@scripts/setup runtime

setup-dev: ## The same with the tools for tests and checks.
	@scripts/setup dev

clean: ## Remove everything that was built.
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
