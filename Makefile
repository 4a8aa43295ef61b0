# Every target sets itself up: `make setup` makes or completes .venv and is done at once when it stands.

PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
MODEL := pipelines/models/arithmetic
FAST := not slow and not cloud and not ray and not vllm and not gpu

# What vLLM takes by itself on a GPU of 80 GB and more; the benchmark stops and names the flag where ours ran with others.
GPU_SIZES ?= --max-num-seqs 1024 --max-num-batched-tokens 16384

# Most tests of whole jobs wait: for Ray, for a process to end. tests/conftest.py says which of them stay together; these
# groups begin in the order of their folders, chaos and e2e before units, so that no long one is left at the end.
WORKERS ?= 3
IN_PARALLEL := -n $(WORKERS) --dist loadscope --no-loadscope-reorder

.DELETE_ON_ERROR:
.PHONY: help setup demo serve-demo test check fix house bench bench-gpu chaos test-long

help:
	@echo "make setup   the environment in .venv: CPU or CUDA build, whichever this machine needs"
	@echo "make demo    the main job: real vLLM answers 200 questions with the model that ships here"
	@echo "make serve-demo  a server on this machine, and OpenAI's client that gets its 200 answers from it"
	@echo "make test    every test, in small size where it has two"
	@echo "make check   format, lint, types, import contracts and the fast tests"
	@echo "make fix     format, and mend what the linter can"
	@echo "make house   figures of the code: folders, arrows between them, circles, sizes"
	@echo "make bench   throughput, overhead and memory, beside plain vLLM, and a simulation of many engines"
	@echo "make bench-gpu  throughput of four workloads with 500 million parameters, on a GPU"
	@echo "make chaos   the commit protocol under every pair of faults and thousands of random schedules (6 minutes)"
	@echo "make test-long  every test at its full size: a hundred and ten kills, every pair of faults, millions of lines (hours)"

setup:
	@$(PYTHON) .ci/setup.py

# The requests are written once: they are the job's input, and the same command goes on with the same job.
$(DEMO)/requests.jsonl: | setup
	$(BIN)/python -m pipelines.models.demo_requests --rows 200 --model $(MODEL) --output $@

demo: $(DEMO)/requests.jsonl
	$(BIN)/batchctl run $(DEMO)/requests.jsonl --model $(MODEL) --output $(DEMO)/output --max-tokens 8 --temperature 0
	$(BIN)/python -m pipelines.models.demo_requests --rows 200 --check $(DEMO)/output/results

# The server ends with the demo; port 8000 has to be free, or give another PORT.
PORT ?= 8000
serve-demo: setup
	@mkdir -p $(DEMO)
	$(BIN)/python -m pipelines.models.demo_requests --rows 200 --model arithmetic --output $(DEMO)/served-requests.jsonl
	$(BIN)/batchctl create model arithmetic --source $(MODEL) --root $(DEMO)/server
	$(BIN)/batchctl serve --root $(DEMO)/server --port $(PORT) --no-auth & server=$$!; trap "kill $$server" EXIT; \
	OPENAI_BASE_URL=http://127.0.0.1:$(PORT)/v1 OPENAI_API_KEY=none \
		$(BIN)/python docs/examples/openai_batch.py $(DEMO)/served-requests.jsonl $(DEMO)/served-results.jsonl
	$(BIN)/python -m pipelines.models.demo_requests --rows 200 --check $(DEMO)/served-results.jsonl

test: setup
	$(BIN)/python -m pytest $(IN_PARALLEL) --durations=60

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q $(IN_PARALLEL) -m "$(FAST)"

fix: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

house: setup
	$(BIN)/python tests/house.py

bench: setup
	$(BIN)/python -m benchmarks

bench-gpu: setup
	for workload in few-shot documents long-last chat; do \
		$(BIN)/python -m benchmarks throughput --workload $$workload --parameters 500M --repeats 1 $(GPU_SIZES) \
			--peers 'LLM.chat, tuned' 'run_batch, tuned' || exit; \
	done

chaos: setup
	BATCHCTL_TESTS=long $(BIN)/python -m pytest -q -s tests/chaos/test_commit_protocol.py

test-long: setup
	BATCHCTL_TESTS=long $(BIN)/python -m pytest -s
