# Everything a fresh machine needs is Python, git and make: the first target that runs sets up .venv from requirements.lock.
# `make li-14` is `vqafeat table li-14`; `make li-14 DATASETS="konvid cvd2014" OPTIONS=--check` names data sets and options.

PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin

TABLES := $(basename $(notdir $(wildcard vqafeat/paper_tables/tables/*.toml)))
CHOSEN = $(addprefix --dataset ,$(DATASETS)) $(OPTIONS)

.DEFAULT_GOAL := help
.PHONY: help demo demo-pretrain tables test test-faults test-lowest gpu-check lint type docs notebook notebook-write bench lock audit clean $(TABLES)

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'
	@grep -m 1 -H '^title = ' $(sort $(wildcard vqafeat/paper_tables/tables/*.toml)) \
		| awk -F '/tables/|[.]toml:title = ' '{printf "  make %-18s %s\n", $$2, $$3}' | tr -d '"' | sort -V

demo: .venv/ready ## the main job on the embedded data set: make it, extract, fit, score a clip, plot (at most 5 minutes)
	$(BIN)/vqafeat demo

demo-pretrain: .venv/ready ## the pre-training on the embedded image set, and its features on the embedded videos (long)
	$(BIN)/vqafeat demo-pretrain

tables: .venv/ready ## all tables of the papers that the store allows, to tables/; DATASETS=demo tries them on the embedded data set
	$(BIN)/vqafeat table --all --out tables $(CHOSEN)

$(TABLES): .venv/ready
	@$(BIN)/vqafeat table $@ $(CHOSEN)

# each of many processes would compile the package and the tests again where an environment forbids bytecode
test test-faults: export PYTHONDONTWRITEBYTECODE =

test: .venv/ready ## all tests but the slow ones and the faults
	$(BIN)/pytest -n auto --maxprocesses 8 -m "not slow and not faults"

test-faults: .venv/ready ## kills at random moments, full disks, damaged files, clusters, object stores: nothing is lost (8 minutes)
	$(BIN)/pytest -n auto --maxprocesses 8 -m faults

test-lowest: .uv/found ## all tests but the slow ones and the faults, with the lowest versions that pyproject.toml allows (3 GB)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) build/lowest
	$(UV) pip compile --quiet --python build/lowest --resolution lowest-direct --group dev --extra demo --extra timm \
		--no-emit-index-url pyproject.toml -o build/lowest.txt
	$(UV) pip sync --quiet --python build/lowest build/lowest.txt
	$(UV) pip install --quiet --python build/lowest --no-deps --editable .
	build/lowest/bin/pytest -n auto --maxprocesses 8 -o filterwarnings=default -m "not slow and not faults"

gpu-check: .venv/ready ## correctness, speed and memory on one GPU, as a table (ten minutes; not part of CI)
	PYTHONPATH=. $(BIN)/python tests/gpu/check.py

lint: .venv/ready ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/ready ## types of the package, strictly
	$(BIN)/mypy

docs: .venv/ready ## the documentation site, to build/site; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html"

notebook: .venv/ready ## run the notebook of the documentation; another number than the stored one is an error (2 minutes)
	$(BIN)/python .ci/notebook.py docs/first_study.ipynb

notebook-write: .venv/ready ## run the notebook of the documentation and store what it prints and draws
	$(BIN)/python .ci/notebook.py docs/first_study.ipynb --write

bench: .venv/ready ## the benchmarks under tests/bench, to their tables on standard output (long)
	for script in tests/bench/bench_*.py; do $(BIN)/python $$script || exit 1; done

lock: .uv/found ## resolve requirements.lock anew from pyproject.toml
	$(UV) pip compile --universal --generate-hashes --no-emit-index-url --no-header --group dev --extra demo --quiet --upgrade pyproject.toml -o requirements.lock

audit: .venv/ready ## the locked dependencies as an SBOM (build/sbom.json, CycloneDX), and what is known against them
	@mkdir -p build
	$(UV) tool run --quiet --from cyclonedx-bom cyclonedx-py requirements requirements.lock --output-reproducible -o build/sbom.json
	@echo "wrote build/sbom.json"
	-@rm -f build/audit.json; $(UV) tool run --quiet pip-audit --requirement requirements.lock --disable-pip --no-deps --progress-spinner off \
		--format json --output build/audit.json 2>/dev/null
	@$(BIN)/python .ci/audit.py build/audit.json

clean: ## remove the environment and the caches
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache build dist

.uv/found:
	@mkdir -p .uv
	@# an activated environment may have no pip: that of the interpreter behind it installs uv
	@test -x "$(UV)" || "$$($(PYTHON) -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')" \
		-m pip install --quiet --disable-pip-version-check --target .uv uv
	@touch $@

.venv/ready: .uv/found requirements.lock pyproject.toml
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --compile-bytecode --python .venv --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@
