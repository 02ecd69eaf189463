"""Reach a PostgreSQL server, and say what to do when it cannot be reached.

Gives `Environment` (which database, which limits) and `Database` (connect to it) to every room below.

    root           the root of a project: the nearest folder upward that has an alembic.ini
    dsn            connection parameters, parsed once by libpq; shown and scrubbed without secrets
    version_table  the table in which Alembic keeps the revision of a database: its name and place
    environment    its name + file + process environment → one frozen value; reports all faults at once
    transactions   how transactions begin: with which time limits, and where they find names
    session        the state of a session: what was set since then is undone
    connection     a database → an engine, a connection, and errors that say what to do
    pooler         connection poolers: some cannot keep a lock, and mix up settings
    writable       whether a database can be written
    cluster        what belongs to a server and is named in schemas: roles, tablespaces
    programs       the programs of PostgreSQL, and the account that runs its server
    embedded       the embedded PostgreSQL: its life cycle: start when needed, stop, heal after a crash
    privileges     a privilege that is missing → who must grant it, and how

A module imports only modules above it in this list, and rooms above this one.
"""
