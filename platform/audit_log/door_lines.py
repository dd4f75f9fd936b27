"""Lines of the door's log as entries of the audit log."""

from __future__ import annotations

import json
import re
import time

from mlplatform.audit_log.audit_store import AuditEntry

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


def door_entry(line: str, now: float | None = None) -> AuditEntry | None:
    """Return the entry of a line, None for one without any meaning for the audit log.

    Args:
        line: a message of nginx over syslog, whose end is a JSON object.
        now: the time in seconds since 1970.
    """
    start = line.find("{")
    try:
        found = json.loads(line[start:]) if start >= 0 else {}
    except ValueError:
        return None
    if not {"user", "team", "address", "method", "path", "status"} <= found.keys():
        return None
    action = _action(str(found["path"]), str(found["method"]), int(found["status"]), str(found["user"]))
    if action is None:
        return None
    second, target, detail = int(now or time.time()), found["path"], f"{found['method']} {found['status']}"
    if action == USED and (area := AREA.match(target)):
        target, detail = area[0], ""
    if action not in SINGLE:
        second -= second % MINUTE
    return AuditEntry(second, found["user"], action, target, found["team"], found["address"], detail)


def _action(path: str, method: str, status: int, user: str) -> str | None:
    if SIGN_IN.fullmatch(path):
        if status == 302 and user:
            return SIGNED_IN
        return FAILED if method == "POST" or status >= 400 else None
    if path == "/door/sign-out":
        return SIGNED_OUT
    if status in DENIED:
        return DENIED[status]
    if status >= 500:
        return "failed"
    return USED if user.startswith(TOKEN) else None
