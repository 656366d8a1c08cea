# Everything that a person or CI calls. `make demo` and `make test` set up what they need the first
# time; afterwards they start at once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PORT ?= 8080
DATA ?= run/demo
CODE := edge_agent cloud models simulators tests

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(READY): deploy/requirements/dev.txt pyproject.toml deploy/setup.sh
	@deploy/setup.sh python

$(VENV)/.system-%: deploy/setup.sh | $(READY)
	@deploy/setup.sh $*

.PHONY: setup
setup: $(READY) $(VENV)/.system-demo ## set up without starting anything

.PHONY: demo
demo: $(READY) $(VENV)/.system-demo ## the whole loop with its dashboard on http://localhost:8080 (ONCE=1: one turn, then a report)
	@$(VENV)/bin/sightline-sim demo --port $(PORT) --data-dir $(DATA) --setup-s $$(cat $(VENV)/.setup-seconds 2>/dev/null || echo 0) $(if $(ONCE),--once --report demo-report.json)

# Faults and the whole loop count milliseconds of verdicts: no training runs beside the former, and
# nothing at all beside the latter. What fails does not keep the rest from running.
BY_TWO := -n 2 --dist loadfile --no-loadscope-reorder
LOOP := tests/e2e/test_whole_loop.py

.PHONY: test
test: $(READY) $(VENV)/.system-test ## every test that CI runs (ARGS='tests/unit/test_outbox.py --pdb': only these)
ifdef ARGS
	@$(PYTHON) -m pytest $(ARGS)
else
	@failed=0; \
	$(PYTHON) -m pytest $(BY_TWO) --ignore=tests/chaos --ignore=$(LOOP) || failed=1; \
	$(PYTHON) -m pytest $(BY_TWO) tests/chaos || failed=1; \
	$(PYTHON) -m pytest $(LOOP) || failed=1; \
	exit $$failed
endif

.PHONY: test-cameras
test-cameras: $(READY) ## drivers of Basler, GigE Vision and GenTL cameras against their emulators (adds 92 MB; apt-get install aravis-tools)
	@$(VENV)/bin/pip install --quiet -r deploy/requirements/pylon.txt -r deploy/requirements/genicam.txt
	@$(PYTHON) -m pytest tests/integration/test_{pylon,gentl,aravis}_camera.py tests/integration/test_cameras_command.py tests/chaos/test_camera_faults.py $(ARGS)

.PHONY: check
check: $(READY) ## linters, formatting, types, import rules
	@$(VENV)/bin/ruff check $(CODE)
	@$(VENV)/bin/ruff format --check $(CODE)
	@$(VENV)/bin/mypy $(CODE)
	@$(VENV)/bin/lint-imports

.PHONY: format
format: $(READY) ## put the code into the house's format
	@$(VENV)/bin/ruff check --fix $(CODE)
	@$(VENV)/bin/ruff format $(CODE)

.PHONY: bench-edge
bench-edge: $(READY) $(VENV)/.system-test ## agent beside bare OpenVINO and model servers; writes bench/edge.json (ARGS='--quick --only mqtt')
	@PYTHONPATH=tests $(PYTHON) -m bench.edge $(ARGS)

.PHONY: bench-cloud
bench-cloud: $(READY) $(VENV)/.system-test ## ingest beside a bare subscriber, pages over ten million results; writes bench/cloud.json (20 GB of disk, half an hour; in pieces with ARGS='--only ratio', '--only seed')
	@PYTHONPATH=tests $(PYTHON) -m bench.cloud $(ARGS)

.PHONY: bench-training
bench-training: $(READY) $(VENV)/.system-test ## Spark and TensorFlow beside the plain way; writes bench/training.json (ARGS='--only import')
	@PYTHONPATH=tests $(PYTHON) -m bench.training $(ARGS)

.PHONY: lock
lock: $(READY) ## pin the newest versions that pyproject.toml allows (needs uv)
	@deploy/requirements/lock.sh

.PHONY: clean
clean: ## forget the demo's data; the venv stays
	rm -rf run demo-report.json

.PHONY: chaos
chaos: $(READY) $(VENV)/.system-test ## every fault in full, against real processes (bench/chaos.json; SEED=1; some rows need root)
	@SIGHTLINE_CHAOS=full SIGHTLINE_CHAOS_SEED=$(or $(SEED),1) $(PYTHON) -m pytest tests/chaos --timeout=1800 $(ARGS)

.PHONY: bench-hard-examples
bench-hard-examples: $(READY) ## share of the model's mistakes that reach review within 5 % of the pictures; writes bench/hard_examples.json
	@PYTHONPATH=tests $(PYTHON) -m bench.bench_hard_examples $(ARGS)
