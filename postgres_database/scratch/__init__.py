"""Scratch databases: created to prove a script before it runs on a target, and dropped when the command ends.

Gives `databases.session`, which creates and drops them, and `proof`, which runs a script on one that holds rows.

    elevation     runs single statements as a superuser for a session that is none
    rights        the roles that own scratch databases and log in to them
    templates     what the scripts of a template database read, and whether it has changed
    databases     creates scratch databases: empty, at a revision, from the models
    provided      creates a database from models that need objects of the history
    values        literals that a type may accept
    constraints   the columns and constraints that decide which rows a scratch database accepts
    made_up_rows  fills the tables of a scratch database with a few rows
    many_rows     multiplies these rows, to measure time
    contents      the rows of a scratch database and the values of its sequences, held for a comparison
    lost_rows     rows after a script: which values are lost, or not those of defaults and casts
    triggers      which triggers and rules fail on rows after a script
    effects       measures a statement: locks, scans, rewrites
    proof         upgrades, downgrades and upgrades again: what differs or is lost
    image         what revisions make of an empty database, as SQL that makes the same at once

A module imports only modules above it in this list, and rooms above this one.
"""
