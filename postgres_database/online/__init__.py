"""Operations beside live traffic: the safe form of each statement, and the backfill.

Scripts get here through `op.online()` and `op.backfill()`.

    forms       statements that have a form that is safe beside live traffic, parsed; pure
    tables      a table in the catalog, and how the server would name and print an index or constraint on it
    safe_forms  runs the safe form of a statement, without the steps that are finished
    partitions  partitions attached and detached
    keys        the key or the pages that divide a table into batches, in SQL without the search path; pure
    batches     where the next batches end, and how many rows they have
    pace        how fast a backfill works while other sessions are at work
    backfill    updates rows in short transactions; can be resumed
    steps       runs every operation of a script as a step: in its safe form, and not twice
    dropped     the constraints, indexes and key columns that operations drop; pure
    enforced    finds constraints that a state between two others does not enforce; pure
    swaps       keys and indexes that are replaced: the new one is built first, then swapped in; pure
    filling     runs `op.backfill` as a step

A module imports only modules above it in this list, and rooms above this one.
"""
