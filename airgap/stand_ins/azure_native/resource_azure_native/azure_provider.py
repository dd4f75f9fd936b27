"""Pulumi's provider protocol, limited to the calls of a preview."""

# ruff: noqa: D102 - provider.proto documents the methods

from __future__ import annotations

import json
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from airgap.stand_ins.azure_native.resource_azure_native import sdk
from airgap.stand_ins.azure_native.resource_azure_native.azure_values import decode_inputs, unknown
from airgap.stand_ins.azure_native.resource_azure_native.check import check_inputs
from airgap.stand_ins.protocol.requests import abort, check_failures, resource_type

NO_REQUESTS = (
    f"Azure receives no requests: this stand-in for the plugin azure-native {sdk.VERSION} only checks inputs "
    "against the SDK's types"
)
PREVIEW_ONLY = (
    f"this stand-in for the plugin azure-native {sdk.VERSION} supports previews only. Deploy with the official plugin. "
    "On a computer that reaches Pulumi's download site, `make tools` installs the official CLI, which downloads it "
    f"(by hand: pulumi plugin install resource azure-native {sdk.VERSION})"
)


class PreviewProvider(provider_pb2_grpc.ResourceProviderServicer):
    """A provider for previews. It logs to the engine at the address `engine`, if one is given."""

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def Handshake(self, request: Any, context: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True, accept_outputs=True)

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=sdk.VERSION)

    def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "azure-native", "version": sdk.VERSION}))

    def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        if self._engine:
            stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._engine, [("grpc.enable_http_proxy", 0)]))
            stub.Log(engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=NO_REQUESTS))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, acceptResources=True, acceptOutputs=True, supportsPreview=True
        )

    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        expected = _resource(request.urn, context).inputs
        faults = check_inputs(expected, decode_inputs(request.news))
        return provider_pb2.CheckResponse(
            inputs=request.news,
            failures=check_failures(faults),
        )

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        """Return the changed inputs as an update; only Azure knows which changes replace a resource."""
        old, new = decode_inputs(request.old_inputs), decode_inputs(request.news)
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
        )

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        self._require_preview(request, context)
        return provider_pb2.CreateResponse(properties=_preview_outputs(request.urn, request.properties, context))

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        self._require_preview(request, context)
        return provider_pb2.UpdateResponse(properties=_preview_outputs(request.urn, request.news, context))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)

    def Invoke(self, request: provider_pb2.InvokeRequest, context: Any) -> NoReturn:
        """Refuse: the engine calls a function only with known arguments, and then the result is Azure's."""
        abort(context, grpc.StatusCode.UNIMPLEMENTED, f"{request.tok} needs a request to Azure, but {PREVIEW_ONLY}")

    def Delete(self, request: Any, context: Any) -> NoReturn:
        abort(context, grpc.StatusCode.UNIMPLEMENTED, PREVIEW_ONLY)

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def _require_preview(self, request: Any, context: Any) -> None:
        if not request.preview:
            abort(context, grpc.StatusCode.UNIMPLEMENTED, PREVIEW_ONLY)


def _preview_outputs(urn: str, inputs: struct_pb2.Struct, context: Any) -> struct_pb2.Struct:
    """Return the outputs of a preview: simple inputs are echoed, all others are unknown."""
    described = _resource(urn, context)
    outputs = unknown(described.outputs)
    for name in described.echoed & inputs.fields.keys():
        outputs.fields[name].CopyFrom(inputs.fields[name])
    return outputs


def _resource(urn: str, context: Any) -> sdk.ResourceSchema:
    try:
        return sdk.resource(resource_type(urn))
    except sdk.NotInSdk as error:
        abort(context, grpc.StatusCode.NOT_FOUND, str(error))
