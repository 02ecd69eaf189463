"""What a script sets does not reach the next one; what the session had before the first, every script has."""

import pytest
from answers import never
from commands import up
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError

SEEN = """
    SELECT name || '=' || setting FROM pg_settings
    WHERE name IN ('search_path', 'session_replication_role', 'statement_timeout', 'work_mem', 'DateStyle',
                   'default_transaction_isolation', 'row_security', 'application_name')
    UNION ALL SELECT 'app.tenant=' || coalesce(current_setting('app.tenant', true), '')
    UNION ALL SELECT current_user || ' ' || session_user || ' ' || current_schema()
    UNION ALL SELECT 'prepared ' || name FROM pg_prepared_statements
    UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
    UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relpersistence = 't'
    UNION ALL SELECT 'listens ' || c FROM pg_listening_channels() AS c
"""
LOOK = f"op.execute({f'CREATE TABLE public.seen_{{}} AS {SEEN}'!r})"
LEAKS = [
    "CREATE SCHEMA o; SET search_path = o, public",
    "SET session_replication_role = replica",
    "SET SESSION AUTHORIZATION {role}",
    "SET ROLE {role}",
    "SET statement_timeout = '1h'; SET work_mem = '1GB'; SET datestyle = 'German'",
    "SELECT set_config('search_path', 'pg_catalog', false), set_config('app.tenant', '7', false)",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "PREPARE p AS SELECT 1; LISTEN l; DECLARE c CURSOR WITH HOLD FOR SELECT 1; CREATE TEMP TABLE public_ (a int)",
]


def seen(project: Project, table: str) -> list[object]:
    return [
        line for (line,) in run_sql(project.database, f"SELECT * FROM public.{table} ORDER BY 1")
    ]


@pytest.fixture
def leaking(role: str, project: Project) -> Project:
    """Two scripts that write down what they find; the first one leaves everything set."""
    leaks = [each.format(role=role) for each in LEAKS]
    project.script("aaaa", upgrade=LOOK.format("one"))
    body = "".join(f"op.execute({each!r})\n" for each in leaks[:1] + leaks[4:])
    body += "with op.get_context().autocommit_block():\n"
    body += "".join(f"    op.execute({each!r})\n" for each in [leaks[1], leaks[3]])
    project.script("bbbb", "aaaa", upgrade=body)
    project.script("cccc", "bbbb", upgrade=LOOK.format("two"))
    return project


@pytest.mark.parametrize("leak", LEAKS)
def test_settings_end_with_their_script(role: str, project: Project, leak: str) -> None:
    """Whatever a script sets, the next one finds the session as the first one did."""
    run_sql(project.database, f"GRANT ALL ON SCHEMA public TO {role}")
    project.script("aaaa", upgrade=LOOK.format("one"))
    project.script("bbbb", "aaaa", upgrade=f"op.execute({leak.format(role=role)!r})")
    project.script("cccc", "bbbb", upgrade=LOOK.format("two"))
    if "ROLE" in leak or "AUTHORIZATION" in leak:  # who stamps may do so
        run_sql(project.database, f"ALTER ROLE {role} SUPERUSER")
    up(project.settings, project.database, confirm=never)
    assert seen(project, "seen_one") == seen(project, "seen_two")


def test_one_after_the_other_is_the_same_as_together(project: Project) -> None:
    """The schema does not depend on how many revisions were pending."""
    project.script(
        "aaaa",
        upgrade='op.execute("CREATE SCHEMA o; SET search_path = o, public; SET session_replication_role = replica")',
    )
    project.script("bbbb", "aaaa", upgrade='op.execute("CREATE TABLE c ()")')
    up(project.settings, project.database, confirm=never)
    assert run_sql(project.database, "SELECT to_regclass('public.c') IS NOT NULL") == [(True,)]


def test_what_a_failed_script_has_committed_is_set_no_longer(role: str, leaking: Project) -> None:
    """A script that fails after it set something outside of its transaction leaves the session as it was."""
    run_sql(leaking.database, f"GRANT ALL ON SCHEMA public TO {role}; ALTER ROLE {role} SUPERUSER")
    path = leaking.versions / "bbbb.py"
    text = path.read_text()
    path.write_text(
        text.replace("\n\n\ndef downgrade", '\n    op.execute("SELECT 1/0")\n\n\ndef downgrade')
    )
    with pytest.raises(ExpectedError):
        up(leaking.settings, leaking.database, confirm=never)
    path.write_text(text)
    up(leaking.settings, leaking.database, confirm=never)
    assert seen(leaking, "seen_one") == seen(leaking, "seen_two")


def test_what_env_py_sets_holds_for_every_script(role: str, leaking: Project) -> None:
    """A search path, a role and a setting of one's own that env.py gives stay until the end."""
    run_sql(leaking.database, "CREATE SCHEMA tenant")
    run_sql(leaking.database, f"ALTER ROLE {role} SUPERUSER")
    env = leaking.root / "migration" / "env.py"
    env.write_text(
        env.read_text().replace(
            "alembic_env.run(context)",
            'here = context.config.attributes.get("connection")\n'
            "if here:\n"
            '    here.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS tenant")\n'
            "    here.exec_driver_sql(\"SET search_path = tenant, public; SET app.tenant = '5'\")\n"
            f'    here.exec_driver_sql("SET ROLE {role}")\n'
            "    here.commit()\n"
            "alembic_env.run(context)",
        )
    )
    leaking.script("dddd", "cccc", upgrade='op.execute("CREATE TABLE t ()")')
    up(leaking.settings, leaking.database, confirm=never)
    assert seen(leaking, "seen_one") == seen(leaking, "seen_two")
    assert "app.tenant=5" in seen(leaking, "seen_two")
    assert run_sql(leaking.database, "SELECT to_regclass('tenant.t') IS NOT NULL") == [(True,)]
