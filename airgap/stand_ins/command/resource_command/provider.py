"""Pulumi's provider protocol, served for the resource types of this package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from . import local, preview
from .check import Failure, check
from .commands import job
from .diff import Change, diff
from .engine import Engine, Log
from .errors import Failed
from .fields import LOCAL_RUN
from .operation import Operation, Operations
from .resources import LOCAL_RUN_TOKEN, RESOURCES, Resource, Updatable
from .schema import VERSION, schema
from .values import decode, encode

_FRAMEWORK = {"__pulumi-go-provider-version": "1.2.0"}
"""What the official provider adds to its configuration in the state: without it, each change between the two providers
would show as an update of the provider."""

_KINDS = {
    Change.ADD: (provider_pb2.PropertyDiff.ADD, provider_pb2.PropertyDiff.ADD_REPLACE),
    Change.DELETE: (provider_pb2.PropertyDiff.DELETE, provider_pb2.PropertyDiff.DELETE_REPLACE),
    Change.UPDATE: (provider_pb2.PropertyDiff.UPDATE, provider_pb2.PropertyDiff.UPDATE_REPLACE),
}


class CommandProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one engine, whose log is `engine`. What a user can mend is a gRPC error of nothing but its text."""

    def __init__(self, engine: Engine, operations: Operations) -> None:
        self._engine = engine
        self._operations = operations

    def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True, accept_outputs=True)

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=schema())

    def Attach(self, request: plugin_pb2.PluginAttach, context: Any) -> Any:
        self._engine.attach(request.address)
        return empty_pb2.Empty()

    def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        request.news.update(_FRAMEWORK)
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, acceptResources=True, acceptOutputs=True, supportsPreview=True
        )

    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        token, resource = _resource(request.urn, context)
        inputs, failures = check(resource.fields, decode(request.news), token)
        return provider_pb2.CheckResponse(inputs=encode(inputs), failures=_failures(failures or resource.check(inputs)))

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        _, resource = _resource(request.urn, context)
        changes = diff(decode(request.old_inputs), decode(request.news))
        replacing = {path for path in changes if _replaces(resource, path)}
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({_input(path) for path in changes}),
            replaces=sorted({_input(path) for path in replacing}),
            detailedDiff={
                path: provider_pb2.PropertyDiff(kind=_KINDS[change][path in replacing])
                for path, change in changes.items()
            },
            hasDetailedDiff=True,
        )

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        _, resource = _resource(request.urn, context)
        inputs = decode(request.properties)
        identifier = resource.identify(request.urn.split("::", 3)[3], request.preview)
        if request.preview:
            outputs = preview.created(name for name, field in resource.outputs.items() if field.required)
        else:
            with self._operation(request, context) as operation:
                outputs = resource.create(inputs, operation)
        return provider_pb2.CreateResponse(id=identifier, properties=encode(inputs | outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        token, resource = _resource(request.urn, context)
        if not isinstance(resource, Updatable):
            _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"Update is not implemented for {token}")
        state, inputs = decode(request.olds), decode(request.news)
        outputs = {name: value for name, value in state.items() if name in resource.outputs}
        if request.preview:
            outputs = preview.updated(resource.fields, outputs, state, inputs)
        else:
            with self._operation(request, context) as operation:
                outputs |= resource.update(state, inputs, operation)
        return provider_pb2.UpdateResponse(properties=encode(inputs | outputs))

    def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> Any:
        _, resource = _resource(request.urn, context)
        with self._operation(request, context) as operation:
            resource.delete(decode(request.properties), operation)
        return empty_pb2.Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: Any) -> provider_pb2.InvokeResponse:
        if request.tok != LOCAL_RUN_TOKEN:
            _abort(context, grpc.StatusCode.NOT_FOUND, f"Invoke '{request.tok}' not found")
        arguments, failures = check(LOCAL_RUN, decode(request.args), request.tok)
        if failures:
            return provider_pb2.InvokeResponse(failures=_failures(failures))
        with self._operation(None, context) as operation:
            outputs = local.run(job(arguments["command"], arguments, {}), operation)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(arguments | outputs))
        return response

    def Cancel(self, request: Any, context: Any) -> Any:
        self._operations.cancel()
        return empty_pb2.Empty()

    @contextmanager
    def _operation(self, request: Any, context: Any) -> Iterator[Operation]:
        """An operation as `request` asks for it (a Create, Update or Delete). Failures end the call."""
        log = Log(self._engine, request.urn if request else "")
        try:
            with self._operations.run(log, request.timeout if request else 0) as operation:
                yield operation
        except Failed as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))

    def _unimplemented(self, request: Any, context: Any) -> NoReturn:
        _abort(context, grpc.StatusCode.UNIMPLEMENTED, "this provider has no components, methods or parameters")

    Construct = Call = Parameterize = GetMapping = GetMappings = _unimplemented


def _abort(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    context.abort(code, text)
    raise AssertionError("abort raises")


def _resource(urn: str, context: Any) -> tuple[str, Resource]:
    """The resource type of a URN: its token and what it does."""
    token = urn.split("::", 3)[2].rsplit("$")[-1]
    if token not in RESOURCES:
        _abort(context, grpc.StatusCode.NOT_FOUND, f"Resource '{token}' not found")
    return token, RESOURCES[token]


def _replaces(resource: Resource, path: str) -> bool:
    """Whether a change at `path` replaces. One within the triggers does by an option that the SDKs set, not by this."""
    return not isinstance(resource, Updatable) or (path in resource.fields and resource.fields[path].replaces)


def _input(path: str) -> str:
    return re.split(r"[.\[]", path)[0]


def _failures(failures: list[Failure]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=failure.property, reason=failure.reason) for failure in failures]
