"""What a schema is, and how two of them differ.

Gives the `Snapshot` (text of pg_dump, object by object), the `Catalog` (tables as values) and the
comparison of both.

    scope        which schemas and objects are a project's business; pure
    bookkeeping  what a server keeps for itself in the options of tables and columns, which is left out; pure
    sections     the text of a dump → its objects; pure
    masks        the secrets that a dump would hold: what of them is masked; pure
    disclosures  secrets that users wrote into functions, views, defaults and comments, by object; pure
    dump         pg_dump: a database → text without secrets, and text → a database
    catalog      what the server says of tables, types and sequences, as plain values
    identity     tables and columns by their numbers in the catalog: what a step of a script was done to
    snapshot     a dump → objects → canonical text; the difference of two
    partitions   which table an object belongs to, which inherit from which, and what the models do not know of it; pure
    comparison   models against history: which objects differ, and which are the models' business
    respelling   one thing in two spellings: compared by restored copies
    numbering    how a column is numbered, and how that changes; pure
    alter        from what a table or type is to what it should be: ALTER statements; pure

A module imports only modules above it in this list, and rooms above this one.
"""
