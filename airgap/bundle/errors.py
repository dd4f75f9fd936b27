"""The error of the bundle's commands."""


class BundleError(Exception):
    """A failure of a bundle command; the message names the entry or the program, and the remedy."""
