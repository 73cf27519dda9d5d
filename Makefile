# Sets up, shows, tests and checks the project; `make help` lists what there is.
#
#   PYTHON=python3.12 make demo         another Python for the virtual environment (3.11 or newer)
#   make test PYTEST_ARGS="-k palette"  arguments for pytest

PYTHON ?= python3
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode
DEMO := demo-output
INTEROP := $(VENV)/interop
AUDIT := $(VENV)/audit.json
FUZZ_EXAMPLES ?= 9000

# Windows need OpenGL, which Qt's offscreen platform lacks: on Linux they open on an Xvfb display.
ifeq ($(shell uname),Linux)
ON_SCREEN := QT_API=pyqt6 QT_QPA_PLATFORM=xcb \
	xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24"
endif
PYTEST := $(ON_SCREEN) $(BIN)/python -m pytest

# Of all tests: a part of them covers less.
COVERAGE := $(if $(PYTEST_ARGS),,--cov)

# A title is a line that begins with two signs; what follows a target's two signs is its help.
help: ## list the targets
	@awk -F ':.*## ' '/^## / { printf "\n%s\n", substr($$0, 4) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Try it

demo: $(VENV)/.installed-demo ## install, then segment two photographs with the small preset
	rm -rf $(DEMO)
	$(BIN)/python tools/write_samples.py $(DEMO)/photographs
	$(BIN)/napari-cliper segment $(DEMO)/photographs/cat.png \
		--classes "cat" --preset small --output $(DEMO)/cat
	$(BIN)/napari-cliper segment $(DEMO)/photographs/motorcycle.png \
		--classes "motorcycle = motorbike" --preset small --output $(DEMO)/motorcycle
	@echo
	@echo "The overlays to look at, the indexed PNGs and the class lists are in"
	@echo "    $(CURDIR)/$(DEMO)/cat"
	@echo "    $(CURDIR)/$(DEMO)/motorcycle"
	@echo "To paint on such masks in a window: $(BIN)/napari-cliper gui $(DEMO)/photographs/cat.png"

## Test it

test-fast: qt-libraries $(VENV)/.installed-test ## run the tests that need neither a window nor models of real size
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto \
		-m "not (slow or window or weights)" $(PYTEST_ARGS)

test: qt-libraries $(VENV)/.installed-test ## install, then run the tests (about half an hour)
	$(PYTEST) -m "not slow" $(COVERAGE) $(PYTEST_ARGS)

test-all: qt-libraries $(VENV)/.installed-test ## run all tests, the slow ones too
	$(PYTEST) $(COVERAGE) $(PYTEST_ARGS)

coverage: qt-libraries $(VENV)/.installed-test ## run the tests and write which lines they miss to htmlcov
	$(PYTEST) -m "not slow" --cov --cov-report=html --cov-report=term $(PYTEST_ARGS)

random: qt-libraries $(VENV)/.installed-test ## play random actions in the window for ten minutes
	CLIPER_RANDOM_EXAMPLES=100 $(PYTEST) tests/napari/test_random_actions.py $(PYTEST_ARGS)

fuzz: qt-libraries $(VENV)/.installed-test ## give random pictures, words, settings and files (docs/security.md)
	CLIPER_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(PYTEST) tests/fuzz $(PYTEST_ARGS)

parity: qt-libraries $(VENV)/.installed-test ## compare with the reference strictly (docs/parity.md)
	$(CC) -shared -fPIC -o $(VENV)/intel_cpu.so tools/intel_cpu.c
	LD_PRELOAD=$(CURDIR)/$(VENV)/intel_cpu.so CLIPER_PARITY=strict \
		$(BIN)/python -m pytest tests/cliper/test_parity.py $(PYTEST_ARGS)

interop: $(VENV)/.installed-test ## let the tools themselves read what we write in their formats
	rm -rf $(INTEROP)
	$(BIN)/python tools/interop/write.py $(INTEROP)
	for script in tools/interop/check_*.py; do \
		echo "== $$script" && $(BIN)/uv run --no-project --quiet $$script $(INTEROP) || exit 1; done

## Check it

lint: qt-libraries $(VENV)/.installed-dev ## check style, types, layers, the manifest, and unsafe calls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate --imports napari-cliper
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src tools

hooks: $(VENV)/.installed-dev ## have git run style, types, layers and the manifest before each commit
	$(BIN)/pre-commit install

# pip-audit ends with 1 for a finding and for a service that does not answer, and well if that knows
# none of the packages: what it wrote tells which.
audit: $(VENV)/.installed-dev ## look for known vulnerabilities of what is installed (needs a network)
	@rm -f $(AUDIT)
	@$(BIN)/pip-audit --local --skip-editable --format json --output $(AUDIT) >$(AUDIT).log 2>&1 || true
	@all=$$(grep -o '"name": ' $(AUDIT) 2>/dev/null | wc -l); \
	left=$$(grep -o '"skip_reason": ' $(AUDIT) 2>/dev/null | wc -l); \
	if grep -q '"fix_versions": ' $(AUDIT) 2>/dev/null; then \
		cat $(AUDIT).log; $(BIN)/python -m json.tool $(AUDIT); exit 1; \
	elif [ "$$all" -eq "$$left" ]; then \
		echo "audit: NOT DONE: no vulnerability service answered for any of $$all packages; run it where one does"; \
	else echo "audit: no known vulnerability in $$((all - left)) of $$all packages; $$left are not known to the service"; fi

## Measure it

benchmark: qt-libraries $(VENV)/.installed-test ## print how long the command and the window take
	$(BIN)/python tools/benchmark_segment.py
	$(ON_SCREEN) $(BIN)/python tools/benchmark_gui.py
	$(ON_SCREEN) $(BIN)/python tools/benchmark_annotator.py
	$(ON_SCREEN) $(BIN)/python tools/benchmark_protection.py

batch: $(VENV)/.installed-test ## print what many pictures cost: make batch DATA=folder-with-pictures
	$(BIN)/python tools/benchmark_batch.py --data $(DATA)

evaluate: $(VENV)/.installed-test ## run the standing benchmark: make evaluate DATA=coco128-seg
	$(BIN)/napari-cliper evaluate --pictures $(DATA)/images/train2017 \
		--masks $(DATA)/labels/train2017 --classes benchmarks/evaluation/coco-classes.txt \
		--preset small --precision float32 --compensation preset \
		--method clip,maskclip,sclip,clearclip,cliper-star,cliper --output evaluation-output

scribbles: $(VENV)/.installed-test ## print what scribbles bring: make scribbles DATA=coco128-seg
	$(BIN)/python tools/simulate_scribbles.py --data $(DATA)

## Show and publish it

docs: qt-libraries $(VENV)/.installed-dev ## build the site into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going \
		--doctree-dir docs/_build/doctrees docs docs/_build/html

# All of docs/images. None needs data from outside; the last one segments a picture of
# 20,000 x 20,000 pixels, and the figures that docs/large-pictures.md tells of it are this machine's.
screenshots: qt-libraries $(VENV)/.installed-test ## draw the pictures in docs/images anew (about 10 minutes)
	$(ON_SCREEN) $(BIN)/python tools/screenshot.py
	$(ON_SCREEN) $(BIN)/python tools/screenshot_tutorial.py
	$(ON_SCREEN) $(BIN)/python tools/screenshot_story.py
	$(BIN)/python tools/draw_architecture.py
	$(BIN)/python tools/draw_method.py
	$(BIN)/python tools/where_it_fails.py
	$(BIN)/python tools/demonstrate_large.py

dist: $(VENV)/.installed-dev ## build what is published into dist, and check its metadata
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

## Tidy up

clean: ## remove the virtual environment, the demo's pictures and all caches
	rm -rf $(VENV) $(DEMO) evaluation-output dist htmlcov docs/_build docs/reference .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# Each target's name is no file's.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*## .*/\1/p' $(firstword $(MAKEFILE_LIST))) qt-libraries

qt-libraries:
	@tools/install_qt_libraries.sh

# One virtual environment; a stamp says which extras are in it. They are put in again when
# pyproject.toml changes.
$(VENV)/.installed-demo: EXTRAS := all,offline
$(VENV)/.installed-test: EXTRAS := test
$(VENV)/.installed-dev: EXTRAS := dev
$(VENV)/.installed-%: pyproject.toml | $(BIN)/uv
	$(INSTALL) --editable ".[$(EXTRAS)]"
	@touch $@

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
