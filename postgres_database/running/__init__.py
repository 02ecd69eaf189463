"""Run scripts on a target: one command at a time, each revision with its stamp.

Gives `runner.open_runner`, through which all others run scripts.

    listener         what a command says while it works, and what it asks
    waiting          locks that others hold: who does, and when to try again
    stamped          which revisions a database is stamped with
    log              the log of a target: what was run, and which of its scripts were edited since
    journal          writes the log while revisions are run, with the progress of what is interrupted
    context          what the operations of a script find on their connection: listener, journal
    lock             one command at a time may change a database
    autocommit       the connection of a script while each statement commits by itself
    guard            the transaction of a script: only the runner ends it
    missing_scripts  whether the scripts of a database's revisions are here, and who ran those that are not
    failures         what went wrong while scripts ran → an error that says what to type next
    unfinished       what a script left unfinished: INVALID indexes, constraints not validated
    execution        the scripts of a plan while they run: what is done, what is committed
    runner           Alembic's commands on a connection, with their failures in our words

A module imports only modules above it in this list, and rooms above this one.
"""
