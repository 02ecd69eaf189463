"""The text of SQL, read without a server; pure.

Every other room may use it: names and literals are quoted, and statements taken apart, here only.

    names    names and literals: written into SQL, and read out of it; pure
    tokens   the text of SQL: quotes, brackets, names; pure
    syntax   statements as PostgreSQL's own parser reads them; pure
    rules    a constraint, index or column → what it asks of rows; pure

A module imports only modules above it in this list, and rooms above this one.
"""
