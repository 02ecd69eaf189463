"""What pending scripts will require of the rows of a target, and what they drop: found out before they run.

Reads the scripts as Alembic prints them, and asks the target in a transaction that cannot write.

    preview       what the scripts of a plan run, printed without a target
    dropping      pending statements → what they rename, make and drop; pure
    requirements  pending statements → what they ask of the rows that are there; pure
    row_queries   what a rule asks of rows → the query for those that break it; pure
    trusted       whether a query would call functions, operators or casts of a role that is not trusted
    losses        what a change does to rows: what they lose, and which it may refuse; pure
    row_checks    whether rows of a target violate what pending scripts require
    drops         what rows and values of a target pending scripts drop, counted

A module imports only modules above it in this list, and rooms above this one.
"""
