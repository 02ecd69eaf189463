# The commands of tasks.py for people who type make. The first one builds .venv by itself.
#
#   make upgrade ENV=production
#   make revision MSG='Added column to file_meta_data'
#   make upgrade TARGET=+1 ARGS='--dry-run --yes'
#
# Variables: ENV (environment), MSG (message), TARGET (revision), ARGS (any further options),
# VENV (where the virtual environment is; default .venv), PYTHON (the interpreter that it is built
# with). Works with GNU make 3.81 and later.

PYTHON ?= python3
VENV   ?= .venv

OURS      := $(VENV)/.made-by-make
STAMP     := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
# Not $(VENV)/bin/invoke: its first line holds a path, which breaks when the folder is moved.
INVOKE    := $(VENV)/bin/python -m invoke
# Advice is spelled as it is typed.
export POSTGRES_DATABASE_CALLER := make
PIP       := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
             --require-hashes --only-binary :all:

# A new task goes into one of these two lists; a test compares them with `invoke --list`.
TASKS := init revision migrate upgrade downgrade baseline-existing models check review status current history \
         heads branches show edit merge rebase squash stamp start stop psql
DEV_TASKS := test test-slow lint bench bench-peers bench-faults

TAKES_MSG    := revision migrate merge squash baseline-existing
TAKES_TARGET := upgrade downgrade stamp show edit merge squash

GOALS     := help install install-dev tests lock clean $(TASKS) $(DEV_TASKS)
# What the command line may set. What only the process environment has is not looked at.
VARIABLES := ENV MSG TARGET ARGS PYTHON VENV DEBUG NO_COLOR EDITOR VISUAL SHELL TEST_POSTGRES_BIN \
             POSTGRES_DSN DATABASE_URL PROTECTED LOCK_TIMEOUT STATEMENT_TIMEOUT SCRATCH_DSN \
             TARGET_METADATA

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: FORCE $(GOALS)

# What is given on the command line arrives as it was typed: make would expand each `$` in it.
# ENV, MSG and TARGET may also come from the environment or from --eval. Recipes hand them on as "$$MSG", through the
# environment, so that quotes, backticks and $(…) meet neither make nor the shell.
typed := $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
$(foreach v,$(typed) ENV MSG TARGET,$(eval override $(v) := $$(value $(v)))$(eval export $(v)))

# After a word too many or a misspelt name the default target would be changed: the Makefile ends
# before anything runs. The completion of a shell asks for .DEFAULT or .PHONY and has its own variable.
strays  := $(filter-out $(GOALS) $(STAMP) $(DEV_STAMP) .DEFAULT .PHONY,$(MAKECMDGOALS))
stray   := $(firstword $(filter-out -%,$(strays)) $(strays))
unknown := $(firstword $(filter-out $(VARIABLES) PG% PIP_% __BASH_%,$(typed)))
emptied := $(firstword $(foreach v,$(filter ENV TARGET,$(typed)),$(if $(strip $(value $(v))),,$(v))))
again   := make $(or $(filter $(GOALS),$(MAKECMDGOALS)),help)
flags   := $(filter-out --%,$(firstword -$(MAKEFLAGS)))
# What a word too many means behind these commands, unless it is an environment.
message := $(if $(findstring e,$(flags))$(filter --env,$(strays))$(wildcard .env.$(stray)),,$\
           $(filter revision migrate,$(MAKECMDGOALS)))
comma   := ,
space   := $() $()
# A value may be a secret where it holds an @ or a colon.
shown    = $(if $(findstring @,$1)$(findstring :,$1)$(findstring ',$1),…,$1)
spelled  = $1=$(if $(findstring $(space),$2),'$2',$2)
meant    = $(or $(if $(filter e% E%,$1),ENV),$(if $(filter t% T% r% R%,$1),TARGET),$\
           $(if $(filter m% M%,$1),MSG),$(if $(filter v% V%,$1),VENV))
# What else was typed and stays in the advice: $1 is the variable that the advice sets.
dashed  := $(filter-out --env,$(filter --%,$(strays)))
kept     = $(foreach v,$(filter-out $1 ARGS $(emptied),$(filter $(VARIABLES),$(typed))),$\
           $(space)$(call spelled,$v,$(call shown,$(value $v))))$\
           $(if $(strip $(filter-out $1,ARGS) $(dashed)),$\
           $(if $(strip $(value ARGS) $(dashed)),$\
           $(space)$(call spelled,ARGS,$(strip $(call shown,$(value ARGS)) $(dashed)))))
# $1: what is wrong; $2: the variable that the advice sets; $3: its value; $4: a note. make puts a point behind all.
stop     = $(error error: $1; nothing was run; try: $(again)$(if $2, $(call spelled,$2,$3))$(call kept,$2)$(if $4,   ($4))$(space))
values  := ENV=… is an environment$(comma) TARGET=… a revision$(comma) ARGS='--…' any option

ifneq ($(stray),)
    $(if $(filter $(GOALS),$(MAKECMDGOALS)),$\
        $(if $(filter --%,$(stray)),$(call stop,make has no command $(stray),,,$(values)),$\
            $(if $(message),$\
                $(call stop,make has no command $(stray),MSG,$(call shown,$(filter-out -%,$(strays))),$(values)))$\
            $(call stop,make has no command $(stray),$(if $(filter +% -% head base,$(stray)),TARGET,ENV),$\
                $(stray:.env.%=%),$(values))),$\
        $(call stop,make has no command $(stray)))
endif
ifneq ($(unknown),)
    $(if $(call meant,$(unknown)),$\
        $(call stop,make has no variable $(unknown),$(call meant,$(unknown)),$(call shown,$(value $(unknown)))),$\
        $(call stop,make has no variable $(unknown),ARGS,'--…',or $(unknown)=… $(again)$(comma) for the process environment))
endif
ifneq ($(emptied),)
    $(call stop,$(emptied) is empty,,,without $(emptied) for its default)
endif
# `--env` is short for make's own --environment-overrides.
ifneq ($(findstring e,$(flags)),)
    $(call stop,-e and --env are options of make itself,ENV,production)
endif
ifneq ($(word 2,$(MAKECMDGOALS)),)
    both := $(firstword $(foreach g,$(filter $(GOALS),$(MAKECMDGOALS)),$(if $(wildcard .env.$(g)),$(g))))
    $(if $(both),$(error error: $(both) is a command and an environment; nothing was run; try: $\
        make $(or $(filter-out $(both),$(MAKECMDGOALS)),$(both)) ENV=$(both)$(call kept,ENV)   (or one command after the other)$(space)))
endif
ifneq ($(words $(VENV)),1)
    $(call stop,VENV must be one folder without blanks,VENV,.venv-database)
endif

options = $(if $(filter $@,$(TAKES_MSG)),$(if $(MSG),--msg="$$MSG")) \
          $(if $(filter $@,$(TAKES_TARGET)),$(if $(TARGET),--target="$$TARGET")) $(ARGS)

help: $(STAMP)
	@$(INVOKE) --list
	@echo
	@echo "Examples:"
	@echo "  make upgrade                                 bring the database to head"
	@echo "  make revision MSG='Added column to users'    write the next script"
	@echo "  make upgrade ENV=production ARGS=--dry-run   show what would be done there"

$(TASKS): $(STAMP)
	@$(INVOKE) $@ $(options)

$(DEV_TASKS): $(DEV_STAMP)
	@$(INVOKE) $@ $(options)

install: $(STAMP)

install-dev: $(DEV_STAMP)

# There is a folder of this name, so make would say that nothing is to be done.
tests: test

# The stamps are touched last, so that an installation that failed is tried again. A folder whose
# interpreter has gone (realpath finds nothing behind the link) is built anew, as is one without
# a stamp; one with a stamp is kept, whatever PYTHON says today.
ifeq ($(realpath $(VENV)/bin/python),)
$(STAMP): FORCE
endif

pip_install = $(PIP) -r $(1) >$(VENV)/pip.log 2>&1 || { cat $(VENV)/pip.log >&2; \
    echo >&2 "error: pip cannot install $(1) (see above); try: $$AGAIN$$SAME_PYTHON"; exit 1; }

python_version = import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(sys.version_info < (3, 11))

# The command as it was typed, for recipes: through the environment, as above.
export AGAIN       := $(again)$(call kept,PYTHON)
export SAME_PYTHON := $(if $(filter PYTHON,$(typed)), $(call spelled,PYTHON,$(call shown,$(PYTHON))))

# The first Python that would do, if there is one.
try_python = $$(for p in 3.14 3.13 3.12 3.11 3; do \
    python$$p -c '$(python_version)' >/dev/null 2>&1 && { echo "$$AGAIN PYTHON=python$$p"; exit; }; done; \
    echo "apt install python3.11 python3.11-venv (or python.org), then $$AGAIN PYTHON=python3.11")

# What make did not make it leaves alone: the mark is there before anything else, and is kept until the end.
$(OURS):
	@if [ -e $(STAMP) ]; then :; elif [ -n "$$(ls -A $(VENV) 2>/dev/null)" ]; then \
	    echo >&2 "error: $(VENV) is there and was not made by make; nothing was changed;" \
	        "try: $(again) VENV=.venv-database, or mv $(VENV) $(VENV).old"; exit 1; fi
	@mkdir -p $(VENV)
	@touch $@

# What your models import besides: kept at the versions of the lock where both name a package.
OWN        := $(wildcard requirements-models.txt)
own_install = sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements.lock >$(VENV)/locked.txt; \
    $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $(OWN) -c $(VENV)/locked.txt \
    >$(VENV)/pip.log 2>&1 || { cat $(VENV)/pip.log >&2; \
    echo >&2 "error: pip cannot install $(OWN) (see above); try: $$AGAIN$$SAME_PYTHON"; exit 1; }

$(STAMP): requirements.lock $(OWN) | $(OURS)
	@if ! [ -e $@ ] || ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	    version=$$("$(PYTHON)" -c '$(python_version)' 2>/dev/null) || { \
	        echo >&2 "error: Python 3.11 or newer is needed, $(PYTHON) is $${version:-missing};" \
	            "try: $(try_python)"; exit 1; }; \
	    echo "building $(VENV) with Python $$version …"; \
	    find $(VENV)/ -depth -mindepth 1 ! -path $(VENV)/.made-by-make -delete; \
	    "$(PYTHON)" -m venv $(VENV) || { \
	        echo >&2 "error: $(PYTHON) cannot build $(VENV) (see above);" \
	            "try: apt install python$${version%.*}-venv, or where there is no apt: the package of Python that has the module venv"; exit 1; }; \
	fi
	@echo "installing into $(VENV) …"
	@$(call pip_install,requirements.lock)
	@$(if $(OWN),$(own_install))
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(STAMP)
	@echo "installing what tests and linters need into $(VENV) …"
	@$(call pip_install,requirements-dev.lock)
	@touch $@

# Keeps the versions that still fit; `make lock ARGS=--upgrade` takes the newest. uv does not read the settings of pip
# for a proxy or an index.
UV_COMPILE = $(if $(PIP_CERT),SSL_CERT_FILE="$$PIP_CERT") $(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$$PIP_INDEX_URL") \
    $(VENV)/lock/bin/uv pip compile --quiet $(ARGS) --universal --python-version 3.11 \
    --no-python-downloads --generate-hashes --only-binary :all: --custom-compile-command 'make lock'

lock: | $(OURS)
	@"$(PYTHON)" -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	$(UV_COMPILE) pyproject.toml --group dev --constraints requirements.lock \
	    --output-file requirements-dev.lock

# The binaries of the embedded server are in the folder, so it has to stop first. Its data in
# .postgres stay where they are, as does a folder that make did not make.
clean:
	@if [ -e $(OURS) ] || [ -e $(STAMP) ]; then \
	    if $(VENV)/bin/python -c 'import invoke' 2>/dev/null; then $(INVOKE) stop || { \
	        echo >&2 "error: the embedded server runs from $(VENV) and did not stop;" \
	            "try: make stop DEBUG=1"; exit 1; }; fi; \
	    echo "rm -rf $(VENV)"; rm -rf $(VENV); \
	elif [ -e $(VENV) ]; then echo "$(VENV) was not made by make and stays"; fi
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name '.?*' -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
