"""The shipped models on a real database; a clone with models of its own leaves them out."""

import json
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

computation: Any = pytest.importorskip(
    "postgres_database.models.computation", reason="the models are not those that are shipped"
)
metadata: sa.MetaData = computation.Base.metadata


def test_nothing_in_the_models_is_anonymous() -> None:
    """Every constraint and index of the models has a name, so that a script can speak of it."""
    items = [each for table in metadata.sorted_tables for each in table.constraints | table.indexes]
    assert len(items) == 20
    assert [each for each in items if not isinstance(each.name, str)] == []


def test_models_have_the_eight_tables() -> None:
    """The metadata of the package knows the tables of all of its modules."""
    assert set(metadata.tables) == {
        "comp_pipeline",
        "comp_tasks",
        "confirmations",
        "file_meta_data",
        "projects",
        "tokens",
        "user_to_projects",
        "users",
    }


SAY_ENOUGH = {
    "id", "token_id", "task_id", "user_id", "project_id",
    "name", "user_name", "project_name", "node_name", "file_name", "email", "description",
    "created_at", "creation_date", "last_change_date", "last_modified",
}  # fmt: skip


def test_tables_and_columns_are_explained(engine: sa.Engine) -> None:
    """The database itself says what its tables and columns are for, if their names do not."""
    metadata.create_all(engine)
    inspector = sa.inspect(engine)
    for table in metadata.tables:
        assert inspector.get_table_comment(table)["text"], table
        for column in inspector.get_columns(table):
            assert column["comment"] or column["name"] in SAY_ENOUGH, (table, column["name"])


def objects(engine: sa.Engine) -> set[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("""
                SELECT 'relation', relname FROM pg_class
                WHERE relnamespace = 'public'::regnamespace
                UNION ALL SELECT 'type', typname FROM pg_type
                WHERE typnamespace = 'public'::regnamespace
                UNION ALL SELECT 'function', proname FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace
                UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
            """)
        )
        return {(kind, name) for kind, name in rows}


def test_drop_all_leaves_nothing_behind(engine: sa.Engine) -> None:
    """What create_all makes, drop_all takes away: types, function and trigger too; twice."""
    for _ in range(2):
        metadata.create_all(engine)
        made = objects(engine)
        assert ("type", "user_status") in made
        assert ("function", "notify_comp_tasks_outputs") in made
        assert ("trigger", "notify_comp_tasks_outputs") in made
        metadata.drop_all(engine)
        assert objects(engine) == set()


def test_enums_have_the_values_in_order(engine: sa.Engine) -> None:
    """The enumerations are types of PostgreSQL, with lower-case names and the values in order."""
    metadata.create_all(engine)
    enums = cast("pg.base.PGInspector", sa.inspect(engine)).get_enums()
    assert {enum["name"]: enum["labels"] for enum in enums} == {
        "confirmation_action": ["REGISTRATION", "RESET_PASSWORD", "CHANGE_EMAIL", "INVITATION"],
        "project_type": ["TEMPLATE", "STANDARD"],
        "user_role": ["ANONYMOUS", "GUEST", "USER", "TESTER"],
        "user_status": ["CONFIRMATION_PENDING", "ACTIVE", "BANNED"],
    }


def test_rows_get_their_defaults_from_the_database(engine: sa.Engine) -> None:
    """A client that knows nothing of the models gets ids, times and states from the database."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        user = connection.execute(
            sa.text(
                "INSERT INTO users (name, email, password_hash) VALUES ('a', 'a@b.c', 'x') "
                "RETURNING *, now() AS now"
            )
        ).one()
    assert (user.id, user.status, user.role) == (1, "CONFIRMATION_PENDING", "USER")
    assert user.created_at == user.now
    assert user.created_at.tzinfo


def test_all_times_have_a_time_zone() -> None:
    """No time of the models depends on the time zone of a session."""
    columns = [column for table in metadata.sorted_tables for column in table.columns]
    times = [column.type for column in columns if isinstance(column.type, sa.DateTime)]
    assert len(times) == 9
    assert all(time.timezone for time in times)


def test_entity_tag_is_the_last_column() -> None:
    """The column that the documented history adds stands where an added column comes to stand."""
    last = list(metadata.tables["file_meta_data"].columns)[-1]
    assert (last.name, last.nullable, last.server_default) == ("entity_tag", True, None)


def test_new_outputs_are_announced(engine: sa.Engine) -> None:
    """NOTIFY tells whose outputs changed; it is silent for other columns and for equal outputs."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO comp_pipeline VALUES ('p', '{}')"))
        connection.execute(
            sa.text("INSERT INTO comp_tasks (project_id, node_id) VALUES ('p', 'n \"1\"')")
        )

    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as listener:
        listener.execute(sa.text(f"LISTEN {computation.OUTPUTS_CHANNEL}"))
        inbox: list[Any] = listener.connection.dbapi_connection.notifies  # type: ignore[union-attr]

        def heard_after(update: str) -> list[Any]:
            inbox.clear()
            with engine.begin() as writer:
                assert writer.execute(sa.text(f"UPDATE comp_tasks SET {update}")).rowcount == 1
            listener.execute(sa.text("SELECT 1"))  # whose answer brings what was notified before
            assert {each.channel for each in inbox} <= {computation.OUTPUTS_CHANNEL}
            return [json.loads(each.payload) for each in inbox]

        task = {"task_id": 1, "project_id": "p", "node_id": 'n "1"'}
        assert heard_after('outputs = \'{"out": "x"}\'') == [task]
        assert heard_after('outputs = \'{"out": "x"}\'') == []
        assert heard_after("inputs = '{\"in\": \"x\"}', state = 'RUNNING'") == []
        assert heard_after("outputs = NULL") == [task]
