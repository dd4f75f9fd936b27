"""What the bundle's commands end with when they cannot go on."""


class BundleError(Exception):
    """Something failed; the message names the entry of the table or the program, and what to do."""
