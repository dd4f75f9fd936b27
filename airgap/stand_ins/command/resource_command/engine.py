"""The engine's log, shown on the line of a resource while an operation on it runs."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class EngineClient:
    """A client of the engine at `address` (host:port); without an address, log messages are dropped."""

    def __init__(self, address: str = "") -> None:
        self._stub: engine_pb2_grpc.EngineStub | None = None
        if address:
            self.attach(address)

    def attach(self, address: str) -> None:
        """Send all further log messages to the engine at `address`."""
        self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]))

    def log(self, severity: engine_pb2.LogSeverity.ValueType, message: str, urn: str, ephemeral: bool) -> None:
        """Log a message; an `ephemeral` one shows while the operation runs, and not in the summary."""
        if self._stub is None:
            return
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral)
        try:
            self._stub.Log(request)
        except grpc.RpcError:
            self._stub = None  # the engine has exited, so this process stops soon


@dataclass(frozen=True)
class ResourceLog:
    """The log of one resource."""

    engine: EngineClient
    urn: str

    def status(self, message: str) -> None:
        """Show a message until the operation ends."""
        self.engine.log(engine_pb2.INFO, message, self.urn, ephemeral=True)

    def warning(self, message: str) -> None:
        """Log a warning."""
        self.engine.log(engine_pb2.WARNING, message, self.urn, ephemeral=False)

    def error(self, message: str) -> None:
        """Log an error."""
        self.engine.log(engine_pb2.ERROR, message, self.urn, ephemeral=False)
