# The two commands that a newcomer needs: `make quickstart` and `make test`. `make help` lists the rest.
.POSIX:
.SUFFIXES:

DEV = .venv
QUICK = .venv-quickstart
BIN = $(DEV)/bin

.PHONY: help quickstart test env check unit test-lowest docs bench chaos constraints clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 14

quickstart: ## pack, push, pull and unpack a small model through a throw-away registry
	@scripts/environment.sh $(QUICK) requirements/quickstart.txt
	@$(QUICK)/bin/python scripts/quickstart.py

test: env ## everything that decides whether a change is good
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check.sh all

env: ## make or refresh the development environment in .venv
	@scripts/environment.sh $(DEV) requirements/dev.txt

check: env ## the quick half of `make test`: lint, types, layers, generated docs
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check.sh static

unit: env ## the tests without slow ones and without other programs
	@$(BIN)/pytest -q -n 2 tests/unit tests/contract tests/property tests/cases tests/golden

test-lowest: ## the unit tests with the lowest dependencies that pyproject.toml allows
	@scripts/environment.sh .venv-lowest requirements/lowest.txt
	@PATH="$(CURDIR)/.venv-lowest/bin:$$PATH" scripts/run_tests.sh -q -n 2 -W default tests/unit tests/contract tests/golden

docs: env ## write the generated documents again (CLI reference, JSON Schema)
	@$(BIN)/python scripts/generated.py write

bench: env ## the table of the benchmark (about half an hour; `bench/run.py --scale small` is a smoke test)
	@$(BIN)/python bench/run.py

chaos: env ## the long runs that kill processes and fill disks
	@KITOPS_CHAOS=long KITOPS_CHAOS_SECONDS=60 $(BIN)/pytest -q tests/chaos

constraints: env ## resolve the hash-pinned requirements again
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/constraints.sh

clean: ## remove what the commands above made
	rm -rf $(DEV) $(QUICK) .venv-lowest quickstart-work bench/data build dist .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
