"""The steps of the bootstrap, in order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tools.bootstrap import azurite, environment, paths, pulumi_cli, stacks
from tools.bootstrap.console import SetupError, file_failure, log_message
from tools.bootstrap.file_lock import file_lock


def install_tools(arguments: Sequence[str]) -> int:
    """Install the missing tools and return the exit code."""
    parser = argparse.ArgumentParser(prog="tools.bootstrap")
    parser.add_argument("--stack", help="a stack that must exist")
    stack = parser.parse_args(arguments).stack
    cache = paths.cache_directory()
    try:
        if stack is not None:
            stacks.require_stack(stack)
        with file_lock(cache / "bootstrap.lock", "Waiting for another bootstrap to finish."):
            environment.install_environment()
            azurite.install_azurite()
            pulumi_cli.install_pulumi_cli()
    except (SetupError, stacks.UnknownStack) as error:
        log_message(f"Error: {error}")
        return 1
    except OSError as error:
        log_message(f"Error: {file_failure(error)}")
        return 1
    except KeyboardInterrupt:
        log_message("Interrupted. The next run continues after the last finished step.")
        return 130
    log_message(f"The tools are installed in {cache}.")
    return 0
