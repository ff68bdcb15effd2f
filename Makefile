# Everything here needs only make, a POSIX shell and Python 3.11-3.13 with venv. Node comes from the system (18 or newer)
# or, where there is none, from a Python package. What is installed stays inside this folder: .venv, .venv-slither,
# .venv-clients, and node_modules beside each package.json. Nothing is installed again until a file that names it changes.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo test check contracts slither clients compile soak bench bench-gas bench-speed bench-checks bench-intake \
	bench-webhooks clean

# More arguments for the program behind a target: make demo ARGS=--exit, make test ARGS="-k gate".
ARGS ?=
# pytest runs in so many processes at once; 0 = in one, as when you look for a fault.
JOBS ?= 3
# Another interpreter for the virtual environments: make demo PYTHON=python3.12.
PYTHON ?= python3

python := .venv/bin/python
venv := .venv/.created
runtime := .venv/.runtime-installed
dev := .venv/.dev-installed
slither := .venv-slither/.installed
generator := .venv-clients/.installed
node_modules := contracts/node_modules/.installed
load_modules := benchmarks/node_modules/.installed
client_modules := tests/clients/node_modules/.installed
logs := .build

sources = nftloyalty scripts tests $(if $(wildcard benchmarks/*.py benchmarks/*/*.py),benchmarks)
pip_install = -m pip install -qq --disable-pip-version-check --no-input
# npm puts forge, anvil and cast for this machine, and no other, into folders of this form. They and the compiler shim
# call Node, which .venv/bin has where the system has none.
tools = PATH="$(CURDIR)/.venv/bin:$$PATH:$$(echo "$(CURDIR)"/contracts/node_modules/@foundry-rs/*/bin | tr ' ' ':')"

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | while read -r target what; do \
		printf 'make %-10s %s\n' "$$target" "$$what"; done

install: $(runtime) ## set up .venv with the nftloyalty command

demo: $(runtime) ## open a program on an embedded chain, mint, claim and check, then serve (ARGS=--exit ends after the run)
	@.venv/bin/nftloyalty demo $(ARGS)

test: check contracts slither $(generator) $(client_modules) ## everything: check, contracts, slither, then pytest (ARGS="-k gate" for some of it)
	@echo "== pytest, on SQLite, PostgreSQL, eth-tester and anvil"
	@$(tools) $(python) -m pytest --quiet -n $(JOBS) $(ARGS)

check: $(dev) ## style, types and the import law
	@echo "== ruff"
	@$(python) -m ruff check --quiet $(sources)
	@$(python) -m ruff format --quiet --check $(sources) || { echo "mend: $(python) -m ruff format $(sources)"; exit 1; }
	@echo "== mypy"
	@$(python) -m mypy $(sources)
	@echo "== house"
	@$(python) -m pytest --quiet tests/test_house.py

# The log is shown when something fails, else its closing line. forge's own check of the gas snapshot overlooks new and lost
# sentences, so a new snapshot is laid beside the committed one.
contracts: $(dev) $(node_modules) ## forge: unit tests, fuzz, invariants, gas snapshot
	@echo "== forge"
	@mkdir -p $(logs)
	@rm -rf contracts/cache/snapshots
	@cd contracts && $(tools) FOUNDRY_SNAPSHOTS=cache/snapshots forge test >../$(logs)/forge.log 2>&1 \
		|| { grep -v '^\[PASS\]' ../$(logs)/forge.log; exit 1; }
	@sed -n '/^Ran .* test suites/p' $(logs)/forge.log
	@if [ -n "$$CI" ] && grep -F '[SKIP' $(logs)/forge.log; then echo "CI is set: a skipped test is a failure"; exit 1; fi
	@diff -ru contracts/snapshots contracts/cache/snapshots \
		|| { echo "gas has changed; if it should: cp contracts/cache/snapshots/* contracts/snapshots/"; exit 1; }

# slither wants a build without tests; folders of its own keep forge's from being built anew each time.
slither: $(dev) $(node_modules) $(slither) ## slither on the contracts; every finding is mended or explained at its line
	@echo "== slither"
	@mkdir -p $(logs)
	@cd contracts && $(tools) FOUNDRY_OUT=out/slither FOUNDRY_CACHE_PATH=cache/slither \
		../.venv-slither/bin/slither . --config-file slither.config.json >../$(logs)/slither.log 2>&1 \
		|| { cat ../$(logs)/slither.log; exit 1; }
	@tail -n 1 $(logs)/slither.log

clients: $(dev) $(generator) $(client_modules) ## generate a client in Python and one in TypeScript, and try them on a server
	@$(tools) $(python) -m pytest --quiet tests/clients $(ARGS)

compile: $(dev) $(node_modules) ## compile the contracts and write nftloyalty/artifacts
	@$(tools) $(python) scripts/compile.py $(ARGS)

soak: $(dev) $(node_modules) ## the fault rig at length: thousands of mints under every trouble, about ten minutes (docs/faults.md)
	@$(tools) $(python) -m tests.faults.soak $(ARGS)

bench: bench-gas bench-speed bench-checks bench-intake bench-webhooks ## every benchmark

bench-gas: $(dev) $(node_modules) ## gas of our contracts beside their peers
	@$(tools) $(python) -m benchmarks.gas $(ARGS)

bench-speed: $(dev) $(node_modules) ## mints sent and events indexed a second, beside web3.py and the node's own limit
	@$(tools) $(python) -m benchmarks.speed $(ARGS)

bench-checks: $(dev) $(node_modules) $(load_modules) ## checks at a checkout beside their limits (five minutes; best on an idle machine)
	@$(tools) $(python) -m benchmarks.checks $(ARGS)

bench-intake: $(dev) $(node_modules) $(load_modules) ## requests for cards taken in a second beside bare commits
	@$(tools) $(python) -m benchmarks.intake $(ARGS)

bench-webhooks: $(dev) ## webhooks delivered a second beside bare posts
	@$(tools) $(python) -m benchmarks.webhooks $(ARGS)

clean: ## remove all that make installed or built
	rm -rf .venv .venv-slither .venv-clients $(logs) contracts/out contracts/cache
	rm -rf contracts/node_modules benchmarks/gas/node_modules benchmarks/node_modules tests/clients/node_modules
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(sources) -name __pycache__ -type d -prune -exec rm -rf {} +

# The folder is made anew when pip is missing from it, which is what a system without the venv package leaves behind.
$(venv):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
		"nftloyalty runs on Python 3.11 to 3.13; this is %d.%d (choose another: make PYTHON=python3.13 ...)" % v)'
	@echo "Making a virtual environment in .venv"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@touch $@

$(runtime): $(venv) pyproject.toml constraints.txt
	@echo "Installing what nftloyalty runs on (once; a minute or two)"
	@$(python) $(pip_install) --editable . --constraint constraints.txt
	@touch $@

$(dev): $(venv) pyproject.toml constraints.txt
	@echo "Installing what nftloyalty is tested with (once; a minute or two)"
	@if node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18)' 2>/dev/null && npm --version >/dev/null 2>&1; \
		then extras=dev; else extras=dev,node; fi; \
		$(python) $(pip_install) --editable ".[$$extras]" --constraint constraints.txt
	@touch $(runtime) $@

$(node_modules): $(dev) contracts/package.json contracts/package-lock.json
	@echo "Installing the compiler, Solady and Foundry into contracts/node_modules (once)"
	@cd contracts && $(tools) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(load_modules): $(dev) benchmarks/package.json benchmarks/package-lock.json
	@echo "Installing autocannon into benchmarks/node_modules (once)"
	@cd benchmarks && $(tools) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(slither): $(venv) constraints-slither.txt
	@echo "Installing slither into .venv-slither (once); it needs an older web3 than we do"
	@rm -rf .venv-slither
	@$(PYTHON) -m venv .venv-slither
	@.venv-slither/bin/python $(pip_install) slither-analyzer --constraint constraints-slither.txt
	@touch $@

$(client_modules): $(dev) tests/clients/package.json tests/clients/package-lock.json
	@echo "Installing what makes a TypeScript client into tests/clients/node_modules (once)"
	@cd tests/clients && $(tools) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(generator): $(venv) constraints-clients.txt
	@echo "Installing what makes a Python client into .venv-clients (once); it runs on httpx, which we don't"
	@rm -rf .venv-clients
	@$(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/python $(pip_install) openapi-python-client openapi-spec-validator --constraint constraints-clients.txt
	@touch $@
