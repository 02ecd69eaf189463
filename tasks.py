"""The commands of this project; `invoke --list` names them, `invoke upgrade --help` explains one.

From scratch, from models to databases:

    invoke revision --msg "Added column to users"             # a script, proved before you review it
    invoke upgrade --env production                           # up to date, revision by revision

A database that is online, with its data and without scripts:

    invoke baseline-existing --env production                 # its schema becomes the first revision
    invoke revision --msg "What the models say"               # what it has not, and the models have
"""

# ruff: noqa: F401, I001 - what is imported are the commands, in the order of a day

# Both workflows begin here.
from postgres_database.tasks import init, baseline_existing, models

# From models to databases, and back.
from postgres_database.tasks import revision, upgrade, downgrade

# Each day: where everything stands, and whether it fits together.
from postgres_database.tasks import status, check, review, current, history

# The scripts.
from postgres_database.tasks import heads, branches, show, edit, merge, rebase, squash, stamp

# The embedded server.
from postgres_database.tasks import start, stop, psql

# For people who work on this repository.
from development import test, test_slow, lint, bench, bench_peers, bench_faults

# Your own commands (https://docs.pyinvoke.org): from invoke import task

# Last, because it reads what is above: typing errors end with what was probably meant.
from postgres_database.tasks import understand

understand(__name__)
