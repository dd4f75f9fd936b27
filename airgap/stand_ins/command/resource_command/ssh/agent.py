"""The keys of an SSH agent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paramiko
from paramiko.agent import AgentSSH

from airgap.stand_ins.command.resource_command.errors import OperationFailed


@contextmanager
def agent_keys(path: str) -> Iterator[tuple[paramiko.PKey, ...]]:
    """Yield the keys of the agent at the socket `path`, usable within the block; none where `path` is empty.

    Raises:
        OperationFailed: no agent answers at the path.
    """
    if not path:
        yield ()
        return
    # Paramiko's public class reads the agent's path from the environment only.
    agent: Any = AgentSSH()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            agent._connect(connection)
        except (OSError, paramiko.SSHException) as error:
            raise OperationFailed(f"the SSH agent at {path}: {error}") from error
        yield agent.get_keys()
