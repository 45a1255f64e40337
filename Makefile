# Every target sets up what it needs; see .ci/bootstrap.
.PHONY: demo test bench soak lint release clean
SHELL := /bin/bash
# Called by another make it prints what it prints by itself.
MAKEFLAGS += --no-print-directory
PYTEST = .venv/bin/python -m pytest

demo:
	@.ci/bootstrap deploy
	@.venv/bin/python playbooks/demo.py

test:
	@.ci/bootstrap dev
	$(PYTEST) $(TESTS)

bench:
	@.ci/bootstrap dev bench
	.venv/bin/python -m benchmarks

soak:
	@.ci/bootstrap dev
	SOAK=1 $(PYTEST) -m soak --timeout 3600 $(TESTS)

lint:
	@.ci/bootstrap dev
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	.venv/bin/codespell && .venv/bin/yamllint --strict .
	.ci/lint-collection

# Wheel, sdist and collection of this commit into dist/, twice the same, each installed from.
release:
	@.ci/bootstrap dev
	.venv/bin/python .ci/release

clean:
	rm -rf .venv .demo .cache bench/results dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
