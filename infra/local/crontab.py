"""A command of this project at regular times, by the crontab of the user who runs `pulumi up`."""

from __future__ import annotations

import getpass
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.paths import PROJECT, cache_directory

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
VARIABLES = (
    *("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_CREDENTIALS_PATH", "PULUMI_HOME"),
    *("AWS_PROFILE", "AWS_REGION", "AZURE_STORAGE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", *PROXIES, *(name.lower() for name in PROXIES)),
)
"""Variables that a command may need and that cron does not set. PATH and MLPLATFORM_CACHE are always set."""
SECRETS = {
    "PULUMI_CONFIG_PASSPHRASE": ("", "PULUMI_CONFIG_PASSPHRASE_FILE, a file with the passphrase"),
    "PULUMI_ACCESS_TOKEN": ("", "`pulumi login`"),
    "AWS_SECRET_ACCESS_KEY": ("s3://", "a profile in ~/.aws/credentials"),
    "AZURE_STORAGE_KEY": ("azblob://", "`az login`"),
    "AZURE_STORAGE_SAS_TOKEN": ("azblob://", "`az login`"),
}
"""Secret variables, which no file should have: the beginning of the backends that need one, and its replacement."""
DAEMONS = {"cron", "crond"}
"""Programs that run the commands of crontabs."""
EMPTY = ("no crontab", "No such file")
"""Parts of what `crontab -l` prints for a user without a table: that of Debian and of cronie, and that of busybox."""


class _ScheduleProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Update a line with other times, or whose script would differ now.

        Another user or computer, such as that of a preview in a pull request, has other folders and variables.
        """
        changed = any_changed(_olds, _news, ("schedule", "target", "setting"))
        return DiffResult(changes=changed or (_is_here(_olds) and _olds["script"] != _digest(_news)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["target"], props | _install(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        if not _is_here(_olds):
            raise UserError(
                f"{_news['setting']}: the line is in the crontab of {_olds['computer']}. Run `make up` there; to move "
                "the line, first remove the setting there"
            )
        return UpdateResult(_news | _install(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the line as deleted if this user should have it, and it or its script is certainly gone."""
        if not _is_here(props):
            return ReadResult(id_, props)
        try:
            exists = props["line"] in _lines() and _script(props).exists()
        except UserError as error:
            pulumi.log.warn(f"{props['setting']}: the line was not checked: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props) if exists else ReadResult("", {})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the line. That of another user or computer stays, and its command fails once the stack is gone."""
        if not _is_here(_props):
            pulumi.log.warn(f"{_props['setting']}: the line in the crontab of {_props['computer']} stays: remove it")
            return
        _script(_props).unlink(missing_ok=True)
        try:
            _replace_line(_props, None)
        except UserError as error:
            pulumi.log.warn(f"{error}. If it has a line for the stack {_props['stack']}, remove it")


class ScheduledCommand(Resource, module="infra", name="ScheduledCommand"):
    """A line `make <target> STACK=<stack>` in the crontab of this user on this computer.

    Args:
        target: the target of the Makefile; each stack has one line for it.
        stack: the stack.
        schedule: five fields of cron, in the time zone of this computer.
        setting: the setting that chooses the times, for errors.

    Outputs:
        line: the line of the crontab.
        computer: the user and the host name of the crontab.
        script: the digest of the script that the line starts.

    Raises (as a failed resource):
        UserError: this computer has no crontab, the command would need a secret variable, or the line is elsewhere.
    """

    line: pulumi.Output[str]
    computer: pulumi.Output[str]
    script: pulumi.Output[str]

    def __init__(self, target: str, *, stack: str, schedule: str, setting: str) -> None:
        props = {"target": target, "stack": stack, "schedule": schedule, "setting": setting}
        outputs = {"line": None, "computer": None, "script": None}
        super().__init__(_ScheduleProvider(), f"{target}-schedule", {**props, **outputs})


def _computer() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _is_here(props: dict[str, Any]) -> bool:
    return bool(props["computer"] == _computer())


def _install(props: dict[str, Any]) -> dict[str, str]:
    """Write the script and the line of the crontab; return the outputs."""
    backend = os.environ.get("PULUMI_BACKEND_URL", "")
    for name, (beginning, replacement) in SECRETS.items():
        if name in os.environ and backend.startswith(beginning):
            raise UserError(f"{props['setting']}: cron does not know {name}; use {replacement}")
    if shutil.which("crontab") is None:
        raise UserError(
            f"{props['setting']}: this computer has no crontab; install cron, or remove the setting and call "
            f"`make {props['target']}` otherwise"
        )
    file = _script(props)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(f"export PATH={shlex.quote(os.environ['PATH'])}\n{_commands(props)}")
    _log(props).parent.mkdir(parents=True, exist_ok=True)
    line = f"{props['schedule']} {_started(props)}"
    _replace_line(props, line)
    if not any(process.info["name"] in DAEMONS for process in psutil.process_iter(["name"])):
        pulumi.log.warn(f"{props['setting']}: no cron runs on this computer; start it, or nothing runs at these times")
    return {"line": line, "computer": _computer(), "script": _digest(props)}


def _script(props: dict[str, Any]) -> Path:
    return cache_directory() / "schedules" / f"{props['target']}-{props['stack']}.sh"


def _log(props: dict[str, Any]) -> Path:
    return cache_directory() / "logs" / f"{props['target']}-{props['stack']}.log"


def _commands(props: dict[str, Any]) -> str:
    """Return the script without its PATH, which differs between the shells of a user."""
    variables = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    variables["MLPLATFORM_CACHE"] = str(cache_directory())
    lines = [
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f"exec >> {shlex.quote(str(_log(props)))} 2>&1",
        f"cd {shlex.quote(str(PROJECT))} || exit",
        f"exec make {shlex.quote(props['target'])} STACK={shlex.quote(props['stack'])}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _digest(props: dict[str, Any]) -> str:
    return hashlib.sha256(_commands(props).encode()).hexdigest()


def _started(props: dict[str, Any]) -> str:
    """Return the command of the line. It is short, because cron limits the length of a line."""
    # cron ends a command at the first % without a backslash.
    return f"/bin/sh {shlex.quote(str(_script(props)))}".replace("%", r"\%")


def _replace_line(props: dict[str, Any], line: str | None) -> None:
    """Replace the line of a stack and target in the crontab, or remove it; other lines stay as they are."""
    with file_lock(cache_directory() / "crontab.lock", "Another stack changes the crontab."):
        before = _lines()
        others = [each for each in before if not each.endswith(_started(props))]
        after = others if line is None else [*others, line]
        if after == before:
            return
        finished = _crontab("-", stdin="".join(f"{each}\n" for each in after))
        if finished.returncode:
            raise UserError(f"{props['setting']}: crontab failed: {finished.stderr.strip()}")


def _lines() -> list[str]:
    """Return the lines of this user's crontab.

    Raises:
        UserError: the crontab cannot be read. A new one would replace what it has.
    """
    if shutil.which("crontab") is None:
        raise UserError(f"the crontab of {_computer()} cannot be read: no program crontab is on PATH")
    finished = _crontab("-l")
    if finished.returncode == 0:
        return finished.stdout.removesuffix("\n").split("\n") if finished.stdout else []
    if any(part in finished.stderr for part in EMPTY):
        return []
    raise UserError(f"the crontab of {_computer()} cannot be read: {finished.stderr.strip()}")


def _crontab(argument: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run crontab. Its lines may have any bytes."""
    return subprocess.run(["crontab", argument], input=stdin, capture_output=True, text=True, errors="surrogateescape")
