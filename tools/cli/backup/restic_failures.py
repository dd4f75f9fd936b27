"""Reasons why restic cannot use a repository, as sentences that name the setting to change."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tools.bootstrap.process import CommandError, capture

ABSENT = re.compile(
    r"unable to open config file: .*(no such file or directory|file does not exist|specified key does not exist)"
)
"""Messages of all versions for an address without a repository."""
NO_BUCKET = re.compile(r"specified bucket does not exist")
RETRY = re.compile(r"returned error, retrying after [^:]*: (.*)")
"""Line of restic about a request that it will repeat, and the answer to the request."""
FATAL = "Fatal: "
CONNECT_SECONDS = 30
SSH = "subprocess ssh: "
"""Start of the lines of restic that ssh has written."""
CANCELED = "context canceled"
"""Reason in the last line of a restic that was stopped while it repeated a request."""


@dataclass(frozen=True)
class AccessNames:
    """Names of the values that open a repository, as its user has written them."""

    target: str
    password: str
    access_key: str
    secret_key: str


SETTINGS = AccessNames(
    *(f"platform:backup.{field}" for field in ("target", "password", "access_key", "secret_key")),
)
ENVIRONMENT = AccessNames("FROM", "RESTIC_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

LOCKED = r"repository is already locked"
KNOWN = (
    (r"wrong password or no key found", "{password} does not open the backups at {address}"),
    (r"access key id you provided does not exist", "{access_key}: the server of {address} does not know this key"),
    (r"request signature we calculated does not match", "{secret_key} does not belong to {access_key} at {address}"),
    (r"no credentials found", "{address} needs a login: set {access_key} and {secret_key}"),
    (r"access ?denied", "the server of {address} denies access; check {access_key} and {secret_key}"),
    (ABSENT.pattern, "{target}: {address} has no backups yet"),
    (NO_BUCKET.pattern, "{target}: the bucket of {address} does not exist"),
    (
        r"host key verification failed",
        "{target}: the host key of {address} is not the one in known_hosts, or it is not there. Compare it with that "
        "of the server, and log in once with `ssh` to add it",
    ),
    (
        r"permission denied \(",
        "{target}: the SSH server of {address} refuses the login; `ssh` must log in without a question, with a key "
        "that has no passphrase or is in ssh-agent",
    ),
    (
        LOCKED,
        "another program uses the backups at {address}: {line}; wait for its end and try again",
    ),
)
"""Reasons that a repeated request does not change, and their sentences."""


def is_absent(messages: str) -> bool:
    """Return True if an address certainly has no repository."""
    return bool(ABSENT.search(messages) or NO_BUCKET.search(messages))


def is_locked(messages: str) -> bool:
    """Return True if another program uses a repository."""
    return bool(re.search(LOCKED, messages, re.IGNORECASE))


def is_final(line: str) -> bool:
    """Return True if a line of restic has a reason that a repeated request does not change."""
    return any(re.search(pattern, line, re.IGNORECASE) for pattern, _ in KNOWN)


def failure_sentence(address: str, names: AccessNames, command: str, messages: str) -> str:
    """Return the sentence for a failure.

    Args:
        address: the address of the repository.
        names: the names of the values that open it.
        command: the command of restic that failed.
        messages: the lines of restic.
    """
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    for pattern, sentence in KNOWN:
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return sentence.format(address=address, line=line.removeprefix(FATAL), **vars(names))
    return f"{names.target}: `restic {command}` failed at {address}: {_reason(lines)}"


def _reason(lines: list[str]) -> str:
    """Return the line that says most about a failure."""
    if from_ssh := [line.removeprefix(SSH) for line in lines if line.startswith(SSH)]:
        return from_ssh[-1]
    fatal = [line.replace(FATAL, "") for line in lines if line.startswith(FATAL)]
    repeated = [match[1] for line in lines if (match := RETRY.search(line))]
    if repeated and (not fatal or CANCELED in fatal[-1]):
        return repeated[-1]
    return (fatal or lines or ["no message"])[-1]


def refused_login(address: str) -> str:
    """Log in to the server of an sftp address without a question; return the messages of ssh, or "" without a failure.

    restic itself waits for each answer to a question, and may lose the messages of ssh.
    """
    rest = address.removeprefix("sftp:")
    host = f"ssh://{rest[2:].partition('/')[0]}" if rest.startswith("//") else rest.split(":")[0]
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", "-s", host, "sftp"]
    try:
        capture(command, timeout=2 * CONNECT_SECONDS)
    except CommandError as error:
        return str(error)
    return ""
