"""Scripts that run on machines as root. Each is safe to run twice; its header lists its inputs.

A lock on the machine prevents parallel runs: a script that survived its killed `up` ends before the next one starts.
A script that changes the machine runs only if the machine's owner file has the variable OWNER, see `owner`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

LOCK = """
if [ "$EUID" = 0 ]; then
  exec 9>/run/mlplatform.lock
  flock --timeout 900 9 || { echo "another script of this program has been running here for 15 minutes" >&2; exit 1; }
fi
"""
OWNER_CHECK = """
if [ "$(cat /etc/mlplatform/owner 2>/dev/null)" != "$OWNER" ]; then
  echo "the machine does not belong to this stack: /etc/mlplatform/owner has" \\
    "$(cat /etc/mlplatform/owner 2>/dev/null || echo no owner), and this stack is $OWNER" >&2
  exit 1
fi
"""
CONFIGURATION = "configuration.sh"
"""The kubeadm configuration, as functions of other scripts."""
WITH_CONFIGURATION = {"init.sh", "reconcile.sh", "control-plane/join.sh"}
WITHOUT_OWNER_CHECK = {
    "preflight/facts.sh",
    "preflight/listen.sh",
    "preflight/probe.sh",
    "owner.sh",
    "control-plane/etcd-snapshot.sh",
}
"""Scripts that change nothing, or write the owner file."""


def script_text(script: str) -> str:
    """Return the content of a script of this folder."""
    return (Path(__file__).resolve().parent / script).read_text()


def command_line(script: str, environment: Mapping[str, str], sudo: bool = True) -> str:
    """Return the command line that runs a script from its standard input with these variables.

    Error messages quote the command line, so the script itself is not in it.
    """
    assignments = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    return " ".join([*(["sudo --non-interactive"] if sudo else []), "env", *assignments, "bash -s", script])


def standard_input(script: str, content: str = "") -> str:
    """Return the script followed by its own standard input.

    The script follows `functions.sh`. It is wrapped in a function, so bash reads all of it before `content`.
    """
    functions = script_text("functions.sh") + (script_text(CONFIGURATION) if script in WITH_CONFIGURATION else "")
    check = "" if script in WITHOUT_OWNER_CHECK else OWNER_CHECK
    body = f"script() {{\n{script_text(script)}\n}}"
    return f"{functions}{body}{LOCK}{check}script; exit\n{content}"
