"""The text of SQL, read without a server; pure.

Every other room may use it: only here are names and literals quoted, and statements parsed.

    names    names and literals, quoted for SQL and read from it; pure
    tokens   SQL text as tokens, whether or not it parses; pure
    grants   GRANT and REVOKE: what makes them, undoes them, leads from some to others; pure
    syntax   statements as PostgreSQL's own parser reads them; pure
    rules    a constraint, index or column → the rules that rows must satisfy; pure

A module imports only modules above it in this list, and rooms above this one.
"""
