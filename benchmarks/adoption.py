"""The table in docs/baseline.md: `python -m benchmarks.adoption` adopts real schemas and writes it.

With names (`python -m benchmarks.adoption mlflow features`) it adopts these, and leaves the other rows.
Systems are installed under CACHE and kept. With TEST_POSTGRES_BIN, features and the generated schema are
adopted from the server of that PostgreSQL as well. Exit code 1 if one is not adopted exactly.
"""

import difflib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn

from postgres_database.server.dsn import Dsn
from postgres_database.server.embedded import CHEAP, CONFIGURATION, SUPERUSER, EmbeddedServer
from postgres_database.server.programs import BINARIES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "baseline.md"
FEATURES = ROOT / "tests" / "engine" / "helpers" / "features"
CACHE = Path("~/.cache/postgres-database/adoption").expanduser()
OTHER_PROGRAMS = os.environ.get("TEST_POSTGRES_BIN", "")
ROUNDS = 3
URLS = {"URL": "psycopg2", "ASYNC_URL": "asyncpg"}
DRIVERS = ("psycopg2-binary", "asyncpg")
SHOWN = 10  # lines of a difference or a failure

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
HEAD = """\
| schema | server | objects | exact | seconds | times pg_dump + psql | models: right tables |
| --- | ---: | ---: | --- | ---: | ---: | --- |"""

# The schema alone, without owners
DUMP = ("-sO", "--no-subscriptions", "--restrict-key=x", "--exclude-table=*.alembic_version*")
SETTINGS = re.compile(r"^(?:SET |SELECT pg_catalog\.set_config).*\n", re.MULTILINE)
SECTION = re.compile(r"^(?=--\n-- Name: )", re.MULTILINE)
# Their options may be secret: a script has others on purpose.
MASKED = re.compile(
    r"--\n-- Name: .*; Type: (?:USER MAPPING|SERVER|FOREIGN DATA WRAPPER|FOREIGN TABLE); "
)
MODELS = re.compile(r"^proved .* the same tables: ([\d,]+)", re.MULTILINE)
DIFFERS = re.compile(r"^differs ", re.MULTILINE)
PROVED = re.compile(r"^proved .* the same ([\d,]+) objects", re.MULTILINE)

DROP_VERSIONS = """DO $$ DECLARE name regclass; BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname ~ '^alembic_version'
    LOOP EXECUTE 'DROP TABLE ' || name; END LOOP;
END $$"""


class FailedError(Exception):
    """A program failed; its text is what the program said."""


@dataclass(frozen=True)
class Schema:
    """What is adopted, and how an empty database comes to have it.

    It is made by a command for a shell that finds the package of this name and version (`words`),
    and the URL of the database; or from texts of SQL for a major version, then on every server.
    """

    name: str
    words: str
    command: str = ""
    packages: tuple[str, ...] = ()
    texts: Callable[[int], Iterable[str]] | None = None

    def make(self, dsn: Dsn) -> None:
        """Make it in an empty database."""
        if self.texts:
            for text in self.texts(major(dsn)):
                execute(dsn, text)
            return
        where = "://{user}@/{dbname}?host={host}&port={port}".format(**dsn.parts)
        environ = {name: f"postgresql+{driver}{where}" for name, driver in URLS.items()}
        environ["PATH"] = f"{self.programs()}:{os.environ['PATH']}"
        with tempfile.TemporaryDirectory() as home:
            run("sh", "-c", self.command, environ=environ | {"HOME": home}, cwd=Path(home))

    def programs(self) -> Path:
        """Return where the programs of the packages are; install them if they are not there yet."""
        folder = CACHE / f"{self.name}-{self.words}"
        complete = folder / "packages.txt"
        packages = [f"{self.name}=={self.words}", *DRIVERS, *self.packages]
        if not (complete.exists() and complete.read_text() == "\n".join(packages)):
            print(f"installing {self.name} {self.words} …", flush=True)
            venv.create(folder, clear=True, with_pip=True)
            pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
            run(*pip, *packages, environ=os.environ)
            complete.write_text("\n".join(packages))
        return folder / "bin"


class OtherServer(EmbeddedServer):
    """A server of another PostgreSQL, whose initdb may be too old for what the embedded one's gets."""

    binaries = Path(OTHER_PROGRAMS)

    def _initialise(self) -> None:
        options = "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        self._run("initdb", "--pgdata=data", f"--username={SUPERUSER}", *options)
        with (self.data / "postgresql.conf").open("a") as file:
            for name, value in (CONFIGURATION | CHEAP).items():
                file.write(f"{name} = '{value}'\n")


def run(
    *command: str | Path, environ: Mapping[str, str], cwd: Path | None = None, text: str = ""
) -> str:
    """Run a program and return what it prints."""
    done = subprocess.run(
        command, cwd=cwd, env=environ, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FailedError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def execute(dsn: Dsn, text: str) -> None:
    """Run a text as one string, which is one transaction."""
    with closing(psycopg2.connect(make_dsn(**dsn.parts))) as connection:
        connection.autocommit = True
        connection.cursor().execute(text)


def major(dsn: Dsn) -> int:
    """Return the major version of a server."""
    with closing(psycopg2.connect(make_dsn(**dsn.parts))) as connection:
        return int(connection.server_version) // 10000


def empty(server: Dsn, name: str) -> Dsn:
    """Return an empty database of this name."""
    execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(server, f"CREATE DATABASE {name} TEMPLATE template0")
    return server.with_parts(dbname=name)


def dump(dsn: Dsn) -> str:
    """Return what pg_dump prints of a schema."""
    return run(BINARIES / "pg_dump", *DUMP, environ=dsn.child_environment())


def restore(dsn: Dsn, text: str, *options: str) -> None:
    """Have psql run a dump."""
    psql = BINARIES / "psql"
    run(psql, "--quiet", "--no-psqlrc", *options, environ=dsn.child_environment(), text=text)


def features(version: int) -> Iterator[str]:
    """Read the files of features that a server has."""
    since = [f"since_{number}" for number in range(16, version + 1)]
    for name in ("common", *since, "rows"):
        yield (FEATURES / f"{name}.sql").read_text()


def generated(_: int) -> Iterator[str]:
    """Generate a schema of 1,000 tables: 750, and 50 with 4 partitions each."""
    role = "CREATE ROLE generated_reader"
    yield f"DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
    for area in range(10):
        yield f"CREATE SCHEMA area{area}; GRANT USAGE ON SCHEMA area{area} TO generated_reader;"
    tables = [f"area{number % 10}.table{number}" for number in range(800)]
    for number, table in enumerate(tables):
        identity, key, storage, years = " GENERATED BY DEFAULT AS IDENTITY", "id", "", range(0)
        if table in tables[750:]:
            identity, key, storage = "", "id, created_at", "PARTITION BY RANGE (created_at)"
            years = range(2020, 2024)
        yield f"""CREATE TABLE {table} (
            id bigint NOT NULL{identity},
            parent_id bigint REFERENCES {tables[number // 2]} ON DELETE CASCADE,
            kind varchar(20) NOT NULL DEFAULT 'new' CHECK (kind IN ('new', 'open', 'done')),
            name text NOT NULL CHECK (length(name) < {100 + number}),
            amount numeric(12, 2) DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY ({key})) {storage};
            CREATE INDEX ON {table} (parent_id); CREATE INDEX ON {table} (lower(name), kind);
            CREATE INDEX ON {table} (created_at) WHERE kind IN ('new', 'open');
            CREATE UNIQUE INDEX ON {table} ((coalesce(amount, 0)), {key}) WHERE amount > 0;
            COMMENT ON TABLE {table} IS 'It''s table {number}';
            COMMENT ON COLUMN {table}.kind IS 'new, open; done';
            GRANT SELECT ON {table} TO generated_reader;"""
        for year in years:
            bounds = f"FROM ('{year}-01-01 00:00+00') TO ('{year + 1}-01-01 00:00+00')"
            yield f"CREATE TABLE {table}_{year} PARTITION OF {table} FOR VALUES {bounds};"
    for table in tables[:100]:
        yield f"""CREATE FUNCTION {table}_touch() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF new.kind = 'done' THEN new.amount := 0; END IF; RETURN new; END $$;
            CREATE TRIGGER touch BEFORE UPDATE ON {table} FOR EACH ROW
            WHEN (old.kind IS DISTINCT FROM new.kind) EXECUTE FUNCTION {table}_touch();"""
    for one, other in zip(tables[:30], tables[30:60], strict=True):
        yield f"""CREATE VIEW {one}_view AS
            SELECT a.id, a.kind, count(b.id) AS others, extract(year FROM a.created_at) AS year
            FROM {one} a LEFT JOIN {other} b ON b.parent_id = a.id
            WHERE a.kind IN ('new', 'open') GROUP BY a.id;
            GRANT SELECT ON {one}_view TO generated_reader;"""  # noqa: S608 - made of our names


SCHEMAS = (
    Schema("mlflow", "3.17.2", "mlflow db upgrade $URL"),
    Schema(
        "apache-airflow",
        "3.3.2",
        # Without the option a new database is made from the models.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=$URL airflow db migrate --use-migration-files",
    ),
    Schema(
        "prefect",
        "3.9.1",
        "PREFECT_API_DATABASE_CONNECTION_URL=$ASYNC_URL prefect server database upgrade -y",
    ),
    Schema(
        "dagster",
        "1.13.27",
        "python -c 'from dagster_postgres import storage as s; import os;"
        ' s.DagsterPostgresStorage(os.environ["URL"])\'',
        ("dagster-postgres==0.29.27",),
    ),
    Schema(
        "apache-superset",
        "6.1.0",
        "SUPERSET__SQLALCHEMY_DATABASE_URI=$URL SUPERSET_SECRET_KEY=$URL superset db upgrade",
        ("flask-caching<2.4", "rich"),  # it cannot use a newer one, and does not ask for rich
    ),
    Schema("features", "of PostgreSQL", texts=features),
    Schema("generated", "1,000 tables", texts=generated),
)


class Checkout:
    """A copy of this repository in which schemas are adopted."""

    def __init__(self, home: Path, scratch: Dsn) -> None:
        """Copy the files."""
        self.root = home / "checkout"
        self.scratch = scratch
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "200"}
        self.environ["SCRATCH_DSN"] = make_dsn(**scratch.parts)
        ignored = (
            ".git",
            ".venv",
            ".postgres",
            ".peers",
            ".env*",
            ".*_cache",
            ".hypothesis",
            "__pycache__",
        )
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(*ignored))

    def invoke(self, *arguments: str) -> str:
        """Run a command."""
        python = (sys.executable, "-m", "invoke")
        return run(*python, *arguments, environ=self.environ, cwd=self.root)

    def environment(self, name: str, dsn: Dsn) -> None:
        """Write the file of an environment."""
        path = self.root / f".env.{name}"
        path.write_text(f"POSTGRES_DSN={make_dsn(**dsn.parts)}\n")
        path.chmod(0o600)

    def adopt(self, schema: Schema, server: Dsn) -> list[str]:
        """Adopt a schema from a server; return how many objects, whether exactly, and how fast."""
        name = schema.name.replace("-", "_")
        online = empty(server, name)
        schema.make(online)
        self.environment("online", online)
        times, said = [], ""
        for _ in range(ROUNDS):
            execute(online, DROP_VERSIONS)
            self.invoke("init", "--fresh", "--yes")
            other = empty(server, "other")
            start = time.perf_counter()
            restore(other, dump(online))
            between = time.perf_counter()
            said = self.invoke("baseline-existing", "--env", "online", "--yes")
            times.append((between - start, time.perf_counter() - between))
        usual, seconds = (statistics.median(column) for column in zip(*times, strict=True))
        objects = PROVED.search(said)
        exact = self.exact(online, empty(server, f"{name}_new"))
        proved = objects[1] if objects else "?"
        return [proved, exact, f"{seconds:.1f}", f"{seconds / usual:.1f}", self.models()]

    def models(self) -> str:
        """Write the models of what was adopted; return in how many tables they are right."""
        try:
            said = self.invoke("models", "--env", "online", "--into", "models.py", "--yes")
        except FailedError as error:  # exit code 2: they make other tables
            said = str(error)
        if tables := MODELS.search(said):
            return f"all {tables[1]}"
        print("\n".join(said.splitlines()[:SHOWN]))
        return f"no: {len(DIFFERS.findall(said)) or 'none is written'}"

    def exact(self, online: Dsn, new: Dsn) -> str:
        """Compare a database that the script made with the one that was adopted."""
        self.environment("new", new)
        self.invoke("upgrade", "--env", "new", "--yes")
        dumps = dump(online), dump(new)
        left, right = map(sections, dumps)
        if left == right:
            return "yes"
        restored = []
        for text in dumps:
            copy = empty(self.scratch, "copy")
            restore(copy, text, "--set=ON_ERROR_STOP=1")
            restored.append(sections(dump(copy)))
        if restored[0] == restored[1]:
            return f"yes, {len({*left} - {*right})} re-spelled"
        before, after = ("".join(each).splitlines() for each in restored)
        lines = [*difflib.unified_diff(before, after, n=0)][2:]
        changed = [line for line in lines if not line.startswith("@@")]
        print("\n".join(changed[:SHOWN]))
        return f"no: {len(changed)} lines"


def sections(text: str) -> list[str]:
    """Return the objects of a dump, less what need not be equal."""
    parts = SECTION.split(text)
    return [SETTINGS.sub("", part) for part in parts if not MASKED.match(part)]


def key(row: Sequence[str]) -> tuple[int, int]:
    """Return what a row is sorted by and known by: the schema and the server."""
    names = [schema.name for schema in SCHEMAS]
    return names.index(row[0].split()[0]), -int(row[1])


def write(rows: Sequence[Sequence[str]], *, keep: bool) -> None:
    """Write the table into the page, with the other rows that it has if they are kept; or print it."""
    before, _, rest = (PAGE.read_text() if PAGE.exists() else "").partition(BEGIN)
    old, _, after = rest.partition(END)
    kept = [line.strip("| ").split(" | ") for line in old.strip().splitlines()[2:] if keep]
    table = {key(row): f"| {' | '.join(row)} |" for row in (*kept, *rows)}
    text = "\n".join([HEAD, *(table[each] for each in sorted(table))])
    if PAGE.exists():
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    else:
        print(text)


def adopt(schemas: Sequence[Schema]) -> list[list[str]]:
    """Adopt schemas, from one server after the other, and return their rows."""
    rows = []
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.chmod(0o755)  # as root the servers run under another account
        servers = [EmbeddedServer(home / name, durable=False) for name in ("scratch", "target")]
        if OTHER_PROGRAMS:
            servers.append(OtherServer(home / "other", durable=False))
        for server in servers:
            stack.callback(server.stop)
        scratch, *targets = [server.ensure_running() for server in servers]
        checkout = Checkout(home, scratch)
        for schema in schemas:
            for target in targets if schema.texts else targets[:1]:
                try:
                    facts = checkout.adopt(schema, target)
                except FileNotFoundError as error:
                    print(f"{schema.name}: left out, there is no {error.filename}")
                    continue
                except (FailedError, psycopg2.Error) as error:
                    print("\n".join(str(error).splitlines()[-SHOWN:]))
                    facts = ["?", "no: it failed", "?", "?"]
                row = [f"{schema.name} {schema.words}", str(major(target)), *facts]
                print(*row, sep="  ", flush=True)
                rows.append(row)
    return rows


def main(names: Sequence[str]) -> int:
    """Adopt all schemas, or these, and write the table."""
    if unknown := {*names} - {schema.name for schema in SCHEMAS}:
        raise SystemExit(f"no schema is called {', '.join(unknown)}")
    rows = adopt([schema for schema in SCHEMAS if not names or schema.name in names])
    write(rows, keep=bool(names))
    return 0 if all(row[3].startswith("yes") for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
