"""The person at this computer."""

from __future__ import annotations


def computer_user() -> str:
    """Return the user of this computer and its name, as in `anna@laptop`."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user id has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
