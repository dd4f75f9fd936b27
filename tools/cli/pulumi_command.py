"""The Pulumi CLI at work on one stack."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tools.bootstrap import paths
from tools.bootstrap.paths import PROJECT
from tools.cli import backend

HINTS = {
    "no stack named": "it has not been up here; `make up STACK={stack}` brings it up",
    "incorrect passphrase": (
        "{file} was written with another passphrase than yours is now (PULUMI_CONFIG_PASSPHRASE, "
        "PULUMI_CONFIG_PASSPHRASE_FILE or, with neither, {cache}/passphrase). Bring that one back; or, where neither "
        "that file nor the stack's state holds anything to keep, delete the file"
    ),
}
"""What to do about it, by a part of what Pulumi says."""


class PulumiFailed(Exception):
    """A command of the CLI failed; the message is what it said, and what can be done about it."""


@dataclass(frozen=True)
class Pulumi:
    """Runs `pulumi` in the checkout for the stack named `stack`."""

    stack: str

    @cached_property
    def environment(self) -> Mapping[str, str]:
        return os.environ | backend.variables(os.environ)

    @property
    def backend(self) -> backend.Backend:
        return backend.chosen(self.environment) or backend.Backend("")

    def check(self, *arguments: str) -> str:
        """Run a command quietly and return its output.

        Raises:
            PulumiFailed: with the CLI's own message.
        """
        finished = self.answer(*arguments)
        if finished.returncode:
            raise self.failure(arguments, finished)
        return finished.stdout

    def answer(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command quietly, with further variables in its environment, however it ends."""
        return subprocess.run(
            self._command(arguments),
            cwd=PROJECT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
        )

    def failure(self, arguments: Sequence[str], finished: subprocess.CompletedProcess[str]) -> PulumiFailed:
        """What a command that failed said, and what can be done about it."""
        said = (finished.stderr + finished.stdout).strip().removeprefix("error: ")
        hints = [f"; {hint}" for sign, hint in HINTS.items() if sign in said]
        return PulumiFailed(f"`pulumi {' '.join(arguments)}` failed: {said}" + self._filled("".join(hints)))

    def run(self, *arguments: str) -> int:
        """Run a command in the user's sight and return its exit code. Ctrl-C is Pulumi's to answer, in good order."""
        signal.signal(signal.SIGINT, lambda *_: None)  # before there is a Pulumi that could be interrupted
        process = subprocess.Popen(self._command(arguments), cwd=PROJECT, env=self.environment)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
        return code if code >= 0 else 128 - code  # as a shell tells of a signal

    def _filled(self, hint: str) -> str:
        file = PROJECT / ".stacks" / f"Pulumi.{self.stack}.yaml"
        return hint.format(stack=self.stack, file=file, cache=paths.directory())

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return ["pulumi", *arguments, "--stack", self.stack]
