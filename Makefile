# make run   sets up, fetches weights, serves          make test   sets up, checks, tests all
# make help  says the rest

CONFIG ?= config.json
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# plugins that unit tests would only wait for
QUICKLY := -p no:schemathesis -p no:hypothesispytest -p no:locust
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
# One lock for all that pyproject.toml and the README name: Python 3.10 to 3.13, Linux and macOS, x86-64 and arm64.
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"
# PyTorch and what only its CUDA build brings: several GB, which a machine with its CPU build must not install.
TORCH := ^(torch==|nvidia-|cuda-)

.PHONY: run test check unit coverage mutants lint load load-compare quality bench test-faults test-walls test-clients test-operations test-cluster test-observability soak docs lock audit clean help

run: .venv/run  ## set up, fetch and verify the weights, serve (CONFIG=my.json)
	@exec $(BIN)/python main.py --config $(CONFIG)

test: check  ## set up, then lint, types, import floors and all tests, the last on real speech
	$(BIN)/python -m pytest tests/integration tests/loadtest tests/e2e --ignore tests/loadtest/unit

check: lint unit  ## lint, types, import floors and unit tests

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/dev  ## unit tests: no Ray, no model
	$(BIN)/python -m pytest $(QUICKLY) tests/unit tests/loadtest/unit

coverage: .venv/dev  ## unit tests, and the lines of the service that they leave out
	$(BIN)/python -m pytest $(QUICKLY) tests/unit tests/loadtest/unit --cov --cov-report=term:skip-covered

mutants: .venv/dev  ## how many of 20 small faults in each module that decides its tests notice (MODULES="text/filters" SIZE=20 SEED=0)
	$(BIN)/python -m tests.mutants $(MODULES) --size $(or $(SIZE),20) --seed $(or $(SEED),0)

load: .venv/dev  ## load test of URL=, or of a service of its own (LADDER=4,16 SECONDS=20 SHAPE= PROTOCOL= MIX= NAME=)
	$(BIN)/python -m loadtest --seconds $(or $(SECONDS),20) $(if $(URL),--url $(URL)) $(if $(NAME),--name $(NAME)) \
		$(if $(LADDER)$(SHAPE),$(if $(LADDER),--ladder $(LADDER)),--ladder 4,16) $(if $(SHAPE),--shape $(SHAPE)) \
		$(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(MIX),--mix $(MIX))

quality: .venv/dev  ## word errors, invented words, languages, word times, replicas, memory (QUICK=1 ENGINES=a,b)
	$(BIN)/python -m loadtest.quality $(if $(QUICK),--quick) $(if $(ENGINES),--engines $(ENGINES))

bench: .venv/dev  ## beside faster-whisper, openai-whisper and whisper.cpp (long; QUICK=1: under 3 minutes)
	$(BIN)/python -m loadtest.bench $(if $(QUICK),--quick)

load-compare: .venv/dev  ## two reports side by side (A=one.json B=other.json)
	$(BIN)/python -m loadtest.compare $(A) $(B)

clean:  ## remove what set-up and tests made, but not the weights
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .clients_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# A set-up that breaks off leaves no stamp, and is done again.
.venv/run: requirements.lock requirements-torch.lock requirements-torch-cpu.lock
	@test -n "$(PYTHON)" || { echo "Python 3.10 to 3.13 is needed; set PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "python3 -m venv does not work here (on Debian: apt install python3-venv)" >&2; exit 2; }
	@echo "installing requirements.lock into .venv (a few minutes, once)"
	@# PyTorch's CPU build where pip is set up to find it, as with PyTorch's own index, else PyPI's
	@$(PIP) -r requirements-torch-cpu.lock 2>/dev/null || $(PIP) -r requirements-torch.lock
	@$(PIP) -r requirements.lock
	@touch $@

.venv/dev: .venv/run requirements-dev.lock
	@echo "installing requirements-dev.lock into .venv"
	@$(PIP) -r requirements-dev.lock
	@touch $@

lock: .venv/dev  ## renew the locks: the newest versions that requirements.txt and requirements-dev.txt allow
	@$(UV) requirements.txt --output-file requirements.lock.all
	@awk '/^#/ {print > "requirements.lock"; print > "requirements-torch.lock"; next} \
		/^[^ ]/ {lock = /$(TORCH)/ ? "requirements-torch.lock" : "requirements.lock"} {print > lock}' requirements.lock.all
	@$(UV) requirements-dev.txt --constraint requirements.lock.all --output-file requirements-dev.lock.all
	@awk 'FILENAME == ARGV[1] {locked[$$0]; next} /^[^ ]/ {dev = /^#/ || !($$0 in locked || /$(TORCH)/)} dev' \
		requirements.lock requirements-dev.lock.all > requirements-dev.lock
	@rm requirements.lock.all requirements-dev.lock.all
	@sed -n 's/^torch==.*/&+cpu/p' requirements.txt | $(UV) - --no-deps --output-file requirements-torch-cpu.lock \
		--default-index https://download.pytorch.org/whl/cpu

audit: .venv/dev  ## known vulnerabilities of all that is locked (asks PyPI's vulnerability service)
	$(BIN)/uvx pip-audit==2.10.1 --strict --disable-pip --require-hashes \
		-r requirements.lock -r requirements-torch.lock -r requirements-dev.lock

test-faults: .venv/dev  ## kill, flood and fuzz it under load; ten minutes, on a quiet machine (FUZZ=20000)
	FUZZ=$(or $(FUZZ),20000) $(BIN)/python -m pytest tests/faults

test-operations: .venv/dev  ## stop, kill and crowd it as machines do, in namespaces of its own; as root
	$(BIN)/python -m tests.operations

test-walls: .venv/dev  ## attack it from outside, while another caller has to be answered; five minutes
	$(BIN)/python -m pytest tests/walls

test-clients: .venv/dev  ## clients of others run for real, in folders of their own below .clients_cache (PyPI, npm; node)
	$(BIN)/python -m pytest -v tests/clients tests/integration/test_clients.py

soak: .venv/dev  ## hold a load for long, and plot the memory of every process (MINUTES=20)
	$(BIN)/python -m loadtest.soak --minutes $(or $(MINUTES),20)

test-observability: .venv/dev  ## a real Prometheus, and a receiver of traces, beside a service (apt-get install prometheus)
	$(BIN)/python -m pytest tests/observability

docs: .venv/dev  ## write the generated tables and the picture of the floors into docs/
	$(BIN)/python -m docs.tables
	$(BIN)/python -m docs.architecture

test-cluster: .venv/dev  ## three hosts on this machine, one lost under load; as root (apt-get install openssh-server rsync iproute2 redis-server)
	$(BIN)/python -m tests.cluster
