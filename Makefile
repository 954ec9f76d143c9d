# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The one way to run anything. What a target needs is installed by it (tests/environment; the lab says what it installs).

IN := tests/environment
LAB := python extensions/molecule/lab/lab.py

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: ## a wall, three engines behind it, builds that fail; one playbook; builds that pass (about four minutes)
	@$(IN) python extensions/molecule/demo/demo.py

test: ## everything below down to molecule, then one line with the count
	@$(IN) python tests/stages.py lint unit sanity molecule

lint: ## ansible-lint (production), ruff, mypy --strict, changelog
	$(IN) ruff check .
	$(IN) ruff format --check .
	$(IN) mypy -p ansible_collections.buildfleet.docker.plugins.module_utils
	$(IN) antsibull-changelog lint
	$(IN) ansible-lint --offline --profile production

unit: ## pure cores, modules with a faked host, the shape of the collection
	$(IN) pytest -n 2 tests/unit

sanity: ## ansible-test sanity, without ignores
	$(IN) tests/sanity

molecule: ## every scenario on three real engines behind the wall
	$(IN) molecule test --all

lab-up: ## start the lab and leave it running
	$(IN) $(LAB) up

lab-down: ## remove the lab
	$(IN) $(LAB) down

clean: ## remove what the targets made in this checkout (not the caches in ~/.cache)
	rm -rf .build .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help demo test lint unit sanity molecule lab-up lab-down clean
.DEFAULT_GOAL := help
