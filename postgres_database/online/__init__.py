"""Operations beside live traffic: the safe form of each statement, and the backfill.

Scripts get here through `op.online()` and `op.backfill()`.

    forms       statements that have a form that is safe beside live traffic; pure
    tables      a table as the catalog has it, and how the server prints and names what would be made on it
    safe_forms  the safe forms, run as far as they are not done yet
    partitions  partitions attached and detached
    keys        by which key, or by which pages, rows are gone through, in SQL that no search path changes; pure
    backfill    rows changed in short transactions that can be gone on with
    steps       every operation of a script as a step: in its safe form, and not twice
    dropped     what operations drop: constraints, indexes, and the parts of keys; pure
    filling     how `op.backfill` is done, as a step

A module imports only modules above it in this list, and rooms above this one.
"""
