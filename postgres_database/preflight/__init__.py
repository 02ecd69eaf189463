"""What pending scripts require of the rows of a target, and what they drop, before any of them runs.

Reads the statements that Alembic's offline mode prints, and queries the target in a read-only transaction.

    preview       the statements of a plan, printed without a target
    dropping      pending statements → renames, and what they drop; pure
    requirements  pending statements → what they require of rows; pure
    row_queries   a rule → the query for the rows that violate it; pure
    trusted       whether a query would call functions, operators or casts of a role that is not trusted
    losses        two schemas → the values that a change loses, and the rows on which it may fail; pure
    row_checks    which rows of a target violate requirements of pending scripts
    drops         how many rows and values of a target pending scripts drop
    look          all that is read of a target before the first statement runs on it

A module imports only modules above it in this list, and rooms above this one.
"""
