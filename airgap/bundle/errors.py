"""The error of the bundle's commands."""

from tools.bootstrap.console import BootstrapError


class BundleError(BootstrapError):
    """A failure of a bundle command; the message names the entry or the program, and the remedy."""
