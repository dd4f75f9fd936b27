"""The Pulumi CLI at work on one stack."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tools import backend
from tools.cache import PROJECT


class PulumiFailed(Exception):
    """A command of the CLI failed; the message is what it said."""


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
        finished = subprocess.run(
            self._command(arguments), cwd=PROJECT, env=self.environment, capture_output=True, text=True
        )
        if finished.returncode:
            said = (finished.stderr + finished.stdout).strip().removeprefix("error: ")
            raise PulumiFailed(f"`pulumi {' '.join(arguments)}` failed: {said}")
        return finished.stdout

    def run(self, *arguments: str) -> int:
        """Run a command in the user's sight and return its exit code. Pulumi itself answers Ctrl-C: it ends in good order."""
        process = subprocess.Popen(self._command(arguments), cwd=PROJECT, env=self.environment)
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return ["pulumi", *arguments, "--stack", self.stack]
