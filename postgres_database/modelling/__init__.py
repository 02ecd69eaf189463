"""From a database to SQLAlchemy models: the text of a Python module; and models that are none of a database.

The workflow `written_models` calls `module.written`, compares the tables that this module creates with the database,
and, if they differ, calls it again with statements (`completed`) for what SQLAlchemy cannot express.

    layout        Python source text: string literals, calls over several lines, names; pure
    described     comments and options of sequences, which the catalog of `schema` does not hold
    column_types  the type of a column → its SQLAlchemy and its Python type; pure
    completed     what differs in the first module's tables → statements that run after CREATE TABLE; pure
    parts         columns, constraints and indexes → SQLAlchemy calls; pure
    module        tables → the text of a module of models; pure
    strangers     models that are perhaps not those of the database: no tables, none in common, or not all imported

A module imports only modules above it in this list, and rooms above this one.
"""
