"""GRANT and REVOKE as pg_dump writes them: what grants the same, what takes it away, what leads to others. Pure."""

import re
from collections.abc import Sequence

from postgres_database.sql.tokens import split

GRANT = re.compile(r"(?P<before>.*?)(?P<verb>GRANT|REVOKE) (?P<what>.*) (?:TO|FROM) (?P<role>.*?)"
                   r"(?P<option> WITH GRANT OPTION)?(?P<after>; RESET SESSION AUTHORIZATION)?;?$",
                   re.DOTALL)  # fmt: skip


def creates(bodies: Sequence[str]) -> list[str]:
    """Return the single statements, what revokes first.

    Args:
        bodies: Texts of a dump, each of one or several lines.
    """
    return sorted(_single(bodies), key=_revokes, reverse=True)


def drops(bodies: Sequence[str]) -> list[str]:
    """Return the statements that undo all of them, what revokes first."""
    return sorted(map(_inverse, _single(bodies)), key=_revokes, reverse=True)


def changes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the statements from some grants to others: whole ones, REVOKE first, then those of single privileges."""
    before, after = _single(old), _single(new)
    removed = [statement for statement in before if statement not in after]
    added = [statement for statement in after if statement not in before]
    adjustments = []
    for gone in [*removed]:
        for come in [*added]:
            if (statements := _adjusted(gone, come)) is not None:
                removed.remove(gone)
                added.remove(come)
                adjustments += statements
                break
    whole = sorted([*map(_inverse, removed), *added], key=_revokes, reverse=True)
    return [*whole, *adjustments]


def _adjusted(old: str, new: str) -> list[str] | None:
    """Return what grants the missing privileges, then revokes the surplus; None if more than privileges differ."""
    here, goal = GRANT.match(old), GRANT.match(new)
    if not here or not goal or {here["verb"], goal["verb"]} != {"GRANT"}:
        return None
    (had, on), (has, same) = (each["what"].split(" ON ", 1) for each in (here, goal))
    names = [{name.strip() for name in split(listed, ",")} for listed in (had, has)]
    alike = all(here[part] == goal[part] for part in ("before", "role", "option"))
    if not alike or on != same or "ALL" in names[0] | names[1]:
        return None

    def grant(privileges: set[str]) -> str:
        option, after = goal["option"] or "", goal["after"] or ""
        what = ",".join(sorted(privileges))
        return f"{goal['before']}GRANT {what} ON {on} TO {goal['role']}{option}{after};"

    more, less = names[1] - names[0], names[0] - names[1]
    return [*([grant(more)] if more else []), *([_inverse(grant(less))] if less else [])]


def _single(bodies: Sequence[str]) -> list[str]:
    return [
        line if line.endswith(";") else f"{line};" for body in bodies for line in body.split("\n")
    ]


def _revokes(statement: str) -> bool:
    match = GRANT.match(statement)
    return bool(match and match["verb"] == "REVOKE")


def _inverse(statement: str) -> str:
    """Return the REVOKE of a GRANT, and the GRANT of a REVOKE."""
    match = GRANT.match(statement)
    if match is None:
        return statement
    if match["verb"] == "GRANT":
        inverse = f"REVOKE {match['what']} FROM {match['role']}"
    else:
        inverse = f"GRANT {match['what']} TO {match['role']}"
    return f"{match['before']}{inverse}{match['after'] or ''};"
