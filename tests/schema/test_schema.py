"""What your history must hold, whatever is in it; on scratch databases, so that no target is touched."""

import pytest

from postgres_database.history.graph import Revision
from postgres_database.testing import Schema

SCHEMA = Schema.here()


def test_history_has_one_head() -> None:
    """Every database is upgraded to the same schema."""
    assert len(SCHEMA.heads) == 1


@pytest.mark.long
@pytest.mark.parametrize("revision", SCHEMA.revisions, ids=lambda revision: revision.id)
def test_script_leads_there_and_back(revision: Revision) -> None:
    """It runs up, down to the same schema, and up again, also where there are rows."""
    assert not SCHEMA.there_and_back(revision)


def test_models_and_history_agree() -> None:
    """A database that the scripts make is what the models say."""
    assert not SCHEMA.differences()


def test_names_follow_the_convention() -> None:
    """Each constraint and index has a name, so that a script can change it."""
    assert not SCHEMA.anonymous()
