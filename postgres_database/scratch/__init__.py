"""Databases that are thrown away: where scripts are proved before anyone runs them.

Gives `databases.session`, which makes them and drops them, and `proof`, which tries a script on
rows.

    lifting       what only a superuser may run, on a connection that has no such rights
    rights        the roles that work on scratch databases
    templates     what a kept scratch database was made from
    databases     scratch databases: empty, at a revision, from the models
    provided      the models as a database, with what they need of the history
    values        literals that a type may take
    constraints   what rows must obey in a scratch database: columns, rules
    made_up_rows  made-up rows for the proof of a script
    contents      the content of tables, and what a script lost of it
    triggers      whether triggers and rules still work after a script
    effects       what a statement does to tables while it runs: locks, scans, rewrites
    rehearsal     pending scripts, and what live traffic would wait for, statement by statement
    enforced      what is enforced before and after a change, and must be in between; pure
    proof         up, down and up again, on rows: what differs or is lost

A module imports only modules above it in this list, and rooms above this one.
"""
