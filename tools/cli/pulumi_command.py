"""The Pulumi CLI, run on one stack."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tools.bootstrap import paths
from tools.bootstrap.paths import PROJECT
from tools.bootstrap.process import temporary_folder
from tools.cli import backend
from tools.cli.stale_locks import recorded, remove_stale_locks
from tools.cli.terminal.status_lines import status_lines

HINTS = {
    "no stack named": "it was never brought up here; run `make up STACK={stack}`",
    "incorrect passphrase": (
        "{file} was written with a different passphrase than the current one (PULUMI_CONFIG_PASSPHRASE, "
        "PULUMI_CONFIG_PASSPHRASE_FILE or, without both, {cache}/passphrase). Restore that passphrase. If neither the "
        "file nor the stack's state holds anything to keep, delete the file instead"
    ),
}
"""Advice for an error, by a part of Pulumi's message."""


class PulumiError(Exception):
    """A failed command of the CLI: its message, and advice where there is any."""


@dataclass(frozen=True)
class Pulumi:
    """The `pulumi` program in the checkout, for one stack."""

    stack: str
    """The name as the user gives it, as in `dev` or `organization/project/dev`."""

    @property
    def name(self) -> str:
        """The name without organization and project, which names files and folders."""
        return self.stack.rpartition("/")[2]

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment of this process with the variables of the backend."""
        return os.environ | backend.variables(os.environ)

    @property
    def backend(self) -> backend.Backend:
        """The backend that keeps the stack's state."""
        return backend.selected(self.environment) or backend.Backend("")

    def select(self, *options: str) -> None:
        """Select the stack, and remove the lock of a killed run.

        Raises:
            StackBusy: another Pulumi is working on the stack.
        """
        self.output("stack", "select", *options)
        if (directory := self.backend.directory) is not None:
            remove_stale_locks(directory, self.name)

    def output(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command without showing its output, and return it.

        Args:
            *arguments: the command and its options.
            stdin: the text that the command reads; None for the input of this process.

        Raises:
            PulumiError: The command failed.
        """
        finished = self.execute(*arguments, stdin=stdin)
        if finished.returncode:
            raise self.error(arguments, finished)
        return finished.stdout

    def execute(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command without showing its output, and return its result also when it fails.

        Args:
            *arguments: the command and its options.
            stdin: the text that the command reads; None for the input of this process.
            **environment: additional variables.
        """
        with temporary_folder() as folder:
            return subprocess.run(
                self._command(arguments),
                cwd=PROJECT,
                env={**self.environment, **folder, **environment},
                input=stdin,
                capture_output=True,
                text=True,
            )

    def error(self, arguments: Sequence[str], finished: subprocess.CompletedProcess[str]) -> PulumiError:
        """Return the error of a command that failed, with advice where there is any."""
        output = (finished.stderr + finished.stdout).strip().removeprefix("error: ")
        hints = [f"; {hint}" for part, hint in HINTS.items() if part in output]
        return PulumiError(f"`pulumi {' '.join(arguments)}` failed: {output}" + self._formatted("".join(hints)))

    def run(self, *arguments: str) -> int:
        """Run a command on this terminal and return its exit code.

        Pulumi handles Ctrl-C and SIGTERM itself: it finishes the operations that have begun. Afterwards, both have the
        meaning of before.
        """
        # Before the start, so that Ctrl-C cannot end only this process.
        interrupt = signal.signal(signal.SIGINT, lambda *_: None)
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            with status_lines() as variables, temporary_folder() as folder:
                environment = {**self.environment, **variables, **folder}
                process = subprocess.Popen(self._command(arguments), cwd=PROJECT, env=environment)
                signal.signal(signal.SIGTERM, lambda *_: process.terminate())
                with recorded(process.pid):
                    code = process.wait()
        finally:
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, terminate)
        return code if code >= 0 else 128 - code  # a shell's exit code for a signal

    def _formatted(self, hint: str) -> str:
        file = PROJECT / ".stacks" / f"Pulumi.{self.name}.yaml"
        return hint.format(stack=self.stack, file=file, cache=paths.cache_directory())

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return ["pulumi", *arguments, "--stack", self.stack]
