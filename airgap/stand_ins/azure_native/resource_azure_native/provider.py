"""Pulumi's provider protocol, as far as a preview needs it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from . import sdk
from .check import check
from .values import decode, unknown

ASKED_NOTHING = (
    f"Azure is not asked anything: this is a stand-in for the plugin azure-native {sdk.VERSION}, which checks inputs "
    "against the SDK's types"
)
REFUSED = (
    f"this is a stand-in for the plugin azure-native {sdk.VERSION}, good for previews alone. The official one comes "
    "with Pulumi's own CLI (https://www.pulumi.com/docs/install): where its download site can be reached, `make tools` "
    f"brings that CLI, which fetches the plugin itself (or: pulumi plugin install resource azure-native {sdk.VERSION})"
)


class PreviewProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Serves the engine at the address `engine`, or none."""

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
            stub.Log(engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=ASKED_NOTHING))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, acceptResources=True, acceptOutputs=True, supportsPreview=True
        )

    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        expected = _resource(request.urn, context).inputs
        failures = check(expected, decode(request.news))
        return provider_pb2.CheckResponse(
            inputs=request.news,
            failures=[provider_pb2.CheckFailure(property=fault.path, reason=fault.reason) for fault in failures],
        )

    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        """Which inputs changed. Whether Azure takes a change in place or needs a new resource, it does not know."""
        old, new = decode(request.old_inputs), decode(request.news)
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
        )

    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        self._require_preview(request, context)
        return provider_pb2.CreateResponse(properties=_planned(request.urn, request.properties, context))

    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        self._require_preview(request, context)
        return provider_pb2.UpdateResponse(properties=_planned(request.urn, request.news, context))

    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)

    def Invoke(self, request: provider_pb2.InvokeRequest, context: Any) -> NoReturn:
        """The engine only asks where all arguments are known, which they are of things that are there already."""
        _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"{request.tok} has to ask Azure, but {REFUSED}")

    def Delete(self, request: Any, context: Any) -> NoReturn:
        _abort(context, grpc.StatusCode.UNIMPLEMENTED, REFUSED)

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def _require_preview(self, request: Any, context: Any) -> None:
        if not request.preview:
            _abort(context, grpc.StatusCode.UNIMPLEMENTED, REFUSED)


def _planned(urn: str, given: struct_pb2.Struct, context: Any) -> struct_pb2.Struct:
    """The outputs of a resource that gets these inputs: simple ones among them, and all else not known yet."""
    described = _resource(urn, context)
    planned = unknown(described.outputs)
    for name in described.echoed & given.fields.keys():
        planned.fields[name].CopyFrom(given.fields[name])
    return planned


def _resource(urn: str, context: Any) -> sdk.Resource:
    try:
        return sdk.resource(urn.split("::", 3)[2].rsplit("$")[-1])
    except sdk.NotInSdk as error:
        _abort(context, grpc.StatusCode.NOT_FOUND, str(error))


def _abort(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    context.abort(code, text)
    raise AssertionError("abort raises")
