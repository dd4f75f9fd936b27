"""Pulumi's provider protocol for the resource types of this package."""

# ruff: noqa: D102 - provider.proto documents the methods

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from airgap.stand_ins.command.resource_command.command_resource import invocation
from airgap.stand_ins.command.resource_command.engine import EngineClient, ResourceLog
from airgap.stand_ins.command.resource_command.errors import OperationFailed
from airgap.stand_ins.command.resource_command.inputs import preview_inputs
from airgap.stand_ins.command.resource_command.inputs.diff import Change, diff
from airgap.stand_ins.command.resource_command.inputs.fields import LOCAL_RUN
from airgap.stand_ins.command.resource_command.inputs.validation import validate
from airgap.stand_ins.command.resource_command.local import local_command as local_command
from airgap.stand_ins.command.resource_command.operation import Operation, Operations
from airgap.stand_ins.command.resource_command.resource_schema import VERSION, schema
from airgap.stand_ins.command.resource_command.resource_types import LOCAL_RUN_TOKEN, RESOURCES, ResourceType, Updatable
from airgap.stand_ins.protocol.property_values import decode, encode
from airgap.stand_ins.protocol.requests import abort, check_failures, resource_name, resource_type

_FRAMEWORK = {"__pulumi-go-provider-version": "1.2.0"}
"""An entry that the official provider adds to its configuration in the state. Without it, every switch between the two
providers would show as an update of the provider."""

_KINDS = {
    Change.ADD: (provider_pb2.PropertyDiff.ADD, provider_pb2.PropertyDiff.ADD_REPLACE),
    Change.DELETE: (provider_pb2.PropertyDiff.DELETE, provider_pb2.PropertyDiff.DELETE_REPLACE),
    Change.UPDATE: (provider_pb2.PropertyDiff.UPDATE, provider_pb2.PropertyDiff.UPDATE_REPLACE),
}


class CommandProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The command provider of one engine. A failed operation ends its call with a gRPC error that holds the message."""

    def __init__(self, engine: EngineClient, operations: Operations) -> None:
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
        inputs, faults = validate(resource.fields, decode(request.news), token)
        return provider_pb2.CheckResponse(
            inputs=encode(inputs), failures=check_failures(faults or resource.check(inputs))
        )

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        _, resource = _resource(request.urn, context)
        changes = diff(decode(request.old_inputs), decode(request.news))
        replacing = {path for path in changes if _replaces(resource, path)}
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({_input_name(path) for path in changes}),
            replaces=sorted({_input_name(path) for path in replacing}),
            detailedDiff={
                path: provider_pb2.PropertyDiff(kind=_KINDS[change][path in replacing])
                for path, change in changes.items()
            },
            hasDetailedDiff=True,
        )

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        _, resource = _resource(request.urn, context)
        inputs = decode(request.properties)
        identifier = resource.identify(resource_name(request.urn), request.preview)
        if request.preview:
            outputs = preview_inputs.create_outputs(name for name, field in resource.outputs.items() if field.required)
        else:
            with self._operation(request, context) as operation:
                outputs = resource.create(inputs, operation)
        return provider_pb2.CreateResponse(id=identifier, properties=encode(inputs | outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        token, resource = _resource(request.urn, context)
        if not isinstance(resource, Updatable):
            abort(context, grpc.StatusCode.UNIMPLEMENTED, f"Update is not implemented for {token}")
        state, inputs = decode(request.olds), decode(request.news)
        outputs = {name: value for name, value in state.items() if name in resource.outputs}
        if request.preview:
            outputs = preview_inputs.update_outputs(resource.fields, outputs, state, inputs)
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
            abort(context, grpc.StatusCode.NOT_FOUND, f"Invoke '{request.tok}' not found")
        arguments, faults = validate(LOCAL_RUN, decode(request.args), request.tok)
        if faults:
            return provider_pb2.InvokeResponse(failures=check_failures(faults))
        with self._operation(None, context) as operation:
            outputs = local_command.run_local_command(invocation(arguments["command"], arguments, {}), operation)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(arguments | outputs))
        return response

    def Cancel(self, request: Any, context: Any) -> Any:
        self._operations.cancel()
        return empty_pb2.Empty()

    @contextmanager
    def _operation(self, request: Any, context: Any) -> Iterator[Operation]:
        """Yield an operation for a request (Create, Update, Delete or None). A failure ends the call."""
        log = ResourceLog(self._engine, request.urn if request else "")
        try:
            with self._operations.run(log, request.timeout if request else 0) as operation:
                yield operation
        except OperationFailed as error:
            abort(context, grpc.StatusCode.UNKNOWN, str(error))

    def _unimplemented(self, request: Any, context: Any) -> NoReturn:
        abort(context, grpc.StatusCode.UNIMPLEMENTED, "this provider has no components, methods or parameters")

    Construct = Call = Parameterize = GetMapping = GetMappings = _unimplemented


def _resource(urn: str, context: Any) -> tuple[str, ResourceType]:
    """Return the token of a URN's type, and the type."""
    token = resource_type(urn)
    if token not in RESOURCES:
        abort(context, grpc.StatusCode.NOT_FOUND, f"Resource '{token}' not found")
    return token, RESOURCES[token]


def _replaces(resource: ResourceType, path: str) -> bool:
    """Return True if a change at `path` replaces the resource.

    A change inside the triggers replaces too, but by an option that the SDKs set.
    """
    return not isinstance(resource, Updatable) or (path in resource.fields and resource.fields[path].replaces)


def _input_name(path: str) -> str:
    return re.split(r"[.\[]", path)[0]
