"""Secrets in the texts of a database: what is pointed out, and what is not."""

import pytest
from commands import adopt
from conftest import Project, run_sql

from postgres_database.errors import ExpectedError
from postgres_database.schema import disclosures, dump
from postgres_database.workflows.adoption import BaselineResult

FUNCTION = "CREATE FUNCTION f() RETURNS text LANGUAGE {language} AS $f$ {body} $f$;"

# Bodies of functions in PL/pgSQL that hold a secret, S3cret-1 or what stands behind #.
BODIES = {
    "dblink": "BEGIN PERFORM dblink('host=x password=S3cret-1'); END",
    "dblink, letters only": "BEGIN PERFORM dblink('host=x password=secret'); END #password=secret",
    "dblink, spaces": "BEGIN PERFORM dblink('host = x password = hunter user = y'); END #hunter",
    "dblink, quoted": "BEGIN PERFORM dblink('host=x password=''S3cret-1 x'''); END",
    "executed": "BEGIN EXECUTE 'SELECT dblink(''host=x password=S3cret-1'')'; END",
    "executed, dollars": "BEGIN EXECUTE $q$SELECT dblink('password=S3cret-1 host=x')$q$; END",
    "URL": "BEGIN PERFORM http_get('https://me:S3cret-1@host/path'); END",
    "URL, slash": "BEGIN PERFORM http_get('https://me:S3cret-1/x@host'); END",
    "URL, query": "BEGIN PERFORM http_get('https://host/path?api_key=S3cret-1&a=1'); END",
    "role": "BEGIN ALTER USER u WITH ENCRYPTED PASSWORD 'S3cret-1'; END",
    "role, executed": "BEGIN EXECUTE 'CREATE ROLE u LOGIN PASSWORD ''S3cret-1'''; END",
    "setting": "BEGIN SET app.jwt_secret = 'S3cret-1'; END",
    "setting, called": "BEGIN PERFORM set_config('app.jwt_secret', 'S3cret-1', false); END",
    "variable": "DECLARE api_key CONSTANT text := 'S3cret-1'; BEGIN RETURN api_key; END",
    "variable, default": "DECLARE v_token varchar(80) DEFAULT 'S3cret-1'; BEGIN RETURN 1; END",
    "compared": "BEGIN IF given_password = 'S3cret-1' THEN RETURN 1; END IF; END",
    "JSON": """BEGIN RETURN '{"user": "x", "password": "S3cret-1"}'::jsonb; END""",
    "JSON, built": "BEGIN RETURN jsonb_build_object('client_secret', 'S3cret-1'); END",
    "Bearer": "BEGIN PERFORM http('Authorization: Bearer S3cret-1'); END",
    "Basic": "BEGIN PERFORM http('Authorization: Basic bWU6UzNjcmV0LTE='); END #bWU6UzNjcmV0LTE=",
    "AWS": "BEGIN RETURN 'AKIAIOSFODNN7EXAMPLE'; END #AKIAIOSFODNN7EXAMPLE",
    "GitHub": "BEGIN RETURN 'ghp_012345678901234567890123456789012345'; END #ghp_012345678901234567890123456789012345",
    "JWT": "BEGIN RETURN 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln'; END #eyJzdWIiOiIxMjM0In0",
    "Slack": "BEGIN RETURN 'https://hooks.slack.com/services/T0/B0/c2VjcmV0MQ'; END #c2VjcmV0MQ",
    "short name": "BEGIN RETURN 1; -- admin / pw: S3cret-1\nEND",
    "PEM": "BEGIN RETURN '-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----'; END #MIIEow",
    "encrypted": "BEGIN RETURN pgp_sym_decrypt(x, 'S3cret-1'); END",
    "commented": "BEGIN RETURN 1; -- the account is me, password: S3cret-1\nEND",
}
# Other statements that hold S3cret-1, and the object that is named.
OBJECTS = {
    "view": ("CREATE VIEW v AS SELECT 'host=x password=S3cret-1'::text AS c", "VIEW v"),
    "materialized view": (
        "CREATE MATERIALIZED VIEW v AS SELECT 'a:b@c://u:S3cret-1@h' AS c",
        "MATERIALIZED VIEW v",
    ),
    "default": ("CREATE TABLE t (conn text DEFAULT 'postgresql://u:S3cret-1@h/d')", "TABLE t"),
    "default of a secret": ("CREATE TABLE t (api_token varchar(80) DEFAULT 'S3cret-1')", "TABLE t"),
    "check": ("CREATE TABLE t (token varchar(80) CHECK (token = 'S3cret-1'))", "TABLE t"),
    "comment": (
        "COMMENT ON SCHEMA public IS 'ask admin, password=S3cret-1'",
        "COMMENT SCHEMA public",
    ),
    "SET": (
        FUNCTION.format(language="sql", body="SELECT '1'")
        + "ALTER FUNCTION f() SET app.jwt_secret = 'S3cret-1'",
        "FUNCTION f()",
    ),
    "SET, connection": (
        FUNCTION.format(language="sql", body="SELECT '1'")
        + "ALTER FUNCTION f() SET app.conn = 'host=x password=S3cret-1'",
        "FUNCTION f()",
    ),
    "atomic": (
        "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT 'host=x password=S3cret-1'; END",
        "FUNCTION f()",
    ),
    "argument": (
        "CREATE FUNCTION f(password text DEFAULT 'S3cret-1') RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "FUNCTION f(text)",
    ),
    "procedure": (
        "CREATE PROCEDURE p() LANGUAGE sql AS $$ SELECT 'host=x password=S3cret-1' $$",
        "PROCEDURE p()",
    ),
    "policy": (
        "CREATE TABLE t (x text); CREATE POLICY p ON t USING (current_setting('app.token') = 'S3cret-1')",
        "POLICY t p",
    ),
    "trigger": (
        (
            "CREATE TABLE t (x text); CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER n AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION g('https://me:S3cret-1@h')"
        ),
        "TRIGGER t n",
    ),
    "domain": ("CREATE DOMAIN d AS text DEFAULT 'https://me:S3cret-1@h'", "DOMAIN d"),
    "rule": (
        "CREATE TABLE t (x text); CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY n, 'password=S3cret-1'",
        "RULE t r",
    ),
}
HARMLESS = {
    "columns": "CREATE TABLE users (password text, token text DEFAULT '', api_key text DEFAULT 'none',"
    " password_hash text, token_type text DEFAULT 'bearer', secret boolean DEFAULT false,"
    " key text DEFAULT gen_random_uuid()::text, CHECK (length(password) > 8 AND password <> 'password'))",
    "functions": FUNCTION.format(
        language="plpgsql",
        body="BEGIN UPDATE users SET password = crypt(p_password, gen_salt('bf')) WHERE password=NEW.password;"
        " EXECUTE format('ALTER USER %I PASSWORD %L', a, b); EXECUTE 'UPDATE u SET password=$1' USING c;"
        " EXECUTE 'UPDATE u SET password=pw, token = crypt(pw, s)';"
        " PERFORM dblink('host=x password=' || pw); PERFORM dblink(format('password=%s host=x', pw));"
        " IF password IS NULL THEN message := 'no password'; END IF; RAISE 'wrong password \"%\"', x;"
        " SELECT password, 'active' FROM u WHERE kind IN ('password', 'token') AND token IS NOT NULL AND a = 'b';"
        " PERFORM http('Authorization: Bearer ' || token, 'https://host:8080/path?a=b@c', 'https://u:%s@h'); END",
    ),
    "check_password": "CREATE FUNCTION check_password(password text, hash text DEFAULT NULL) RETURNS bool LANGUAGE sql"
    " AS 'SELECT hash = crypt(password, hash)'",
    "comment": "COMMENT ON SCHEMA public IS 'Passwords are hashed; password: hashed with bcrypt, token: 64 characters,"
    " bearer token or basic information, see https://host:8080/a@b'",
    "foreign": "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (password 'S3cret-1')",
    "view": "CREATE VIEW v AS SELECT usename, passwd FROM pg_shadow WHERE passwd IS NOT NULL",
}  # fmt: skip


def pointed_out(project: Project, sql: str) -> tuple[str, ...]:
    run_sql(project.database, "SET check_function_bodies = off", sql)
    return disclosures.find(dump.take(project.database))


def test_secrets_in_functions_are_pointed_out(project: Project) -> None:
    """Each function that holds a secret is named, with what it is and without the secret."""
    secrets = {}
    for number, (name, body) in enumerate(BODIES.items()):
        code, _, secret = body.partition(" #")
        sql = FUNCTION.format(language="plpgsql", body=code).replace("f()", f"f{number}()")
        run_sql(project.database, "SET check_function_bodies = off", sql)
        secrets[name] = f"FUNCTION f{number}(): ", secret or "S3cret-1"
    lines = disclosures.find(dump.take(project.database))
    assert {
        name: any(line.startswith(at) for line in lines) for name, (at, _) in secrets.items()
    } == (dict.fromkeys(BODIES, True))
    assert [secret for _, secret in secrets.values() if secret in "".join(lines)] == []


@pytest.mark.parametrize(("sql", "named"), OBJECTS.values(), ids=OBJECTS)
def test_secrets_in_objects_are_pointed_out(project: Project, sql: str, named: str) -> None:
    """Whatever object holds a secret is named."""
    lines = pointed_out(project, sql)
    assert [line.partition(": ")[0] for line in lines] == [named]
    assert "S3cret-1" not in "".join(lines)


def test_what_only_looks_like_a_secret(project: Project) -> None:
    """Names, hashes, placeholders, and what a dump masks anyway are nothing to point out."""
    assert pointed_out(project, ";".join(HARMLESS.values())) == ()


def test_baseline_asks_before_secrets_are_written(project: Project) -> None:
    """Secrets are shown by object and asked about before anything is written, and once more nowhere."""
    run_sql(project.database, OBJECTS["view"][0])
    asked = []

    def answer(question: str, details: object, *, yes: bool) -> bool:
        asked.append((question, details))
        return yes

    def adopted(*, yes: bool) -> BaselineResult:
        return adopt(project.settings, project.database, "Init", lambda q, d: answer(q, d, yes=yes))

    with pytest.raises(ExpectedError, match="not confirmed"):
        adopted(yes=False)
    assert project.scripts() == []
    assert run_sql(project.database, "SELECT to_regclass('alembic_version')") == [(None,)]
    assert adopted(yes=True).revision
    ((question, details), again) = asked
    assert question.startswith("write what may be a secret into migration/")
    assert details == ["look at   VIEW v: a connection string with a password"]
    assert again == (question, details)
