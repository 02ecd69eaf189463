"""From a difference to the operations of a script: renames, ALTER, the rest of the schema, and stages.

Gives `draft` and `stages` to the workflow `revision`.

    likeness      how alike two names, types and shapes are; pure
    renames       names that change: in which order, by which statement, and what follows them; pure
    matching      dropped + added → likely renames, decided by flags, hints and questions; pure
    objects       from the text of whole objects to what makes, changes and drops them; pure
    trial         changes that are tried on a scratch database; what works is remembered
    type_changes  what is to be changed of types: values that are added, types that are replaced
    sequences     sequences that stay while what owns them goes, and those that count on from others; pure
    inheritance   columns that move between a parent and its children; pure
    changes       what is to be changed between two sides, in which ways
    autogenerate  Alembic's side of the comparison: its operations, and its words for what differs
    draft         the operations of a script: Alembic's, and what they leave to do
    swaps        keys and indexes that become others: built first, then swapped; pure
    moments       operations in blocks: what commits by itself, what belongs together
    stages        a draft as scripts: what a transaction may hold, what is done beside live traffic

A module imports only modules above it in this list, and rooms above this one.
"""
