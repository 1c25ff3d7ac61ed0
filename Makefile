# Every target sets up .venv first, from nothing if need be. PYTHON is the interpreter it is made with.
PYTHON ?= python3
RUN := .venv/bin/python
BENCHMARKS = $(filter-out _%,$(basename $(notdir $(wildcard benchmarks/*.py))))
export COMFYUI_PATH

.PHONY: setup test test-core test-demo test-nodes test-browser demo comfyui bench lint clean
.NOTPARALLEL:

setup:
	@$(PYTHON) scripts/environment.py

# Threads that soon stop spinning while they wait: the tests share few cores with a server.
test-core test-demo test-nodes test-browser: export GOMP_SPINCOUNT ?= 10000

test: test-core test-demo test-nodes

# Narrow models are slower on several threads: so one process for each core instead.
test-core: export OMP_NUM_THREADS = 1
test-core: setup
	$(RUN) -m pytest tests/core -n auto $(ARGS)

test-demo: setup
	$(RUN) -m pytest tests/demo $(ARGS)

test-nodes: setup
	$(RUN) -m pytest tests/nodes $(ARGS)

# By itself, not of `make test`: it wants a Chromium (on PATH or in CHROMIUM_PATH) beside ComfyUI.
test-browser: setup
	$(RUN) -m pytest tests/browser $(ARGS)

demo: setup
	$(RUN) -m demo $(ARGS)

# make comfyui [COMFYUI_PATH=/path/to/ComfyUI] [ARGS="--listen --port 8000"]
comfyui: setup
	$(RUN) scripts/comfyui.py $(ARGS)

bench: setup
	@set -e; for name in $(BENCHMARKS); do $(RUN) -m benchmarks.$$name $(ARGS); done

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

clean:
	rm -rf .venv out build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
