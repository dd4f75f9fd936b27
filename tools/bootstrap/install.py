"""The steps of a bootstrap, in their order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tools.bootstrap import azurite, environment, paths, pulumi_cli, stacks
from tools.bootstrap.console import BootstrapError, say


def install(arguments: Sequence[str]) -> int:
    """Install what is missing. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="tools.bootstrap")
    parser.add_argument("--stack")
    stack = parser.parse_args(arguments).stack
    try:
        if stack is not None:
            stacks.require(stack)
        with paths.locked(paths.directory() / "bootstrap.lock", "Another bootstrap is at work; waiting for its end."):
            environment.install()
            azurite.install()
            pulumi_cli.install()
    except (BootstrapError, stacks.UnknownStack) as error:
        say(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        say("Interrupted; the next run goes on from the last step that was finished.")
        return 130
    say(f"The tools are in place ({paths.directory()}).")
    return 0
