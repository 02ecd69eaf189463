"""What people type: which commands there are, what was probably meant, and what to type next. Nothing is run here.

`tasks` makes its commands with `command.command`; `console` spells advice by `advice.as_typed`.

    advice        what to type next: for make, for invoke, or for the installed program; pure
    command_line  what Invoke would not understand → what was probably meant
    listing       the commands in groups; pure
    completion    values of options for the completion of a shell
    command       a command of invoke: in which folder it runs, and how it ends

A module imports only modules above it in this list, and rooms above this one.
"""
