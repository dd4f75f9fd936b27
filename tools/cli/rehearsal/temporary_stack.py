"""A stack for the time of a drill or a rehearsal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tools.bootstrap.console import log_message
from tools.bootstrap.paths import PROJECT
from tools.cli.backup.contents.local_data import stack_folder
from tools.cli.pulumi_command import Pulumi

NO_SETTINGS = "config: {}\n"
Down = Callable[[Pulumi], int]
"""Function that destroys a stack, and returns the exit code."""


@contextmanager
def temporary_stack(name: str, down: Down) -> Iterator[Pulumi]:
    """Yield a new stack without settings; remove it with its data and its file at the end.

    Args:
        name: the name of the stack. A stack of this name that a killed command left is removed first.
        down: destroys the stack.
    """
    stack = Pulumi(name)
    file = PROJECT / f"Pulumi.{stack.name}.yaml"
    with ExitStack() as cleanup:
        file.write_text(NO_SETTINGS)
        cleanup.callback(file.unlink, missing_ok=True)
        stack.output("stack", "select", "--create")
        if stack_folder(stack.name).exists():
            log_message(f"An earlier command was killed: removing its stack {name}")
            down(stack)
            shutil.rmtree(stack_folder(stack.name), ignore_errors=True)
        cleanup.callback(shutil.rmtree, stack_folder(stack.name), ignore_errors=True)
        cleanup.callback(_remove, stack, down)
        yield stack


def _remove(stack: Pulumi, down: Down) -> None:
    if down(stack) == 0:
        stack.output("stack", "rm", "--yes")
