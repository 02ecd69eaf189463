"""The scripts of this repository: what `revision` proves of a new one holds for each of them."""

import pytest

from postgres_database.history import graph
from postgres_database.history.graph import Revision
from postgres_database.running.runner import open_runner
from postgres_database.schema import snapshot
from postgres_database.scratch import contents, databases, made_up_rows
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.settings import ROOT, Settings
from postgres_database.workflows import check


def settings(scratch: Dsn) -> Settings:
    """Return settings for this repository that are nobody's own."""
    models = "postgres_database.models:metadata"
    return Settings(ROOT, "", "", target=scratch, target_metadata=models, scratch=scratch)


SCRIPTS = graph.read(settings(Dsn({})))


@pytest.mark.parametrize("revision", SCRIPTS.revisions, ids=lambda revision: revision.id)
def test_every_script_leads_there_and_back(server: Database, revision: Revision) -> None:
    """With rows in all tables: up, down to the same schema, and up again; no row is lost."""
    ours = settings(server.dsn)
    with databases.session(ours) as session:
        here = session.at(SCRIPTS, revision.needed)
        there = session.at(SCRIPTS, [revision.id])
        made_up_rows.fill(here, there)
        held, before, after = contents.take(here), snapshot.take(here), snapshot.take(there)
        with open_runner(ours, here) as run:
            run.upgrade([revision])
            assert not held.lost(contents.take(here))
            run.downgrade([revision])
            assert not before.difference(snapshot.take(here))
            run.upgrade([revision])
            assert not after.difference(snapshot.take(here))


def test_models_and_history_agree(server: Database) -> None:
    """There is nothing left to write: `check` finds no difference."""
    assert check.check(settings(server.dsn)).clean
