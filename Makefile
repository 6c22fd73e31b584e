# make run    install what a device needs (no torch) and classify 1,000 images under all four schemes
# make test   install what tests need (torch, too) and run linters, type checker and suite
# make docs   build the site of docs/ into site/, with warnings as errors
# make paper  measure the paper's tables and figures again and write results/paper/report.html (half an hour)
# SLOW=5 runs any of these as on a machine five times slower, after installing, where control groups are permitted
PYTHON ?= python3
# A part of the suite's time is waiting for emulated links: one test file more at a time than there are cores here.
WORKERS ?= 3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
METADATA := setup.cfg pyproject.toml
SAY := printf 'hddnn: %s\n'
SLOWLY := $(if $(SLOW),$(VENV)/bin/python tests/slowly.py $(SLOW) )

.PHONY: run paper docs test lint clean

run: $(VENV)/base
	$(SLOWLY)$(VENV)/bin/hddnn run $(ARGS)

paper: $(VENV)/base
	$(SLOWLY)$(VENV)/bin/python scenarios/paper.py $(ARGS)

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(SLOWLY)$(VENV)/bin/mkdocs build --strict $(ARGS)

test: lint
	$(SLOWLY)$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadscope $(ARGS)

lint: $(VENV)/test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/base: $(METADATA) | $(VENV)/bin/python
	@$(SAY) "installing what a device needs into $(VENV): once, a minute or so"
	@$(PIP) install -q -e .
	@touch $@

$(VENV)/docs: $(METADATA) | $(VENV)/bin/python
	@$(SAY) "installing what the site needs into $(VENV): once, a minute or so"
	@$(PIP) install -q -e ".[docs]"
	@touch $@ $(VENV)/base

$(VENV)/test: $(METADATA) | $(VENV)/bin/python
	@$(SAY) "installing what tests need, torch too, into $(VENV): once, some minutes"
	@$(PIP) install -q -e ".[test,torch]"
	@touch $@ $(VENV)/base $(VENV)/docs

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("hddnn needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) results build site *.egg-info
