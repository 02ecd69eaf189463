"""Write a script of the history."""

from collections.abc import Iterable, Sequence

from alembic.script import Script
from alembic.util import rev_id

from postgres_database import broken_scripts, history
from postgres_database.errors import ExpectedError
from postgres_database.settings import Settings

ATTRIBUTES = {
    "roles": "Grants and policies name these; scratch servers create them without login.",
    "tablespaces": "Tables and indexes are in these; scratch servers create them.",
    "objects": "From the models, besides tables; what they no longer have is dropped.",
}


def write(  # noqa: PLR0913 - each is a place in the template
    settings: Settings,
    message: str,
    head: str,
    *,
    revision: str = "",
    upgrade: str = "",
    downgrade: str = "",
    imports: Iterable[str] = (),
    **attributes: Sequence[str],
) -> Script:
    """Write a script from the template `migration/script.py.mako`.

    Args:
        settings: Where.
        message: What the script is for.
        head: What it follows.
        revision: Its id; a new one if there is none.
        upgrade: The body of `upgrade()`, indented; `pass` if empty.
        downgrade: The same of `downgrade()`.
        imports: Statements that the bodies need.
        attributes: `roles`, `tablespaces` and `objects`, as `history.Revision` explains them.
    """
    blocks = list(imports)
    for name, values in attributes.items():
        if values:
            lines = "".join(f"    {value!r},\n" for value in values)
            blocks.append(f"\n# {ATTRIBUTES[name]}\n{name} = (\n{lines})")
    with broken_scripts.told(settings):
        script = history.script_directory(settings).generate_revision(
            revision or rev_id(),
            message,
            head=head,
            upgrades=upgrade,
            downgrades=downgrade,
            imports="\n".join(blocks),
        )
        history.forget()
    if script is None:
        raise ExpectedError("Alembic wrote no script", hint="invoke history")
    return script
