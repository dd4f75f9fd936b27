"""Lines of the door's log as entries of the audit log."""

from __future__ import annotations

import json
import re
from datetime import datetime
from posixpath import normpath
from typing import Any
from urllib.parse import unquote

from mlplatform.audit_log.audit_store import LEFT_OUT, AuditEntry, DoorLine

TOKEN = "token."
"""Beginning of the name of a caller with a token; the rest is the token's id."""
SIGN_IN = re.compile(r"/oauth2/(sign_in|callback)")
AREA = re.compile(r"/(mlflow|models/[^/]+)/")
"""Beginning of an address: the target of a token."""
MINUTE = 60
SIGNED_IN, SIGNED_OUT, FAILED, USED = "signed in", "signed out", "sign-on failed", "used a token"
SINGLE = {SIGNED_IN, SIGNED_OUT, FAILED}
"""Actions with a certain second; others are counted by the minute."""
DENIED = {401: "denied", 403: "denied", 429: "limited"}


def door_line(text: str) -> DoorLine | None:
    """Return a line of the door's log, a JSON object; None for another text."""
    try:
        found = json.loads(text)
        second = int(datetime.fromisoformat(found["time"]).timestamp())
        if "left_out" in found:
            return DoorLine(found["id"], AuditEntry(second, "", LEFT_OUT, "", detail=f"{found['left_out']} lines"))
        return DoorLine(found["id"], _entry(found, second))
    except (ValueError, TypeError, KeyError):
        return None


def _entry(found: dict[str, Any], second: int) -> AuditEntry | None:
    path = _plain(found["path"])
    action = _action(path, found["method"], int(found["status"]), found["user"])
    if action is None:
        return None
    target, detail = found["path"], f"{found['method']} {found['status']}"
    if action == USED and (area := AREA.match(path)):
        target, detail = area[0], ""
    if action not in SINGLE:
        second -= second % MINUTE
    return AuditEntry(second, found["user"], action, target, found["team"], found["address"], detail)


def _plain(path: str) -> str:
    """Return a path as nginx reads it: decoded, and without dots and repeated slashes."""
    decoded = unquote(path)
    return normpath(f"/{decoded.lstrip('/')}") + "/" * decoded.endswith("/")


def _action(path: str, method: str, status: int, user: str) -> str | None:
    if SIGN_IN.fullmatch(path):
        if status == 302 and user:
            return SIGNED_IN
        return FAILED if method == "POST" or status >= 400 else None
    if path == "/door/sign-out" and status == 302:
        return SIGNED_OUT
    if status in DENIED:
        return DENIED[status]
    if status >= 500:
        return "failed"
    return USED if user.startswith(TOKEN) else None
