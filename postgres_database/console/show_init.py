"""What `init` did to a project → lines for people."""

from postgres_database.console.terminal import advise, say
from postgres_database.workflows.init import InitResult


def show(result: InitResult) -> None:
    """Show what `init` did."""
    if result.removed:
        several = "s" * (len(result.removed) > 1)
        say(f"removed  {len(result.removed)} script{several}")
    for word, paths in {"created": result.created, "changed": result.changed}.items():
        for path in paths:
            say(f"{word}  {path}")
    for option in result.options:
        where = f"{option.name}  ({result.env}, line {option.line})"
        note = f": {option.note}" if option.note else ""
        if option.honoured:
            say(f"honoured {where}{note}")
        else:
            say(f"look at  {where}{note}", style="yellow")
    for path in result.left:
        say(f"left     {path}   (see the difference above)", style="yellow")
    for line in result.by_hand:
        advise(f"by hand  {line}", style="yellow")
    if result.left:
        advise("next: invoke init --yes   (writes the differences that are shown above)")
        return
    if not (result.created or result.removed or result.changed):
        say("everything is already set up")
    advise(
        'next: invoke revision --msg "…", or invoke baseline-existing --env … for a database that is online'
    )
