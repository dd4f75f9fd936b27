"""The open inference protocol over gRPC, on a separate port.

gRPC does not survive a fork: import this module only in the process that serves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import grpc
from google.protobuf.message import Message

from model_server.catalog import ModelCatalog
from model_server.errors import RequestError
from model_server.http.routes import SERVER
from model_server.rpc import open_inference_pb2 as messages
from model_server.rpc.inference_messages import read_request, write_response
from model_server.settings import ServerSettings
from model_server.telemetry import Telemetry

SERVICE = "inference.GRPCInferenceService"
THREADS = 8
STATUSES = {
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""gRPC's status of errors by their HTTP status; INVALID_ARGUMENT for the others."""
Method = Callable[[Any], Message]
logger = logging.getLogger(__name__)


def start_grpc_server(settings: ServerSettings, catalog: ModelCatalog, telemetry: Telemetry) -> grpc.Server:
    """Serve in threads; the servers of several workers share the port.

    Raises:
        RuntimeError: the port cannot be opened.
    """
    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
        options=[("grpc.so_reuseport", 1), ("grpc.max_receive_message_length", settings.max_body_bytes)],
        maximum_concurrent_rpcs=settings.max_bodies,
    )
    server.add_generic_rpc_handlers((_service(catalog, telemetry),))
    host = f"[{settings.host}]" if settings.host.version == 6 else str(settings.host)
    server.add_insecure_port(f"{host}:{settings.grpc_port}")
    server.start()
    return server


def _service(catalog: ModelCatalog, telemetry: Telemetry) -> grpc.GenericRpcHandler:
    methods: dict[str, tuple[type[Message], Method]] = {
        "ServerLive": (messages.ServerLiveRequest, lambda _: messages.ServerLiveResponse(live=True)),
        "ServerReady": (
            messages.ServerReadyRequest,
            lambda _: messages.ServerReadyResponse(ready=catalog.ready),
        ),
        "ServerMetadata": (messages.ServerMetadataRequest, lambda _: _server_metadata()),
        "ModelReady": (messages.ModelReadyRequest, lambda request: _model_ready(catalog, request)),
        "ModelMetadata": (messages.ModelMetadataRequest, lambda request: _model_metadata(catalog, request)),
        "ModelInfer": (messages.ModelInferRequest, lambda request: _model_infer(catalog, request)),
    }
    handlers: dict[str, grpc.RpcMethodHandler[Any, Message]] = {
        name: grpc.unary_unary_rpc_method_handler(
            _measured(f"/{SERVICE}/{name}", method, telemetry),
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, (request, method) in methods.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _server_metadata() -> messages.ServerMetadataResponse:
    return messages.ServerMetadataResponse(
        name=SERVER["name"], version=SERVER["version"], extensions=SERVER["extensions"]
    )


def _model_ready(catalog: ModelCatalog, request: messages.ModelReadyRequest) -> messages.ModelReadyResponse:
    catalog.find(request.name).served(request.version or None)
    return messages.ModelReadyResponse(ready=True)


def _model_metadata(catalog: ModelCatalog, request: messages.ModelMetadataRequest) -> messages.ModelMetadataResponse:
    content = catalog.find(request.name).metadata(request.version or None)
    del content["parameters"]
    return messages.ModelMetadataResponse(**content)


def _model_infer(catalog: ModelCatalog, request: messages.ModelInferRequest) -> messages.ModelInferResponse:
    plane = catalog.find(request.model_name)
    served = plane.served(request.model_version or None)
    return write_response(*plane.infer_decoded(served, read_request(request)))


def _measured(path: str, method: Method, telemetry: Telemetry) -> Callable[[Any, grpc.ServicerContext], Message]:
    """Return the handler of a method, which maps errors to gRPC's and records each call."""

    def handle(request: Any, context: grpc.ServicerContext) -> Message:
        started, status = perf_counter(), 200
        try:
            return method(request)
        except Exception as error:  # as the routes do
            if isinstance(error, RequestError):
                fault = error
            else:
                logger.error("a call failed inside the server", exc_info=error)
                fault = RequestError(500, "internal", "the server failed; see its log")
            status = fault.status
            row = "" if fault.row is None else f" (row {fault.row})"
            context.abort(STATUSES.get(status, grpc.StatusCode.INVALID_ARGUMENT), f"{fault}{row}")
            raise AssertionError("abort raises") from None
        finally:
            telemetry.record_request((path, "POST", str(status)), perf_counter() - started)

    return handle
