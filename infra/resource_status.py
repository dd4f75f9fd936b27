"""Status of resources whose operation takes minutes, from the process of the dynamic providers to the user."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

STATUS_VARIABLE = "MLPLATFORM_STATUS_SOCKET"
"""Environment variable of `make up` on a terminal: the socket that takes the status lines of a resource as JSON."""
TIMEOUT_SECONDS = 5


def log_status(resource: str, message: str) -> None:
    """Show a message in the row of a resource in Pulumi's output, in a pipe as a line.

    A message that does not reach the CLI is lost, because the operation matters more than its messages.

    Args:
        resource: the URN of the resource.
        message: one line of text.
    """
    from grpc import RpcError
    from pulumi.runtime.proto import engine_pb2

    request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=resource, ephemeral=True)
    with suppress(RpcError):
        _engine().Log(request, timeout=TIMEOUT_SECONDS)


def has_status_lines() -> bool:
    """Return True if the terminal shows the newest status lines of each resource."""
    return STATUS_VARIABLE in os.environ


def show_status_lines(resource: str, lines: Sequence[str]) -> None:
    """Show lines on the terminal in place of the last ones of the resource."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_SECONDS)
        client.sendto(json.dumps([resource, list(lines)]).encode(), os.environ[STATUS_VARIABLE])


@cache
def _engine() -> Any:
    """Return the engine of the CLI, which passes its address to each provider process as the last argument."""
    import grpc
    from pulumi.runtime.proto import engine_pb2_grpc

    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[-1]))
