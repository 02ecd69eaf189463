"""Pages that a browser shows without a network and without scripts: what a workflow returned, with pictures.

Modules say what is where; the templates beside them (`*.mako`, Mako) draw it, and escape every text.

    texts        texts cut to the room that they have in a picture; pure
    timeline     which tables are locked by which statements, until when; pure
    diagram      tables as boxes, foreign keys as lines around them; pure
    differences  objects before and after, line by line; pure
    review_page  a review → a page

A module imports only modules above it in this list, and rooms above this one.
"""
