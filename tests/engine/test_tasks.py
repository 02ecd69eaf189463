"""The commands, typed as a person would type them."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
from checkouts import Checkout, as_text
from conftest import PASSWORD, run_sql
from invoke import Collection

import tasks
from postgres_database.running import log
from postgres_database.server.connection import Database
from postgres_database.server.dsn import Dsn
from postgres_database.server.embedded import EmbeddedServer

COMMANDS = Collection.from_module(tasks).tasks
CORE_NAMES = {"help", "list", "echo", "dry", "config", "hide", "version", "complete", "debug"}
HINTED = re.compile(r"^try:   (.*?)(?:   \(|$)", re.MULTILINE)


@pytest.fixture
def trial(checkout: Checkout, database: Database) -> Checkout:
    """A checkout with an environment `trial` whose database is empty."""
    checkout.env_file("trial", POSTGRES_DSN=as_text(database.dsn))
    return checkout


def three_lines(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed command says, which starts with its three lines and is no traceback."""
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert re.search(r"^error: .+\ncause: (.+\n)( .*\n)*try:   .+$", done.stderr, re.MULTILINE), (
        done.stderr
    )
    return done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_long_and_has_help(name: str) -> None:
    """Every command says what it does and every option what it is for; all have a default."""
    task = COMMANDS[name]
    assert task.__doc__
    for argument in task.get_arguments():
        assert not argument.positional
        assert argument.help, f"{name} --{argument.name}"
        assert all(len(spelling) > 1 for spelling in argument.names)
        assert not set(argument.names) & CORE_NAMES


@pytest.mark.long
def test_upgrade_of_all_environments(trial: Checkout) -> None:
    """Each environment gets a line and is upgraded by itself; one that fails stops no other, and is the exit code."""
    trial.env_file("gone", POSTGRES_DSN="host=/nowhere user=x dbname=y")
    done = trial.invoke("upgrade", "--all-envs", "--at-once", "2")
    assert done.returncode == 1
    assert re.search(
        r"^trial  now at head: \w+   \(3 revisions in .* s\)$", done.stdout, re.MULTILINE
    )
    assert re.search(r"^gone +failed$", done.stdout, re.MULTILINE)
    assert "cannot connect to" in done.stderr
    (trial.root / ".env.gone").unlink()
    again = trial.invoke("upgrade", "--all-envs")
    assert again.returncode == 0, again.stderr
    assert re.fullmatch(r"trial  already at head: \w+; nothing to upgrade\n", again.stdout)
    for number in ("x", "0", "-1", ""):
        refused = trial.invoke("upgrade", "--all-envs", f"--at-once={number}")
        assert f"error: --at-once {number} is not a number of environments" in refused.stderr
    refused = trial.invoke("upgrade", "--all-envs", "--env", "trial")
    assert refused.stderr.startswith("error: --all-envs does not go with --env")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_runs_nothing(checkout: Checkout, name: str) -> None:
    """--help after a command shows its options and does nothing else."""
    done = checkout.invoke(name, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert not (checkout.root / ".postgres").exists()


@pytest.mark.long
def test_upgrade_names_its_target_first(trial: Checkout) -> None:
    """The first line names the target without its secrets, then comes a line for each revision."""
    done = trial.invoke("upgrade", "--env", "trial")
    assert done.returncode == 0, done.stderr
    first, *steps, last = done.stdout.splitlines()
    assert re.fullmatch(r"trial  postgres@\S+/test_\w+  \(from \.env\.trial\)", first)
    assert [step.split()[0] for step in steps] == ["[1/3]", "[2/3]", "[3/3]"]
    assert last.startswith("now at head: ")
    again = trial.invoke("upgrade", ENV="trial", PYTHONPROFILEIMPORTTIME="1")
    assert re.search(r"^already at head: \w+; nothing to upgrade$", again.stdout, re.MULTILINE)
    assert " psycopg2" in again.stderr
    assert " postgast" not in again.stderr


@pytest.mark.parametrize("name", ["--list", "heads", "current"])
def test_parser_is_loaded_for_statements_only(trial: Checkout, name: str) -> None:
    """A command that reads no statement does not wait for the parser."""
    done = trial.invoke(name, ENV="trial", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert " invoke" in done.stderr
    assert " postgast" not in done.stderr


def test_dry_run_of_invoke_is_ours(trial: Checkout, database: Database) -> None:
    """invoke's own --dry shows the plan and changes nothing; a command without a dry run refuses."""
    done = trial.invoke("--dry", "upgrade", "--env", "trial")
    assert done.stdout.count("would upgrade") == 3
    assert run_sql(database, "SELECT to_regclass('users')") == [(None,)]
    refused = trial.invoke("--dry", "stamp", "--env", "trial")
    assert refused.returncode == 1
    assert "has no dry run" in refused.stderr


@pytest.mark.long
def test_rows_in_the_way_end_an_upgrade_and_a_dry_run(trial: Checkout, database: Database) -> None:
    """Rows that stand in the way are told in three lines before anything is changed; a dry run exits with 2."""
    trial.invoke("upgrade", "--env", "trial")
    script = trial.root / "migration" / "versions" / "next.py"
    script.write_text(
        'from alembic import op\nrevision = "next"\ndown_revision = "d92233541b7a"\n'
        "def upgrade():\n    op.execute('ALTER TABLE made ALTER a SET NOT NULL')\n"
        "def downgrade():\n    op.execute('ALTER TABLE made ALTER a DROP NOT NULL')\n"
    )
    run_sql(database, "CREATE TABLE made (id int PRIMARY KEY, a int); INSERT INTO made VALUES (3)")
    said = three_lines(trial.invoke("upgrade", "--env", "trial"))
    assert "cause: 1 row of public.made has no value in a: id = 3" in said
    assert "try:   invoke psql --env trial " in said
    dry = trial.invoke("upgrade", "--env", "trial", "--dry-run")
    assert dry.returncode == 2
    assert "look at   1 row of public.made has no value in a: id = 3" in dry.stdout
    skipped = trial.invoke("upgrade", "--env", "trial", "--skip-row-checks")
    assert "upgrade stopped at revision next" in skipped.stderr
    script.write_text(script.read_text().replace("op.execute('ALTER", "op.creat_index('ALTER"))
    broken = trial.invoke("upgrade", "--env", "trial", "--dry-run")
    assert broken.returncode == 1
    assert "AttributeError: module 'alembic.op' has no attribute 'creat_index'" in broken.stderr
    assert "(in migration/versions/next.py, line 5)" in broken.stderr


@pytest.mark.long
def test_protected_environment_without_a_terminal(trial: Checkout, database: Database) -> None:
    """Without a terminal a protected environment wants --yes, and the hint is the whole command."""
    trial.env_file("trial", POSTGRES_DSN=as_text(database.dsn), PROTECTED="1")
    said = three_lines(trial.invoke("upgrade", "--env", "trial"))
    assert run_sql(database, "SELECT to_regclass('users')") == [(None,)]
    assert "try:   invoke upgrade --env trial --yes" in said
    assert trial.invoke("upgrade", "--env", "trial", "--yes").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize(("typed", "code"), [("the name", 0), ("", 1), ("yes", 1), ("y", 1)])
def test_protected_environment_on_a_terminal(
    trial: Checkout, database: Database, typed: str, code: int
) -> None:
    """On a terminal the plan is shown and only the database's name, typed, lets it go on."""
    trial.env_file("trial", POSTGRES_DSN=as_text(database.dsn), PROTECTED="1")
    answer = database.dsn.database if typed == "the name" else typed
    shown, returned = on_a_terminal(trial, answer, "upgrade", "--env", "trial")
    assert "Init tables" in shown
    assert database.dsn.database in shown
    assert returned == code
    assert (run_sql(database, "SELECT to_regclass('users')") == [(None,)]) is (code == 1)


def on_a_terminal(checkout: Checkout, answer: str, *arguments: str) -> tuple[str, int]:
    """Run a command on a pseudo-terminal, answer its question, and return what was shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=checkout.root,
        env=checkout.environ | {"TERM": "dumb"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    answered = False
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        shown += data
        if not answered and re.search(rb"(to go on: |\[y/N\] )", shown):
            os.write(master, answer.encode() + b"\n")
            answered = True
    os.close(master)
    return shown.decode(), process.wait()


@pytest.mark.long
def test_downgrade_asks_on_a_terminal(trial: Checkout, database: Database) -> None:
    """A downgrade asks everywhere; the answer is no unless somebody types y."""
    trial.invoke("upgrade", "--env", "trial")
    shown, code = on_a_terminal(trial, "", "downgrade", "--env", "trial")
    assert "[y/N]" in shown
    assert code == 1
    shown, code = on_a_terminal(trial, "y", "downgrade", "--env", "trial")
    assert code == 0
    assert run_sql(
        database, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'entity_tag'"
    ) == [(0,)]


def test_debug_shows_the_traceback(checkout: Checkout) -> None:
    """DEBUG=1 shows where an expected failure comes from."""
    done = checkout.invoke("upgrade", "--env", "nowhere", DEBUG="1")
    assert "Traceback" in done.stderr


@pytest.mark.long
def test_json_is_one_object(trial: Checkout) -> None:
    """With --json stdout is one object, whatever else is said on stderr."""
    status = json.loads(trial.invoke("status", "--env", "trial", "--json").stdout)
    assert status["environments"][0]["environment"] == "trial"
    assert len(status["environments"][0]["pending"]) == 3
    assert json.loads(trial.invoke("check", "--json").stdout)["clean"] is True
    nothing = json.loads(trial.invoke("revision", "--msg", "x", "--json").stdout)
    assert (nothing["path"], nothing["proved"]) == (None, True)


@pytest.mark.long
def test_check_of_a_target(trial: Checkout, database: Database) -> None:
    """`check` is silent where all is well, also with a target; drift is exit code 2, in JSON, too."""
    trial.invoke("upgrade", "--env", "trial")
    fine = trial.invoke("check", "--env", "trial")
    assert (fine.returncode, fine.stdout) == (0, "")
    shown, code = on_a_terminal(trial, "", "check", "--env", "trial")
    assert code == 0
    assert "the database is what revision d92233541b7a says" in shown
    run_sql(database, "DROP INDEX tokens_user_id_idx")
    drifted = trial.invoke("check", ENV="trial")
    assert drifted.returncode == 2
    assert drifted.stdout.startswith("trial  postgres@")
    assert "  repair:     CREATE INDEX tokens_user_id_idx ON" in drifted.stdout
    assert "\x1b" not in drifted.stdout
    (found,) = json.loads(trial.invoke("check", "--env", "trial", "--json").stdout)["target"][
        "drift"
    ]
    assert (found["kind"], found["name"], found["target"]) == ("INDEX", "tokens_user_id_idx", None)
    assert trial.invoke("check").returncode == 0  # no environment is named: no target is asked


@pytest.mark.long
def test_adoption_with_models(trial: Checkout, database: Database) -> None:
    """With --with-models the next revision is written at once; without a history that is the database's, 2."""
    trial.invoke("upgrade", "--env", "trial", "--target", "df765afa2ffa")
    run_sql(database, "DROP TABLE alembic_version")
    trial.invoke("init", "--fresh", "--yes")
    done = trial.invoke("baseline-existing", "--env", "trial", "--with-models")
    assert done.returncode == 0, done.stderr
    assert "detected  add column file_meta_data.entity_tag (TEXT)" in done.stdout
    assert done.stdout.count("wrote     ") == 3
    assert done.stdout.count("next: ") == 1
    assert trial.invoke("upgrade", "--env", "trial").returncode == 0
    assert trial.invoke("check", "--env", "trial").returncode == 0
    run_sql(database, "DROP TABLE alembic_version; ALTER TABLE users ADD odd int")
    lost = trial.invoke("baseline-existing", "--env", "trial", "--with-models")
    assert lost.returncode == 2
    assert "look at   TABLE users differs" in lost.stdout


def test_check_exits_with_2_on_a_difference(checkout: Checkout) -> None:
    """A model without its script is exit code 2 and the next command."""
    path = checkout.root / "postgres_database" / "models" / "storage.py"
    path.write_text(path.read_text() + "    more: Mapped[str | None]\n")
    done = checkout.invoke("check")
    assert done.returncode == 2
    assert "detected  add column file_meta_data.more (TEXT)" in done.stdout
    assert "next: invoke revision" in done.stdout


@pytest.mark.long
def test_message_arrives_intact(checkout: Checkout) -> None:
    """A message arrives as it was typed."""
    message = 'it\'s `id` $(id) 100% "größer" --yes'
    done = checkout.invoke("revision", "--empty", f"--msg={message}")
    assert done.returncode == 0, done.stderr
    assert message in checkout.invoke("history").stdout


@pytest.mark.long
@pytest.mark.parametrize("verb", ["history", "heads", "branches", "show", "current"])
def test_commands_as_in_alembic(trial: Checkout, verb: str) -> None:
    """What Alembic shows can be seen here under the same name."""
    done = trial.invoke(verb, *(["--env", "trial"] if verb == "current" else []))
    assert done.returncode == 0, done.stderr
    shown = {"branches": "", "current": "base: no revision is applied"}.get(verb, "d92233541b7a")
    assert shown in done.stdout


NEEDS_NO_ENVIRONMENT = {
    "history": ("history",),
    "heads": ("heads",),
    "branches": ("branches",),
    "show": ("show",),
    "init": ("init",),
    "an empty revision": ("revision", "--empty", "--msg=Empty"),
}


@pytest.mark.long
@pytest.mark.parametrize("arguments", NEEDS_NO_ENVIRONMENT.values(), ids=NEEDS_NO_ENVIRONMENT)
def test_what_needs_no_environment_reads_none(
    checkout: Checkout, arguments: tuple[str, ...]
) -> None:
    """A command that works on no database never fails for settings that say where one is."""
    checkout.env_file("", POSTGRES_DSN="http://nonsense", LOCK_TIMEOUT="soon")
    done = checkout.invoke(*arguments, ENV="")
    assert done.returncode == 0, done.stderr
    assert checkout.invoke("current", ENV="").returncode == 1


@pytest.mark.long
def test_merge_joins_two_heads(trial: Checkout, database: Database) -> None:
    """Two branches are told with the merge command, which makes one head of them."""
    versions = trial.root / "migration" / "versions"
    for name in ("left", "right"):
        (versions / f"{name}.py").write_text(
            f'"""{name}"""\nrevision = "{name}"\ndown_revision = "d92233541b7a"\n'
            "def upgrade():\n    pass\ndef downgrade():\n    pass\n"
        )
    said = three_lines(trial.invoke("upgrade", "--env", "trial"))
    hinted = HINTED.search(said)
    assert hinted
    merged = trial.run("sh", "-c", hinted[1].replace("invoke", f"{sys.executable} -m invoke"))
    assert merged.returncode == 0, merged.stderr
    assert trial.invoke("upgrade", "--env", "trial").returncode == 0
    nothing = three_lines(trial.invoke("merge"))
    assert "nothing to merge" in nothing
    assert run_sql(database, "SELECT count(*) FROM alembic_version") == [(1,)]


def test_edit_opens_the_script(checkout: Checkout) -> None:
    """The editor gets the script's path."""
    done = checkout.invoke("edit", "--target", "d922", EDITOR="echo edited")
    assert done.returncode == 0, done.stderr


def test_psql_runs_on_the_target(trial: Checkout, database: Database) -> None:
    """psql --command prints what the target answers, and its failure is the exit code."""
    done = trial.invoke("psql", "--env", "trial", "--command", "SELECT current_database()")
    assert database.dsn.database in done.stdout
    assert trial.invoke("psql", "--env", "trial", "--command", "SELECT nonsense").returncode != 0


def test_plain_alembic_works(trial: Checkout, database: Database) -> None:
    """`alembic` at the root finds the same target by the same env files."""
    run_sql(database, log.CREATE.format("alembic_version_log"))  # as our commands make it
    for arguments, shown in (
        (["upgrade", "head"], ""),
        (["current"], "d92233541b7a (head)"),
        (["check"], "No new upgrade operations detected"),
        (["revision", "--autogenerate", "-m", "by hand"], "by_hand.py"),
    ):
        done = trial.run(sys.executable, "-m", "alembic", *arguments, ENV="trial")
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
    assert run_sql(database, "SELECT to_regclass('users') IS NOT NULL") == [(True,)]


def test_plain_alembic_without_a_traceback(checkout: Checkout) -> None:
    """A missing env file is an error of a few lines in plain `alembic`, too."""
    done = checkout.run(sys.executable, "-m", "alembic", "current", ENV="nowhere")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert "has no file .env.nowhere" in done.stdout + done.stderr


def broken(checkout: Checkout, database: Database, port: int, case: str) -> None:
    """Break one thing."""
    over_tcp = {
        "host": "127.0.0.1",
        "port": str(port),
        "user": "app",
        "password": PASSWORD,
        "dbname": "postgres",
    }
    dsn = {
        "wrong password": {**over_tcp, "password": "S3cret-but-wrong"},
        "unknown database": dict(database.dsn.with_parts(dbname="not yet there").parts),
        "closed port": {**over_tcp, "port": "1"},
        "unknown host": {**over_tcp, "host": "no.such.host.invalid"},
    }.get(case, dict(database.dsn.parts))
    text = as_text(Dsn(dsn))
    if case == "bad DSN":
        text = f"postgresql://app:{PASSWORD}@127.0.0.1/x"
    if case != "missing env file":
        checkout.env_file("trial", POSTGRES_DSN=text)
    script = checkout.root / "migration" / "versions" / "broken.py"
    if case == "syntax error":
        script.write_text('revision = "broken"\ndown_revision = "d92233541b7a"\ndef upgrade(:\n')


MISTAKES = {
    "missing env file": "has no file .env.trial",
    "wrong password": "password authentication failed",
    "unknown database": "does not exist",
    "closed port": "Connection refused",
    "unknown host": "no.such.host.invalid",
    "bad DSN": "percent-encode",
    "unknown revision": "there is no revision 'zzz'",
    "syntax error": "migration/versions/broken.py, line 3",
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(checkout: Checkout, database: Database, port: int, case: str) -> None:
    """Each mistake is three lines without a secret; nothing is left in database or repository."""
    broken(checkout, database, port, case)
    versions = sorted((checkout.root / "migration" / "versions").glob("*.py"))
    target = ["--target", "zzz"] if case == "unknown revision" else []
    said = three_lines(checkout.invoke("upgrade", "--env", "trial", *target))
    assert MISTAKES[case] in said
    assert PASSWORD not in said
    assert "S3cret" not in said
    hinted = HINTED.search(said)
    assert hinted
    assert hinted[1].startswith(("invoke ", "cp ", "${EDITOR:-vi} "))
    assert sorted((checkout.root / "migration" / "versions").glob("*.py")) == versions
    assert run_sql(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.long
def test_hint_for_an_unknown_database_creates_it(trial: Checkout, database: Database) -> None:
    """The command that is advised for a database that does not exist creates it."""
    name = f"{database.dsn.database} new's"
    trial.env_file("trial", POSTGRES_DSN=as_text(database.dsn.with_parts(dbname=name)))
    hinted = HINTED.search(three_lines(trial.invoke("upgrade", "--env", "trial")))
    assert hinted
    try:
        done = trial.run("sh", "-c", hinted[1].replace("invoke", f"{sys.executable} -m invoke", 1))
        assert done.returncode == 0, done.stderr
        assert trial.invoke("upgrade", "--env", "trial").returncode == 0
    finally:
        maintenance = Database(database.dsn.with_parts(dbname="postgres"), "test")
        with maintenance.connect(autocommit=True) as connection:
            connection.exec_driver_sql(f'DROP DATABASE "{name}"')


def test_port_where_something_else_answers(checkout: Checkout) -> None:
    """A port that belongs to another program is told as that."""

    def answer(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.recv(100)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        checkout.env_file("trial", POSTGRES_DSN=f"host=127.0.0.1 port={port} user=x dbname=x")
        said = three_lines(checkout.invoke("current", "--env", "trial"))
    assert "what answers there is not PostgreSQL" in said


@pytest.mark.long
def test_standby_is_refused(newcomer: Checkout) -> None:
    """On a hot standby what would write is refused before its first statement."""
    primary, standby = (EmbeddedServer(newcomer.root / name, durable=False) for name in ("p", "s"))
    dsn = primary.ensure_running()
    hba = "local all all peer map=owner\nlocal replication all trust\n"
    (primary.data / "pg_hba.conf").write_text(hba)
    run_sql(Database(dsn, "primary"), "SELECT pg_reload_conf()")
    standby._make_private(standby.home)
    replication = as_text(dsn.with_parts(dbname="replication"))
    backup = ["--write-recovery-conf", "--checkpoint=fast", f"--dbname={replication}"]
    try:
        standby._run("pg_basebackup", f"--pgdata={standby.data}", *backup)
        newcomer.env_file("trial", POSTGRES_DSN=as_text(standby.ensure_running()))
        for command in ("upgrade", "stamp", "baseline-existing"):
            said = three_lines(newcomer.invoke(command, "--env", "trial"))
            assert "it is a standby" in said
            assert "primary" in said
        assert newcomer.invoke("current", "--env", "trial").returncode == 0
    finally:
        standby.stop()
        primary.stop()


SLOW = (
    '"""Slow"""\nfrom alembic import op\nrevision = "slow"\ndown_revision = "d92233541b7a"\n'
    "def upgrade():\n"
)
SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{}' AND wait_event = 'PgSleep'"
    " AND datname = current_database()"
)


@pytest.mark.long
def test_two_upgrades_at_once(trial: Checkout, database: Database) -> None:
    """Of two commands one waits for the other and finds nothing left to do."""
    (trial.root / "migration" / "versions" / "slow.py").write_text(
        f"{SLOW}    with op.get_context().autocommit_block():\n"
        "        op.execute('CREATE TABLE IF NOT EXISTS once (x int); INSERT INTO once VALUES (1)')\n"
        "        op.execute('DO $$ BEGIN WHILE NOT pg_try_advisory_lock(4711) LOOP'\n"
        "                   ' PERFORM pg_sleep(0.05); END LOOP; END $$')\n"
    )

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "invoke", "upgrade", "--env", "trial"]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=trial.root, env=trial.environ, stdout=pipe, stderr=pipe, text=True
        )

    with database.connect(autocommit=True) as keeping:
        keeping.exec_driver_sql("SELECT pg_advisory_lock(4711)")
        first = begin()
        while run_sql(database, SLEEPING.format("DO %")) == [(0,)]:
            assert first.poll() is None
        second = begin()
        assert second.stderr
        assert any("waiting for another command: pid" in line for line in second.stderr)
    said = [process.communicate() for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], said
    assert ["already at head: slow" in out for out, _ in said] == [False, True]
    assert run_sql(database, "SELECT count(*) FROM once") == [(1,)]


@pytest.mark.long
def test_ctrl_c_ends_the_statement(trial: Checkout, database: Database) -> None:
    """Ctrl-C ends the statement that runs; its revision is rolled back, the exit code is 130."""
    (trial.root / "migration" / "versions" / "slow.py").write_text(
        f"{SLOW}    op.execute('CREATE TABLE t (x int)')\n    op.execute('SELECT pg_sleep(100)')\n"
    )
    command = [sys.executable, "-m", "invoke", "upgrade", "--env", "trial"]
    process = subprocess.Popen(
        command,
        cwd=trial.root,
        env=trial.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    while run_sql(database, SLEEPING.format("SELECT pg_sleep%")) == [(0,)]:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    found = run_sql(database, "SELECT to_regclass('t'), version_num FROM alembic_version")
    assert found == [(None, "d92233541b7a")]


@pytest.mark.long
def test_data_directory_without_permission(newcomer: Checkout) -> None:
    """A data directory that cannot be used is told with what to look at."""
    (newcomer.root / ".postgres").write_text("in the way\n")
    said = three_lines(newcomer.invoke("upgrade"))
    assert "the directory of the embedded PostgreSQL cannot be used" in said


@pytest.mark.long
def test_failed_revision_leaves_nothing(checkout: Checkout) -> None:
    """A revision that fails leaves no file behind."""
    before = sorted(path.name for path in (checkout.root / "migration" / "versions").iterdir())
    (checkout.root / "postgres_database" / "models" / "users.py").write_text("import nonsense\n")
    said = three_lines(checkout.invoke("revision", "--msg", "x"))
    assert "nonsense" in said
    after = sorted(path.name for path in (checkout.root / "migration" / "versions").iterdir())
    assert [name for name in after if name != "__pycache__"] == [
        name for name in before if name != "__pycache__"
    ]


@pytest.mark.long
def test_renames_are_typed_one_by_one(checkout: Checkout) -> None:
    """--rename takes a word each time; what cannot be renamed is an error that names it."""
    flags = ("--rename", "users.nothing:more", "--rename", "a:b")
    done = checkout.invoke("revision", "--msg", "x", *flags)
    assert done.returncode == 1
    assert "there is nothing to rename as users.nothing:more, a:b" in done.stderr
