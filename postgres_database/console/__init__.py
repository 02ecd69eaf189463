"""The only room that prints and asks: for people, and as JSON for programs.

`tasks` calls it with what a workflow returned.

    report        results → JSON; pure functions
    terminal      the only module that prints and asks
    each          one command on many environments, a line each
    lines         lines that the results of several commands share
    show_init     what `init` did → lines for people
    show_models   what `models` wrote → lines for people
    show_state    what `check` and `status` found → lines for people
    review_report  a review → JSON, SARIF, Markdown; pure
    show_review   a review → lines for people
    show_standing  what an upgrade or a downgrade did, where a target stands → lines for people
    show          results → lines for people

A module imports only modules above it in this list, and rooms above this one.
"""
