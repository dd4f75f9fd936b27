"""The one exception of this program whose message is meant for its user."""


class UserError(Exception):
    """A failure that its message explains whole; shown to the user without a stack trace."""


# `traceback` prints an exception of this module as plain "UserError: ...".
UserError.__module__ = "builtins"
