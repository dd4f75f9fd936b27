"""The keys of an SSH agent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paramiko
from paramiko.agent import AgentSSH

from .errors import Failed


@contextmanager
def agent_keys(path: str) -> Iterator[tuple[paramiko.PKey, ...]]:
    """The keys that sign as long as the block lasts; none where `path` is empty. Raises Failed if it has no agent."""
    if not path:
        yield ()
        return
    # Paramiko's public class knows only the agent of the environment.
    agent: Any = AgentSSH()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            agent._connect(connection)
        except (OSError, paramiko.SSHException) as error:
            raise Failed(f"the SSH agent at {path}: {error}") from error
        yield agent.get_keys()
