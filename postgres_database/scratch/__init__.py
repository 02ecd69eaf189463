"""Scratch databases: created to prove a script before it runs on a target, and dropped when the command ends.

Gives `databases.session`, which creates and drops them.

    sources    whether the source of a module uses nothing whose value its text does not say
    plain      whether files alone say what models are, and whether these have changed
    recipes    what the scripts of a template database read, and whether that has changed
    templates  the template databases on a server, and which of them to drop
    known      what is known of a template of the history without a session
    elevation  runs single statements as a superuser for a session that is none
    rights     the roles that own scratch databases and log in to them
    databases  creates scratch databases: empty, at a revision, from the models
    recording  what models would send to an empty database, noted by a copy of the process
    provided   creates a database from models that need objects of the history
    beside     threads that work on scratch databases
    pair       the models and the end of the history, made and read at the same time

A module imports only modules above it in this list, and rooms above this one.
"""
