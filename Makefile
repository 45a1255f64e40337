# Every target sets up what it needs; see .ci/bootstrap. The text behind ## is what `make help` prints.
.PHONY: demo help test lint bench soak release clean
SHELL := /bin/bash
# Called by another make it prints what it prints by itself.
MAKEFLAGS += --no-print-directory
PYTEST = .venv/bin/python -m pytest

demo: ## Provision this machine into .demo/ and show two executors at once (root or not)
	@.ci/bootstrap deploy
	@.venv/bin/python playbooks/demo.py

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## Run all tests, or those of TESTS="tests/unit -k name"
	@.ci/bootstrap dev
	$(PYTEST) $(TESTS)

lint: ## Check style, types, spelling, YAML and the collection
	@.ci/bootstrap dev
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	.venv/bin/codespell && .venv/bin/yamllint --strict .
	.ci/lint-collection

bench: ## Measure beside peers, as ratios
	@.ci/bootstrap dev bench
	.venv/bin/python -m benchmarks

soak: ## Run the long forms of the tests, or those of TESTS
	@.ci/bootstrap dev
	SOAK=1 $(PYTEST) -m soak --timeout 3600 $(TESTS)

release: ## Build wheel, sdist and collection of this commit into dist/, twice the same, and install from each
	@.ci/bootstrap dev
	.venv/bin/python .ci/release

clean: ## Remove everything that the other targets made
	rm -rf .venv .demo .cache bench/results dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
