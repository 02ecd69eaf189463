"""One module per command: options in, facts out. Nothing is printed here.

`console` shows what they return.

    standing    where a target stands, without Alembic and SQLAlchemy; whether an upgrade has nothing to do
    drift       a database against a revision: what differs, and what would bring it back
    stamp       which revision a database is: found by comparison; workflow: written into it
    upgrade     workflow: bring a target up or down, print it as SQL
    revision    workflow: write the next script and prove it
    adoption    a database without scripts → its first revision: written, proved, stamped
    baseline    workflow: adopt a database that is online
    written_models  workflow: write the models of a database, and prove them
    rebase      workflow: put the revisions of one branch on top of the other head
    squash      workflow: put one revision in place of a long history
    check       workflow: models = history? target = its revision?
    review      workflow: what pending scripts do to a target, measured and judged
    status      workflow: the revision, the pending scripts and the drift of every environment
    init          workflow: set up a project, or start a history of its own

A module imports only modules above it in this list, and rooms above this one.
"""
