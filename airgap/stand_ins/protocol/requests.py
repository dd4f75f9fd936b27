"""Requests and responses of `provider.proto` that every provider reads and writes in the same way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

import grpc
from pulumi.runtime.proto import provider_pb2


@dataclass(frozen=True)
class InputFault:
    """An invalid input: its property path and the reason."""

    path: str
    reason: str


def check_failures(faults: Iterable[InputFault]) -> list[provider_pb2.CheckFailure]:
    """Return the faults as messages of a check response."""
    return [provider_pb2.CheckFailure(property=fault.path, reason=fault.reason) for fault in faults]


def resource_type(urn: str) -> str:
    """Return the type token of a URN, without the types of its parents."""
    return urn.split("::", 3)[2].rsplit("$")[-1]


def resource_name(urn: str) -> str:
    """Return the resource name of a URN."""
    return urn.split("::", 3)[3]


def abort(context: grpc.ServicerContext, code: grpc.StatusCode, text: str) -> NoReturn:
    """End the call with a gRPC error that holds only `text`."""
    context.abort(code, text)
    raise AssertionError("abort raises")
