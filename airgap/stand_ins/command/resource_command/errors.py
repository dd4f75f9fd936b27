"""The errors that users see."""


class Failed(Exception):
    """An operation failed for a reason that its message tells the user."""


class Cancelled(Failed):
    """The user or a timeout ended the operation."""


class Unreached(Exception):
    """One attempt to connect failed; another may succeed."""
