"""The engine's log, which shows on the line of a resource while it is worked on."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class Engine:
    """The engine at `address` (host:port), or none."""

    def __init__(self, address: str = "") -> None:
        self._stub: engine_pb2_grpc.EngineStub | None = None
        if address:
            self.attach(address)

    def attach(self, address: str) -> None:
        self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]))

    def log(self, severity: engine_pb2.LogSeverity.ValueType, message: str, urn: str, ephemeral: bool) -> None:
        """An `ephemeral` message shows while the resource is worked on, and not in the summary."""
        if self._stub is None:
            return
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral)
        try:
            self._stub.Log(request)
        except grpc.RpcError:
            self._stub = None  # the engine has gone: what it began is about to be ended


@dataclass(frozen=True)
class Log:
    """The log of one resource."""

    engine: Engine
    urn: str

    def status(self, message: str) -> None:
        self.engine.log(engine_pb2.INFO, message, self.urn, ephemeral=True)

    def debug(self, message: str) -> None:
        self.engine.log(engine_pb2.DEBUG, message, self.urn, ephemeral=False)

    def warning(self, message: str) -> None:
        self.engine.log(engine_pb2.WARNING, message, self.urn, ephemeral=False)

    def error(self, message: str) -> None:
        self.engine.log(engine_pb2.ERROR, message, self.urn, ephemeral=False)
