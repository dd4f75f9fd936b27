"""The policy pack as a process that the engine calls over gRPC."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import grpc
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from tests.harness import CHECKOUT

PACK = CHECKOUT / "policies"


class Pack:
    def __enter__(self) -> Pack:
        self._process = subprocess.Popen([sys.executable, "-u", PACK], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        channel = grpc.insecure_channel(f"127.0.0.1:{int(self._process.stdout.readline())}")
        self._stub = analyzer_pb2_grpc.AnalyzerStub(channel)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def violations(self, kind: str, properties: dict[str, Any]) -> dict[str, list[str]]:
        """Return the violations of mandatory policies by a resource, by the policy's name."""
        struct = struct_pb2.Struct()
        struct.update(properties)
        urn = f"urn:pulumi:stack::project::{kind}::thing"
        answer = self._stub.Analyze(analyzer_pb2.AnalyzeRequest(urn=urn, type=kind, name="thing", properties=struct))
        found: dict[str, list[str]] = {}
        for diagnostic in answer.diagnostics:
            assert diagnostic.enforcementLevel == analyzer_pb2.MANDATORY, diagnostic.message
            found.setdefault(diagnostic.policyName, []).append(diagnostic.message)
        return found
