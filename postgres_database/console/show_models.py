"""What `models` wrote → lines for people; they go to stderr where the models themselves are printed."""

from pathlib import Path

from postgres_database.commands.advice import as_typed
from postgres_database.console.terminal import ERR, OUT, raw
from postgres_database.workflows.written_models import ModelsResult

SHOWN = 20


def written(result: ModelsResult, root: Path) -> None:
    """Show where the models are, what they make otherwise, what stays with the history, and what is next."""
    out = OUT if result.path else ERR
    if result.path:
        out.print(f"wrote     {result.path.relative_to(root.resolve())}")
    else:
        raw(result.text)
    for note in result.notes:
        out.print(f"look at   {note}", style="yellow")
    for each in result.unlike[:SHOWN]:
        out.print(f"differs   {each.key}", style="yellow")
        for side, text in (("database", each.left), ("models", each.right)):
            out.print(f"  {side}: {' '.join(text.split()) or 'has none'}", style="dim")
    if more := result.unlike[SHOWN:]:
        out.print(f"differs   and {len(more)} objects more", style="yellow")
    if not result.unlike:
        same = f"the same tables: {result.tables}"
        out.print(f"proved    a scratch database made by these models has {same}", style="green")
    if result.statements:
        words = f"{result.statements} statements run after a table is made: SQLAlchemy has no words for them"
        out.print(f"as SQL    {words}", style="dim")
    if result.kept:
        listed = ", ".join(f"{count} {kind}" for kind, count in result.kept)
        out.print(f"kept      by the history, because models are tables: {listed}", style="dim")
    if result.path:
        module = ".".join(result.path.relative_to(root.resolve()).with_suffix("").parts)
        out.print(
            as_typed(f"next: target_metadata = {module}:metadata in alembic.ini, then invoke check")
        )
