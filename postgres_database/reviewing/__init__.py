"""What pending scripts do to a target: measured on a scratch database, judged by the sizes of its tables.

Gives `rehearsal.measure`, which runs scripts and returns what each statement did, and `findings`, which judges that.

    statements   a statement with its locks, rewrites and scans; pure
    old_code     what code from before the scripts would trip over
    onlooker     the locks of a session, seen from another one
    settings     settings by which a statement does one thing here and another there
    rehearsal    runs pending scripts, and measures each statement
    sizes        how large the tables of a target are
    durations    how long statements would take on a target, measured on many made-up rows
    source       the statements of a script in Python, and what its comments accept; pure
    deployed     the tables and columns of the models of a git ref, imported in another process
    fixes        what to write instead; pure
    findings     what could go wrong with the statements of a rehearsal; pure
    squawk       what squawk says, a linter that may be installed, beside what was measured
    pins         what a review pins of scripts and of a target, as a file, and what of it is no longer so
    cautions     the findings about waiting in a line each, for other commands

A module imports only modules above it in this list, and rooms above this one.
"""
