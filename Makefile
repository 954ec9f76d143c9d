# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs everything. Each target installs what it needs (tests/environment; the lab prints what it installs).

IN := tests/environment
LAB := python extensions/molecule/lab/lab.py
MORE := registry_mirror_info docker_builder registry_cache proxy_ca proxy_relay examples secrets awx rollout

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo: ## a firewall, three engines behind it, builds that fail; one playbook; builds that pass (about four minutes)
	@$(IN) python extensions/molecule/demo/demo.py

test: ## what CI runs: all targets below down to molecule, then one line with the count
	@$(IN) python tests/stages.py molecule --beside lint unit page sanity sanity-others release html pythons

quick: ## the first answer, within a minute: lint of what differs from origin/main (or main), and all unit tests except the slow ones
	@$(IN) tests/quick

lint: types workflows ## ansible-lint (production), ruff, mypy --strict, changelog, licences, the files in .github
	$(IN) ruff check .
	$(IN) ruff format --check .
	$(IN) antsibull-changelog lint
	$(IN) ansible-lint --offline --profile production
	$(IN) --tools release reuse --root . lint --quiet

types: ## mypy --strict
	$(IN) mypy -p ansible_collections.buildfleet.docker.plugins.module_utils -p ansible_collections.buildfleet.docker.plugins.plugin_utils

workflows: ## the files in .github, by their schemas and by zizmor
	$(IN) --tools workflows tests/workflows

unit: ## unit tests, with a fake host; names each branch of plugins/ that no test runs
	$(IN) pytest -n 2 tests/unit --cov

page: ## tests of the report in Chromium; screenshots in .build/report
	$(IN) pytest -s tests/browser

pythons: ## the code that hosts run, with each installed Python from 3.8: imports and unit tests
	$(IN) tests/pythons

sanity: ## ansible-test sanity, without ignores
	$(IN) tests/sanity

sanity-others: ## the same with the oldest supported ansible-core and, if there is a Python for it, the newest
	$(IN) --tools core-2.18 tests/sanity
	$(IN) --tools core-newest tests/sanity || [ $$? = 77 ]

release: ## checks of the tarball, its import into Galaxy, AWX objects and the docs
	$(IN) pytest tests/release
	$(IN) --tools release tests/release/importer

publish: ## build, check and publish the tag that is checked out (GALAXY_TOKEN; GALAXY_SERVER sets another server, for a test)
	$(IN) --tools release tests/release/importer
	$(IN) tests/release/publish

html: ## modules, roles and filter as HTML, their references checked
	$(IN) --tools html tests/html

molecule: ## every feature of the main path on three real engines behind the firewall
	$(IN) molecule test --all $(MORE:%=--exclude=%)

molecule-more: ## the scenarios that `make test` leaves out to stay short
	$(IN) molecule test $(MORE:%=--scenario-name=%)

faults: ## runs killed at 200 points on each engine, disconnected or refused; daemons that do not start (half an hour; make test runs a sample)
	$(IN) sh -c '$(LAB) up && cd extensions/molecule && BUILDFLEET_SAMPLE=all BUILDFLEET_FAULT_POINTS=200 pytest -q -s -n 4 faults/tests'

wild: ## real configurations from the field, each on every engine: configured and undone, or refused before a write (45 minutes; make test runs a sample)
	$(IN) python extensions/molecule/lab/wild.py

matrix: ## every fault on every engine and builder, diagnosed and fixed; writes docs/evidence/diagnosis.md (half an hour; make test runs a sample)
	$(IN) sh -c '$(LAB) up && python extensions/molecule/lab/matrix.py'

corpus: ## dockerfile_mirror on public files in the folder BUILDFLEET_CORPUS (python3 tests/oracles/corpus.py collects them)
	@test -n "$$BUILDFLEET_CORPUS" || { echo "Set BUILDFLEET_CORPUS to the folder that tests/oracles/corpus.py filled." >&2; exit 2; }
	$(IN) pytest -s tests/unit/plugins/module_utils/_dockerfile/test_oracles.py
	$(IN) python tests/oracles/second_opinion.py
	$(IN) python tests/fuzz/dockerfile_mirror.py

fuzz: ## 100,000 broken inputs with a fixed seed for each program in tests/fuzz (make test runs a twentieth)
	@failed=; for program in tests/fuzz/*.py; do echo "--- $$program"; $(IN) python $$program || failed=1; done; test -z "$$failed"

bench: ## every benchmark in tests/bench
	@failed=; for program in tests/bench/*.py; do echo "--- $$program"; $(IN) python $$program || failed=1; done; test -z "$$failed"

lab-up: ## start the lab and leave it running
	$(IN) $(LAB) up

lab-down: ## remove the lab
	$(IN) $(LAB) down

clean: ## remove what the targets made in this checkout (not the caches in ~/.cache)
	rm -rf .build .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)
.DEFAULT_GOAL := help
