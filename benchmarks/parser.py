"""How many statements of a large corpus the parser reads: all. `make bench`.

The corpus is what the cases of the tests run by themselves, the schemas of adoption, and what pg_dump prints of them.
Exit code 1 if a statement is not read.
"""

import ast
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.adoption import FEATURES, SCHEMAS, dump, empty, features, generated
from postgres_database.server.embedded import EmbeddedServer
from postgres_database.sql.syntax import UnreadableError, read, statements

CASES = FEATURES.parent / "cases"
NEWEST = 18
SHOWN = 70  # characters of a statement
META = re.compile(r"^\\(?:un)?restrict x\n", re.MULTILINE)
"""What pg_dump prints for psql alone."""


def of_cases() -> Iterator[str]:
    """Yield the SQL of cases: what their models run beside DDL of SQLAlchemy, their rows, and scripts by hand."""
    for path in sorted(CASES.glob("*/*.toml")):
        case = tomllib.loads(path.read_text())
        yield from (case.get(part, "") for part in ("rows", "by_hand"))
        for part in ("before", "after"):
            for node in ast.walk(ast.parse(case.get(part, ""))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {"made", "made_early"}:
                    texts = (each.value for each in node.args if isinstance(each, ast.Constant))
                    yield from map(str, texts)


def of_dumps() -> Iterator[str]:
    """Yield what pg_dump prints of the schemas of adoption."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.chmod(0o755)  # as root the server runs under another account
        server = EmbeddedServer(home / "server", durable=False)
        stack.callback(server.stop)
        for schema in SCHEMAS:
            if schema.texts:
                database = empty(server.ensure_running(), schema.name)
                schema.make(database)
                yield META.sub("", dump(database))


def main() -> int:
    """Read all, and say what is not read."""
    corpora = {
        "cases": [*of_cases()],
        "schemas": [*features(NEWEST), *generated(NEWEST)],
        "dumps": [*of_dumps()],
    }
    missed = 0
    for name, texts in corpora.items():
        start = time.perf_counter()
        found = [statement for text in texts for statement in statements(text)]
        unread = [each for each in found if not _is_read(each)]
        seconds = time.perf_counter() - start
        print(
            f"{name}: {len(found) - len(unread):,} of {len(found):,} statements read in {seconds:.1f} s"
        )
        for each in unread:
            print(f"  {each[:SHOWN]}")
        missed += len(unread)
    return int(missed > 0)


def _is_read(statement: str) -> bool:
    try:
        read(statement)
    except UnreadableError as error:
        print(f"  {error}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
