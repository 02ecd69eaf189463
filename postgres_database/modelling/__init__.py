"""From a database to SQLAlchemy models: the text of a Python module.

Gives `module.written` to the workflow `modelling`.

    layout        Python as it is laid out: texts, calls, names; pure
    described     comments, and how sequences count: what the catalog of `schema` has not
    column_types  the type of a column → what SQLAlchemy calls it, and what it is in Python; pure
    completed     what a first try lacks → statements that are run after a table is made; pure
    parts         columns, constraints and indexes → what SQLAlchemy calls them; pure
    module        tables → a module of models; pure

A module imports only modules above it in this list, and rooms above this one.
"""
