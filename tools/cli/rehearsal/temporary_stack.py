"""A stack for the time of a drill or a rehearsal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from infra.errors import UserError
from tools.bootstrap.atomic_install import replace_file
from tools.bootstrap.console import log_message
from tools.bootstrap.file_lock import LockIsHeld, file_lock
from tools.bootstrap.paths import PROJECT, cache_directory
from tools.cli.backup.contents.local_data import stack_folder
from tools.cli.pulumi_command import Pulumi

MARK = "# A drill or a rehearsal writes this file, and deletes it with the stack.\n"
"""First line of the settings of a temporary stack. A stack without it is that of a person."""
Down = Callable[[Pulumi], int]
"""Function that destroys a stack, and returns the exit code."""


@contextmanager
def temporary_stack(name: str, down: Down) -> Iterator[Pulumi]:
    """Yield a new stack without settings; remove it with its data and its file at the end.

    Args:
        name: the name of the stack. A stack of this name that a killed command left is removed first.
        down: destroys the stack.

    Raises:
        UserError: a person has a stack of this name, another command uses it, or it cannot be removed.
    """
    stack = Pulumi(name)
    try:
        with file_lock(cache_directory() / "backups" / f"{stack.name}.lock"):
            _remove_killed(stack, down)
            write_marked_settings(stack, {})
            try:
                stack.output("stack", "select", "--create")
                yield stack
            finally:
                if not _remove(stack, down):
                    log_message(f"The temporary stack {name} is left; the next command that needs it removes it.")
    except LockIsHeld:
        raise UserError(f"another command uses the temporary stack {name}; wait for its end") from None


def write_marked_settings(stack: Pulumi, settings: Mapping[str, Any]) -> None:
    """Write the settings of a temporary stack by `namespace:name` to its file."""
    replace_file(_file(stack), MARK + yaml.safe_dump({"config": dict(settings)}))


def _remove_killed(stack: Pulumi, down: Down) -> None:
    """Remove a stack that a killed command left.

    Raises:
        UserError: the stack is that of a person, or it cannot be removed.
    """
    file = _file(stack)
    if file.exists() and file.read_text().startswith(MARK):
        log_message(f"An earlier command was killed: removing its stack {stack.stack}")
        if not _remove(stack, down):
            raise UserError(
                f"the stack {stack.stack} of an earlier command could not be removed, see the messages above. Repair "
                f"the cause and try again, or run `make down STACK={stack.stack}`"
            )
        return
    found = [str(each) for each in (file, PROJECT / ".stacks" / file.name, stack_folder(stack.name)) if each.exists()]
    if stack.execute("stack", "select").returncode == 0:
        found.append(f"a state of the stack {stack.stack}")
    if found:
        raise UserError(
            f"a temporary stack with the name {stack.stack} is needed, and a stack of yours has this name: found "
            f"{', '.join(found)}. Rename your stack. If you do not need it, run `make down STACK={stack.stack}` and "
            f"`pulumi stack rm {stack.stack}`, and delete these files"
        )


def _remove(stack: Pulumi, down: Down) -> bool:
    """Remove a stack with its data and its file, and return True; return False if it could not be destroyed.

    The file goes last: as long as anything is left, the mark says whose it is.
    """
    stack.output("stack", "select", "--create")
    if down(stack):
        return False
    stack.output("stack", "rm", "--yes")
    shutil.rmtree(stack_folder(stack.name), ignore_errors=True)
    _file(stack).unlink()
    return True


def _file(stack: Pulumi) -> Path:
    return PROJECT / f"Pulumi.{stack.name}.yaml"
