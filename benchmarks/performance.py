"""All measurements beside plain Alembic and other tools, as a table, as JSON, and in docs/performance.md.

`make bench`, or `python -m benchmarks.performance`; with `--write` the page, its picture, and docs/performance.json are
written anew. Exit code 1 if a bound is missed. `--only upgrade` measures only that.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks import curves, histories, peers, revision, start, upgrade
from benchmarks.histories import ROOT, Servers
from benchmarks.pairs import HEADER, PLAIN

STORED = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
BENCHES = {"start": start.compare, "upgrade": upgrade.compare, "revision": revision.compare}
ROUNDS, LEAST = 9, 2
FIGURES = (("seconds", 3), ("cpu", 2), ("memory", 0))
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
OURS_HEAD = """\
| work | beside | ratio | middle half | bound | seconds | CPU s | MiB |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def machine(servers: Servers) -> dict[str, object]:
    """Return what the figures depend on."""
    parts: dict[str, Any] = servers.target.dsn.parameters()
    with closing(psycopg2.connect(**parts)) as connection:
        server = connection.info.parameter_status("server_version")
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "PostgreSQL": server,
        "Python": platform.python_version(),
        "Alembic": metadata.version("alembic"),
    }


def texts(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the page that are made of results."""
    at = results["machine"]
    load = f", with a load of {at['load']} when the run began"
    if at["load"] > at["cores"]:
        load += " (other work: the seconds are too long, and the ratios uncertain)"
    yield (
        f"Medians of {results['rounds']} rounds on {at['cores']} cores{load}; PostgreSQL {at['PostgreSQL']},"
        f" Python {at['Python']}, Alembic {at['Alembic']}. Two figures are ours / the other's.\n"
    )
    rows = results["rows"]
    yield OURS_HEAD
    yield from (_row(row) for row in rows if row["tool"] == "ours" or row["other"] != PLAIN)
    tools = dict.fromkeys(row["tool"] for row in rows if row["other"] == PLAIN)
    yield "\nAll tools, as ratios to plain Alembic:\n"
    yield f"| work | {' | '.join(tools)} | {PLAIN} |"
    yield f"| --- |{' ---: |' * (len(tools) + 1)}"
    for work in upgrade.works():
        cells = curves.by_tool(rows, work)
        ratios = (f"{cells[tool]['ratio']:.2f}" if tool in cells else "" for tool in tools)
        yield f"| {work} | {' | '.join(ratios)} | 1.00 ({next(iter(cells.values()))['other_seconds']:.2f} s) |"
    if results["missing"]:
        yield f"\n{results['missing']}"


def _row(row: Mapping[str, Any]) -> str:
    tool = "" if row["tool"] == "ours" else f": {row['tool']}"
    bound = "" if row["bound"] is None else f"{row['bound']:.2f}"
    pairs = (
        f"{row[name]:.{digits}f} / {row[f'other_{name}']:.{digits}f}" for name, digits in FIGURES
    )
    middle = f"{row['low']:.2f}…{row['high']:.2f}"
    cells = row["work"] + tool, row["other"], f"{row['ratio']:.2f}", middle, bound, *pairs
    return f"| {' | '.join(cells)} |"


def page(results: Mapping[str, Any]) -> str:
    """Return the page with these results in it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return "".join([before, BEGIN, *(f"{line}\n" for line in texts(results)), END, after])


def main(arguments: Sequence[str] = ()) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--only", choices=BENCHES, help="measure only this")
    some.add_argument("--write", action="store_true", help="write docs/performance.*")
    options = parser.parse_args(arguments)
    if options.rounds < LEAST:
        parser.error(f"--rounds {options.rounds} is too few for a spread: at least {LEAST}")
    rows, good = [], True
    with tempfile.TemporaryDirectory() as name, histories.servers(Path(name)) as servers:
        results: dict[str, Any] = {"machine": machine(servers), "rounds": options.rounds}
        print(HEADER)
        for bench in [options.only] if options.only else BENCHES:
            for pairs in BENCHES[bench](Path(name), servers, options.rounds):
                print(pairs, flush=True)
                good = good and pairs.good
                rows.append(pairs.facts())
    results |= {"rows": rows, "missing": peers.missing()}
    if results["missing"]:
        print(results["missing"])
    text = json.dumps(results, indent=1) + "\n"
    if options.json:
        options.json.write_text(text)
    if options.write:
        STORED.write_text(text)
        PAGE.write_text(page(results))
        PICTURE.write_text(curves.drawn(rows))
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
