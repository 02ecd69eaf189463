"""What scripts do on scratch databases that hold rows: what differs afterwards, what is lost, what is locked.

Gives `proof`, which upgrades, downgrades and upgrades again.

    values        literals that a type may accept
    constraints   the columns and constraints that decide which rows a scratch database accepts
    affected      which tables a drafted script may meet the rows of
    made_up_rows  fills the tables of a scratch database with a few rows
    many_rows     multiplies these rows, to measure time
    contents      the rows of a scratch database and the values of its sequences, held for a comparison
    lost_rows     rows after a script: which values are lost, or not those of defaults and casts
    triggers      which triggers and rules fail on rows after a script
    effects       measures a statement: locks, scans, rewrites
    proof         upgrades, downgrades and upgrades again: what differs or is lost
    way_back      scripts up and down: which one fails, which downgrades do not lead back
    round_trip    a script of the history: up, down and up again
    image         what revisions make of an empty database, as SQL that makes the same at once

A module imports only modules above it in this list, and rooms above this one.
"""
