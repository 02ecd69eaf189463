"""The scripts of this repository: what `revision` proves of a new one holds for each of them."""

import pytest
from conftest import ROOT

from postgres_database.history.graph import Revision
from postgres_database.history.project import Project
from postgres_database.running.runner import open_runner
from postgres_database.schema import snapshot
from postgres_database.scratch import contents, databases, made_up_rows
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.environment import Environment
from postgres_database.workflows import check

OURS = Project(ROOT)


def at(scratch: Dsn) -> Environment:
    """Return an environment that is nobody's own."""
    return Environment(ROOT, target=scratch, scratch=scratch)


@pytest.mark.parametrize("revision", OURS.history.revisions, ids=lambda revision: revision.id)
def test_every_script_leads_there_and_back(server: Database, revision: Revision) -> None:
    """With rows in all tables: up, down to the same schema, and up again; no row is lost."""
    with databases.session(OURS, at(server.dsn)) as session:
        here = session.at(OURS, revision.needed)
        there = session.at(OURS, [revision.id])
        made_up_rows.fill(here, there)
        held, before, after = contents.take(here), snapshot.take(here), snapshot.take(there)
        with open_runner(OURS, here) as run:
            run.upgrade([revision])
            assert not held.lost(contents.take(here))
            run.downgrade([revision])
            assert not before.difference(snapshot.take(here))
            run.upgrade([revision])
            assert not after.difference(snapshot.take(here))


def test_models_and_history_agree(server: Database) -> None:
    """There is nothing left to write: `check` finds no difference."""
    assert check.check(OURS, at(server.dsn)).clean
