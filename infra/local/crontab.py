"""A command of this project at regular times, by the crontab of the user who runs `pulumi up`."""

from __future__ import annotations

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

VARIABLES = (
    *("MLPLATFORM_CACHE", "PATH", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_CREDENTIALS_PATH"),
    "PULUMI_HOME",
)
"""Variables that a command needs and that cron does not set."""
SECRETS = {
    "PULUMI_CONFIG_PASSPHRASE": "PULUMI_CONFIG_PASSPHRASE_FILE, a file with the passphrase",
    "PULUMI_ACCESS_TOKEN": "`pulumi login`",
}
"""Secret variables, which a crontab must not have, and what replaces them."""
DAEMONS = {"cron", "crond", "busybox", "fcron", "systemd"}
"""Programs that run the commands of crontabs; systemd may do so by systemd-cron."""


class _ScheduleProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Update a line that has other times, or that names an old place of the checkout.

        On another computer, such as that of a preview in a pull request, the checkout is elsewhere.
        """
        moved = _olds["computer"] == socket.gethostname() and _olds["checkout"] != str(PROJECT)
        return DiffResult(changes=any_changed(_olds, _news, ("schedule", "target", "setting")) or moved)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["target"], props | _install(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_news | _install(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the line as deleted if this computer should have it and does not."""
        if props["computer"] == socket.gethostname() and props["line"] not in _read_crontab(props["setting"]):
            return ReadResult("", {})
        return ReadResult(id_, props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the line. On another computer, it stays, and `make` fails there because the stack is gone."""
        if _props["computer"] == socket.gethostname():
            _replace_line(_props["stack"], _props["target"], None, _props["setting"])
            _script(_props).unlink(missing_ok=True)


class ScheduledCommand(Resource, module="infra", name="ScheduledCommand"):
    """A line `make <target> STACK=<stack>` in the crontab of this user on this computer.

    Args:
        target: the target of the Makefile; each stack has one line for it.
        stack: the stack.
        schedule: five fields of cron, in the time zone of this computer.
        setting: the setting that chooses the times, for errors.

    Outputs:
        line: the line of the crontab.
        computer: the host name of the computer whose crontab has it.
        checkout: the folder of the Makefile.

    Raises (as a failed resource):
        UserError: this computer has no crontab, or the command would need a secret variable.
    """

    line: pulumi.Output[str]
    computer: pulumi.Output[str]
    checkout: pulumi.Output[str]

    def __init__(self, target: str, *, stack: str, schedule: str, setting: str) -> None:
        props = {"target": target, "stack": stack, "schedule": schedule, "setting": setting}
        outputs = {"line": None, "computer": None, "checkout": None}
        super().__init__(_ScheduleProvider(), f"{target}-schedule", {**props, **outputs})


def _install(props: dict[str, Any]) -> dict[str, str]:
    """Write the line into the crontab; return the outputs."""
    for name, replacement in SECRETS.items():
        if os.environ.get(name):
            raise UserError(f"{props['setting']}: cron does not know {name}; use {replacement}")
    _write_script(props)
    line = _line(props)
    _replace_line(props["stack"], props["target"], line, props["setting"])
    if not any(process.info["name"] in DAEMONS for process in psutil.process_iter(["name"])):
        pulumi.log.warn(f"{props['setting']}: no cron runs on this computer; start it, or nothing runs at these times")
    return {"line": line, "computer": socket.gethostname(), "checkout": str(PROJECT)}


def _line(props: dict[str, Any]) -> str:
    # cron ends a command at the first % without a backslash.
    script = shlex.quote(str(_script(props))).replace("%", r"\%")
    return f"{props['schedule']} /bin/sh {script} {_mark(props['stack'], props['target'])}"


def _script(props: dict[str, Any]) -> Path:
    return cache_directory() / "schedules" / f"{props['target']}-{props['stack']}.sh"


def _write_script(props: dict[str, Any]) -> None:
    """Write the command into a file: a line of a crontab may be too short for it."""
    log = cache_directory() / "logs" / f"{props['target']}-{props['stack']}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = [f"export {name}={shlex.quote(os.environ[name])}" for name in VARIABLES if os.environ.get(name)]
    command = f"exec make {shlex.quote(props['target'])} STACK={shlex.quote(props['stack'])}"
    lines = [*variables, f"exec >> {shlex.quote(str(log))} 2>&1", f"cd {shlex.quote(str(PROJECT))} || exit", command]
    file = _script(props)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def _mark(stack: str, target: str) -> str:
    return f"# mlplatform {target} {stack}"


def _replace_line(stack: str, target: str, line: str | None, setting: str) -> None:
    """Replace the line of a stack and target in the crontab, or remove it; other lines stay as they are."""
    with file_lock(cache_directory() / "crontab.lock", "Another stack changes the crontab."):
        before = _read_crontab(setting)
        others = [each for each in before if not each.endswith(_mark(stack, target))]
        after = others if line is None else [*others, line]
        if after != before:
            _run(["-"], setting, "".join(f"{each}\n" for each in after))


def _read_crontab(setting: str) -> list[str]:
    finished = _run(["-l"], setting)
    return finished.stdout.splitlines() if finished.returncode == 0 else []


def _run(arguments: list[str], setting: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which("crontab")
    if program is None:
        raise UserError(
            f"{setting}: this computer has no crontab; install cron, or remove the setting and call make otherwise"
        )
    finished = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True)
    if finished.returncode and "no crontab" not in finished.stderr:
        raise UserError(f"{setting}: crontab failed: {finished.stderr.strip()}")
    return finished
