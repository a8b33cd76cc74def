# Each target is at most three lines; what they do is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help setup run stop demo test check lint fix lock docs messages bench bench-latency bench-scheduler test-llamafactory test-suspend

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## install what the service needs into .venv (done by the others when needed)
	@scripts/setup.sh run

run: setup  ## start everything in the foreground and print a sign-in link
	@exec .venv/bin/python -m coop_site.serve

stop: setup  ## stop the service; running jobs go on
	@.venv/bin/python -m coop_site.serve --stop

demo: setup  ## a service with invented projects and jobs in every lasting state, on simulated cards, in ./var-demo
	@exec scripts/demo.sh

test:  ## all tests: SQLite, PostgreSQL, browser, a kill storm
	@scripts/setup.sh dev
	@scripts/test.sh

check:  ## what CI runs: lint, types, layers, migrations, all tests
	@scripts/setup.sh dev
	@scripts/check.sh

lint:  ## style, types and import contracts only
	@scripts/setup.sh dev
	@scripts/lint.sh

fix:  ## repair what can be repaired by itself: format, import order
	@scripts/setup.sh dev
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

lock:  ## pin all versions anew (needs the package index)
	@scripts/lock.sh

docs:  ## write the generated pages anew
	@scripts/setup.sh dev
	@.venv/bin/python scripts/write_docs.py

messages:  ## read the texts out of the sources into the Chinese catalogue, and compile it (needs gettext)
	@scripts/setup.sh dev
	@scripts/messages.sh

bench: bench-latency bench-scheduler  ## all measurements

bench-latency:  ## submit to first instruction, and how many jobs a second, beside plain Popen and other queues
	@scripts/setup.sh dev
	@.venv/bin/python scripts/bench_latency.py

bench-scheduler:  ## published results repeated, rivals, and what a cycle costs (traces: COOP_TRACES)
	@scripts/setup.sh dev
	@scripts/bench_scheduler.sh

test-llamafactory:  ## a real fine-tune on the CPU with a real LLaMA-Factory (large download)
	@scripts/setup.sh dev
	@scripts/test_llamafactory.sh

test-suspend:  ## a hundred pauses at random moments with a stand-in trainer
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -q -m suspend
