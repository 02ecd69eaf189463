"""The scripts of this repository: what `revision` proves of a new one holds for each of them."""

import pytest

from postgres_database import check, contents, history, rows, scratch, snapshot
from postgres_database.connection import Database
from postgres_database.dsn import Dsn
from postgres_database.history import Revision
from postgres_database.runner import open_runner
from postgres_database.settings import ROOT, Settings


def settings(scratch: Dsn) -> Settings:
    """Return settings for this repository that are nobody's own."""
    models = "postgres_database.models:metadata"
    return Settings(ROOT, "", "", target=scratch, target_metadata=models, scratch=scratch)


SCRIPTS = history.read(settings(Dsn({})))


@pytest.mark.parametrize("revision", SCRIPTS.revisions, ids=lambda revision: revision.id)
def test_every_script_leads_there_and_back(server: Database, revision: Revision) -> None:
    """With rows in all tables: up, down to the same schema, and up again; no row is lost."""
    ours = settings(server.dsn)
    with scratch.session(ours) as session:
        here = session.at(SCRIPTS, revision.needed)
        there = session.at(SCRIPTS, [revision.id])
        rows.fill(here, there)
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
