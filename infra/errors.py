"""The exception whose message is written for the user of this program."""


class UserError(Exception):
    """A failure whose message says what failed, what was found and what to do. Users see no stack trace of it."""
