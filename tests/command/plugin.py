"""A client of the plugin's process, which prints a port and serves gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from airgap.stand_ins.protocol.property_values import Properties, decode, encode

EXECUTABLE = Path(__file__).resolve().parents[2] / "airgap" / "stand_ins" / "command" / "pulumi-resource-command"
LOCAL, REMOTE = "command:local:Command", "command:remote:Command"
COPY_TO_REMOTE, COPY_FILE = "command:remote:CopyToRemote", "command:remote:CopyFile"

_DIFF = provider_pb2.DiffResponse
_PROPERTY_DIFF = provider_pb2.PropertyDiff


def urn(token: str, name: str = "thing") -> str:
    return f"urn:pulumi:stack::project::my:component:Type${token}::{name}"


class RecordingEngine(engine_pb2_grpc.EngineServicer):
    """An engine that records log messages."""

    def __init__(self) -> None:
        self.logged: list[engine_pb2.LogRequest] = []
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        engine_pb2_grpc.add_EngineServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Log(self, request: engine_pb2.LogRequest, context: Any) -> Any:
        self.logged.append(request)
        return empty_pb2.Empty()

    def lines(self, name: str) -> list[str]:
        """Return the messages of the resource `name`."""
        return [request.message for request in self.logged if request.urn.endswith(f"::{name}")]

    def stop(self) -> None:
        self._server.stop(grace=None)


class Refused(Exception):
    """An error response of the plugin."""


@dataclass
class Plugin:
    """A running plugin and the engine that it logs to."""

    engine: RecordingEngine = field(default_factory=RecordingEngine)
    environment: dict[str, str] = field(default_factory=dict)
    executable: Path = EXECUTABLE

    def __enter__(self) -> Plugin:
        variables = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        self.process = subprocess.Popen(
            [self.executable, "--logflow", self.engine.address],
            env=variables | {"PULUMI_RUNTIME_VIRTUALENV": sys.prefix} | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        address = f"127.0.0.1:{int(self.process.stdout.readline())}"
        channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self.stub = provider_pb2_grpc.ResourceProviderStub(channel)
        return self

    def __exit__(self, *_: object) -> None:
        self.end_input()
        self.process.wait(60)
        self.engine.stop()

    def end_input(self) -> None:
        """Close standard input, as the death of the engine does."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def call(self, method: str, request: Any) -> Any:
        """Call a method; raise Refused with the details of an error."""
        try:
            return getattr(self.stub, method)(request)
        except grpc.RpcError as error:
            raise Refused(f"{error.code().name}: {error.details()}") from None

    def check(self, token: str, inputs: Properties) -> tuple[Properties, dict[str, str]]:
        """Return checked inputs, and reasons of faults by property."""
        request = provider_pb2.CheckRequest(urn=urn(token), news=encode(inputs))
        response = self.call("Check", request)
        return decode(response.inputs), {failure.property: failure.reason for failure in response.failures}

    def diff(self, token: str, old: Properties, new: Properties) -> dict[str, str]:
        """Return kinds of changes by property path."""
        request = provider_pb2.DiffRequest(urn=urn(token), old_inputs=encode(old), olds=encode(old), news=encode(new))
        response = self.call("Diff", request)
        assert response.changes == (_DIFF.DIFF_SOME if response.detailedDiff else _DIFF.DIFF_NONE)
        kinds = {path: _PROPERTY_DIFF.Kind.Name(change.kind) for path, change in response.detailedDiff.items()}
        assert bool(response.replaces) == any(kind.endswith("REPLACE") for kind in kinds.values())
        return kinds

    def create(
        self, token: str, inputs: Properties, name: str = "thing", preview: bool = False, timeout: float = 0
    ) -> Properties:
        """Return the outputs, with the id under `id`."""
        response = self.call(
            "Create",
            provider_pb2.CreateRequest(
                urn=urn(token, name), properties=encode(inputs), preview=preview, timeout=timeout
            ),
        )
        return decode(response.properties) | {"id": response.id}

    def update(
        self, token: str, state: Properties, inputs: Properties, name: str = "thing", preview: bool = False
    ) -> Properties:
        request = provider_pb2.UpdateRequest(
            urn=urn(token, name), id="id", olds=encode(state), news=encode(inputs), preview=preview
        )
        return decode(self.call("Update", request).properties)

    def delete(self, token: str, state: Properties, name: str = "thing") -> None:
        request = provider_pb2.DeleteRequest(urn=urn(token, name), id="id", properties=encode(state))
        self.call("Delete", request)

    def run(self, arguments: Properties) -> tuple[Properties, dict[str, str]]:
        """Call the function `command:local:run`; return its result, and reasons of faults by argument."""
        request = provider_pb2.InvokeRequest(tok="command:local:run", args=encode(arguments))
        response = self.call("Invoke", request)
        failures = {failure.property: failure.reason for failure in response.failures}
        return decode(getattr(response, "return")), failures

    def cancel(self) -> None:
        self.call("Cancel", empty_pb2.Empty())
