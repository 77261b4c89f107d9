# The commands of this repository; `make` lists them. Each installs what it needs, once.
BIN := .venv/bin
RECORDING := tests/data/activate-demo.flac

# how many tests run at once, each worker a process of its own; 0: no workers, so that a debugger can be used
PYTEST_WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores > 2 ? cores : 2)))
# one thread, as in the daemon: the engine's matrices are so small that more of them only wait for each other;
# loadgroup: tests that disturb each other carry one `xdist_group`, and so run on one worker, one after the other
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadgroup

.PHONY: help run test check lint format bench soak demo model deb clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: ## listen to the microphone (without one: to a recording)
	@scripts/setup run
	@if $(BIN)/chimed devices >/dev/null; then $(BIN)/chimed run; else \
	    echo "No microphone, so chimed listens to $(RECORDING) instead."; \
	    $(BIN)/chimed run --input $(RECORDING); fi

test: lint ## all checks: format, lint, types, tests (PYTEST_WORKERS=n: so many at once)
	@scripts/setup test
	$(PYTEST)

check: lint ## format, lint, types and the unit tests: an answer in about two minutes
	@scripts/setup check
	$(PYTEST) -m "not slow and not integration and not packaging"

deb: ## build a Debian package of chimed in dist/ (ARCH=arm64: for a Raspberry Pi)
	@scripts/setup run
	@scripts/deb $(ARCH)

lint: ## format, lint, types and imports alone; installs little
	@scripts/setup lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache # who may import whom

format: ## bring the sources into shape
	@scripts/setup lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: ## CPU time and memory, alone and beside other engines (LONG=1: more rounds, an hour of audio)
	@scripts/setup test
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m tests.bench.cost $(RECORDING) $(if $(LONG),--long) $(if $(PLOT),--plot $(PLOT))
	@$(BIN)/python -m tests.bench.latency
	@$(BIN)/python -m tests.bench.training_cost

soak: ## a day of audio through the daemon, faster than real time; REAL_TIME=1: an hour as it comes (HOURS=n for others)
	@scripts/setup test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.soak $(if $(REAL_TIME),--real-time) --hours $(or $(HOURS),$(if $(REAL_TIME),1,24))

demo: ## make the recording for tests and demonstration anew
	@scripts/setup test
	$(BIN)/python -m tests.make.demo

model: ## train a word that ships anew: WORD=activate DATA=folder of recordings (docs/training.md; an hour or more, resumable)
	@scripts/setup test
	PATH="$(abspath $(BIN)):$$PATH" scripts/model "$(WORD)" "$(DATA)"

clean: ## remove the environment, caches and build results
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
