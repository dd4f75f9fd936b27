"""Sign-on by the door: JupyterHub believes the person that a request with the door's key names."""

from __future__ import annotations

import hmac
import os
from typing import Any

from jupyterhub.auth import Authenticator

KEY = "NOTEBOOKS_KEY"
"""Environment variable of the key with which the door proves itself."""
ROLES = ("administrator", "editor")
"""Roles that have notebooks: a notebook has the rights of an editor."""
SHARED = "*"


class DoorAuthenticator(Authenticator):  # type: ignore[misc]
    """Sign-on without a form: the door names the person, the role and the teams in each request to the hub."""

    auto_login = True
    manage_groups = True

    async def authenticate(self, handler: Any, _data: Any = None) -> dict[str, Any] | None:
        """Return the person that the door names; None for a request without its key, or for a reader."""
        headers = handler.request.headers
        if not _is_from_door(headers) or headers.get("X-Door-Role") not in ROLES:
            return None
        teams = [team for team in headers.get("X-Door-Teams", "").split(",") if team not in ("", SHARED)]
        administers = headers["X-Door-Role"] == "administrator"
        return {"name": headers["X-Door-User"], "admin": administers, "groups": teams}

    async def refresh_user(self, user: Any, handler: Any = None) -> bool | dict[str, Any]:
        """Return the rights that the door names now, and False if it names another person than the hub's cookie.

        Servers send requests with own tokens. These have no header of the door.
        """
        if handler is None or "X-Door-Key" not in handler.request.headers:
            return True
        found = await self.authenticate(handler)
        return found if found and found["name"] == user.name else False

    def normalize_username(self, username: str) -> str:
        """Return the name as the door writes it."""
        return username


def _is_from_door(headers: Any) -> bool:
    return hmac.compare_digest(headers.get("X-Door-Key", "").encode(), os.environ[KEY].encode())
