"""The scripts and the models of a project, read and written; nothing is run here.

Gives the `Project` (settings, models and `History` of a repository) and the operations that scripts have on `op`.

    reads             which files a script imports and opens
    staged            scripts written aside, then published all at one moment
    script_errors     errors in scripts, with file and line
    upstream          git, and which scripts the branch has on which a team meets
    library_versions  the versions that are needed of libraries, and of the engine by a project
    graph             the revision graph as a plain ordered value; pure
    script_texts      scripts as texts, none executed: headers, and digests by which edited ones are known
    env_text          an existing `env.py`, read without running it: models, options, what it lacks; pure
    project_models    the models of the project: imported by name, when something asks for them
    project           the repository that a command works in: what alembic.ini says, scripts and models, read once
    script_files      writing scripts from the template, or what they follow: aside, and into their places
    operations        operations of our own for revision scripts
    project_files     the files of a project besides its scripts: which are missing or incomplete
    env_script        the project's `env.py`, run on a given connection and on no other

A module imports only modules above it in this list, and rooms above this one.
"""
