# The commands of tasks.py for people who type make. The first one builds .venv by itself.
#
#   make upgrade ENV=production
#   make revision MSG='Added column to file_meta_data'
#   make upgrade TARGET=+1 ARGS='--dry-run --yes'
#
# Variables: ENV (environment), MSG (message), TARGET (revision), ARGS (any further options),
# PYTHON (the interpreter that .venv is built with). Works with GNU make 3.81 and later.

PYTHON ?= python3

STAMP     := .venv/.installed
DEV_STAMP := .venv/.installed-dev
# Not .venv/bin/invoke: its first line holds a path, which breaks when the folder is moved.
INVOKE    := .venv/bin/python -m invoke
PIP       := .venv/bin/python -m pip install --quiet --disable-pip-version-check \
             --require-hashes --only-binary :all:

# A new task goes into one of these two lists; a test compares them with `invoke --list`.
TASKS := init revision migrate upgrade downgrade baseline-existing check status current history \
         heads branches show edit merge stamp start stop psql
DEV_TASKS := test test-slow lint bench bench-faults

TAKES_MSG    := revision migrate merge baseline-existing
TAKES_TARGET := upgrade downgrade stamp show edit merge

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install tests lock clean FORCE $(TASKS) $(DEV_TASKS)

# What is given on the command line arrives as it was typed: make would expand each `$` in it.
# MSG and TARGET may also come from the environment. Recipes hand them on as "$$MSG", through the
# environment, so that quotes, backticks and $(…) meet neither make nor the shell.
typed = $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
$(foreach v,$(typed) MSG TARGET,$(eval override $(v) := $$(value $(v)))$(eval export $(v)))

options = $(if $(filter $@,$(TAKES_MSG)),$(if $(MSG),--msg="$$MSG")) \
          $(if $(filter $@,$(TAKES_TARGET)),$(if $(TARGET),--target="$$TARGET")) $(ARGS)

help: $(STAMP)
	@$(INVOKE) --list
	@echo "Examples:"
	@echo
	@echo "  make upgrade                                  bring the database to head"
	@echo "  make revision MSG='Added column to users'     write the next script from the models"
	@echo "  make upgrade ENV=production ARGS=--dry-run    show what would be done to .env.production"
	@echo

$(TASKS): $(STAMP)
	@$(INVOKE) $@ $(options)

$(DEV_TASKS): $(DEV_STAMP)
	@$(INVOKE) $@ $(options)

install: $(STAMP)

# There is a folder of this name, so make would say that nothing is to be done.
tests: test

# The stamps are touched last, so that an installation that failed is tried again. A .venv whose
# interpreter has gone (realpath finds nothing behind the link) is built anew, as is one without
# a stamp; one with a stamp is kept, whatever PYTHON says today.
ifeq ($(realpath .venv/bin/python),)
$(STAMP): FORCE
endif

again = make $(firstword $(MAKECMDGOALS) help)
pip_install = $(PIP) -r $(1) >.venv/pip.log 2>&1 || { cat .venv/pip.log >&2; \
    echo >&2 "error: pip cannot install $(1) (see above); try: $(again)"; exit 1; }

python_version = import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(sys.version_info < (3, 11))

$(STAMP): requirements.lock
	@if ! [ -e $@ ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
	    version=$$("$(PYTHON)" -c '$(python_version)' 2>/dev/null) || { \
	        echo >&2 "error: Python 3.11 or newer is needed, $(PYTHON) is $${version:-missing};" \
	            "try: $(again) PYTHON=python3.12"; exit 1; }; \
	    echo "building .venv with Python $$version …"; \
	    "$(PYTHON)" -m venv --clear .venv || { \
	        echo >&2 "error: $(PYTHON) cannot build .venv (see above);" \
	            "try: apt install python3-venv, or $(again) PYTHON=python3.12"; exit 1; }; \
	fi
	@echo "installing into .venv …"
	@$(call pip_install,requirements.lock)
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(STAMP)
	@echo "installing what tests and linters need into .venv …"
	@$(call pip_install,requirements-dev.lock)
	@touch $@

# Keeps the versions that still fit; `make lock ARGS=--upgrade` takes the newest.
UV_COMPILE = .venv/lock/bin/uv pip compile --quiet $(ARGS) --universal --python-version 3.11 \
    --no-python-downloads --generate-hashes --only-binary :all: --custom-compile-command 'make lock'

lock:
	@"$(PYTHON)" -m venv .venv/lock
	@.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	$(UV_COMPILE) pyproject.toml --group dev --constraints requirements.lock \
	    --output-file requirements-dev.lock

# The binaries of the embedded server are in .venv, so it has to stop first. Its data in .postgres
# stay where they are.
clean:
	@if .venv/bin/python -c 'import invoke' 2>/dev/null; then $(INVOKE) stop || { \
	    echo >&2 "error: the embedded server runs from .venv and did not stop;" \
	        "try: make stop DEBUG=1"; exit 1; }; fi
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . \( -name .git -o -name .postgres \) -prune -o \
	    -type d -name __pycache__ -prune -exec rm -rf {} +
