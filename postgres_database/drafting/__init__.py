"""From a difference to the operations of a script: renames, Alembic's operations, the remaining SQL, and stages.

The workflow `revision` calls `matching.find`, `draft.find_operations` and `stages.divide`, in this order; `drift` and
`check` use parts of it.

    likeness       how alike two names, types and shapes are; pure
    renames        renames: their order and statements; constraints, indexes and sequences renamed along; pure
    matching       dropped + added → likely renames, decided by flags, hints and questions; pure
    in_place       from one text of an object in a dump to another without dropping it; pure
    objects        from an object's text in a dump to the statements that create, change and drop it; pure
    trial          changes tried on a scratch database; those that work are recorded in their order
    type_changes   changes of types: values added to enums, types replaced by new ones of the same name
    preserved      what outlives a change: values of moved columns, sequences, indexes and keys of partitions; pure
    changes        every difference between two schemas as a change, with the ways to make it
    autogenerate   Alembic's autogenerate: its operations, and its descriptions of what differs
    draft          the operations of a script: Alembic's, then what they leave undone
    online_blocks  operations grouped into online blocks and transactions
    fills          new columns that are filled in batches; pure
    stages         a draft as one or two scripts: a transactional one and an online one

Throughout, `here` is the schema that a database has and `goal` the one that it is to get. A *change* is one thing to
do (`trial.Change`); its *ways* are alternative lists of operations, of which the first that works is used.

A module imports only modules above it in this list, and rooms above this one.
"""
