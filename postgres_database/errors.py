"""The one error that people are meant to see."""


class ExpectedError(Exception):
    """Something went wrong that we can explain.

    Args:
        what: What happened, in one sentence, with the name of the thing it happened to.
        cause: Why, in the words of the server, the parser or the operating system, without secrets.
        hint: What to type next.
    """

    def __init__(self, what: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.hint = hint

    def with_(self, *, cause: str = "", hint: str = "") -> "ExpectedError":
        """Return the same error with another cause or hint, to be raised from this one."""
        return ExpectedError(self.what, cause=cause or self.cause, hint=hint or self.hint)

    def __str__(self) -> str:
        """Return the lines that have something to say; continuation lines are indented."""
        lines = [("error", self.what), ("cause", self.cause), ("try", self.hint)]
        text = "\n".join(
            f"{label + ':':<7}" + text.strip().replace("\n", "\n       ")
            for label, text in lines
            if text
        )
        return without_blanks_at_ends(text)


def without_blanks_at_ends(text: str) -> str:
    """Return a text without blanks at the ends of its lines."""
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))
