"""Stand-in for Kubeflow Pipelines, ML Metadata and the API server of a cluster.

It checks each field of a request body against the models of kfp's own client. An unknown field fails the test. The
API server stores ConfigMaps and Secrets. A test sets the executions in ML Metadata.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import grpc
import kfp_server_api as kfp
import yaml
from mlplatform.engine_config import KubeflowEngineConfig

from tests.stand_ins import kubeconfig
from workloads.engines.kubeflow import metadata_pb2 as messages

NAMESPACE = "kubeflow"
KINDS = {
    "pipelines": (kfp.V2beta1Pipeline, "pipeline_id", "pipelines"),
    "versions": (kfp.V2beta1PipelineVersion, "pipeline_version_id", "pipeline_versions"),
    "experiments": (kfp.V2beta1Experiment, "experiment_id", "experiments"),
    "runs": (kfp.V2beta1Run, "run_id", "runs"),
    "recurringruns": (kfp.V2beta1RecurringRun, "recurring_run_id", "recurringRuns"),
}
"""Model of each resource, the field with its id, and the field of a list response."""


def config_for(url: str, folder: Path) -> KubeflowEngineConfig[str]:
    """Return the configuration of an engine whose API server has the URL and whose files are in the folder."""
    return KubeflowEngineConfig(
        kubeconfig=kubeconfig(url),
        namespace=NAMESPACE,
        api_selector="app=ml-pipeline",
        api_port=8888,
        metadata_selector="app=metadata",
        metadata_port=8080,
        experiment="dev",
        keep_runs=True,
        directory=str(folder),
    )


@dataclass
class StandIn:
    """State of the stand-in; `statuses` are the HTTP statuses of its next responses by method and path."""

    resources: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Objects of the API server by `<kind>/<name>`."""
    pods: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """Logs by the pod's name; each line starts with its time."""
    message: str = ""
    """Message of the workflow."""
    executions: list[messages.Execution] = field(default_factory=list)
    events: list[messages.Event] = field(default_factory=list)
    artifacts: list[messages.Artifact] = field(default_factory=list)
    states: list[str] = field(default_factory=lambda: ["RUNNING", "SUCCEEDED"])
    """States of a run: one for each request, then always the last."""
    finished_at: str | None = None
    statuses: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path with query of all requests."""
    bodies: list[str] = field(default_factory=list)
    """Bodies of the requests to Kubeflow Pipelines."""
    errors: list[str] = field(default_factory=list)
    url: str = ""
    metadata_address: str = ""

    def find(self, kind: str) -> list[dict[str, Any]]:
        return list(self.resources[kind].values())

    def store(self, kind: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Store a resource with a new id and return it."""
        _, id_field, _ = KINDS[kind]
        number = sum(len(of_kind) for of_kind in self.resources.values()) + 1
        created = {**content, **more, id_field: f"{kind}-{number}", "created_at": "2026-11-25T10:00:00Z"}
        self.resources[kind][created[id_field]] = created
        return created


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Yield a listening stand-in; an invalid request fails the test at its end."""
    backend = StandIn()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"backend": backend}))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    metadata = grpc.server(ThreadPoolExecutor(2))
    metadata.add_generic_rpc_handlers((_metadata_service(backend),))
    backend.url = f"http://127.0.0.1:{http.server_address[1]}"
    backend.metadata_address = f"127.0.0.1:{metadata.add_insecure_port('127.0.0.1:0')}"
    metadata.start()
    try:
        yield backend
    finally:
        http.shutdown()
        http.server_close()
        metadata.stop(None)
    assert backend.errors == []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend: StandIn

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.backend.requests.append((self.command, self.path))
        try:
            if instead := self.backend.statuses.get((self.command, url.path)):
                self._answer(instead.pop(0), {"message": "in another way"})
            elif url.path.startswith("/apis/v2beta1/"):
                self.backend.bodies.append(body.decode())
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                self._answer(*self._pipelines(url.path.removeprefix("/apis/v2beta1/"), query, body))
            else:
                self._answer(*self._kubernetes(url.path, body))
        except Exception as error:  # the test reports every error
            self.backend.errors.append(f"{self.command} {self.path}: {error!r}")
            self._answer(400, {"message": str(error)})

    do_GET = do_POST = do_PUT = do_DELETE = handle_request

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _pipelines(self, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        backend = self.backend
        if path == "pipelines/upload_version":
            text = re.search(rb"\r\n\r\n(.*)\r\n--", body, re.DOTALL)
            assert text, body
            first, *more = yaml.safe_load_all(text[1].decode())
            spec = {"pipeline_spec": first, "platform_spec": more[0]} if more else first
            content = {"name": query["name"], "display_name": query["display_name"], "pipeline_spec": spec}
            return 200, backend.store("versions", content, pipeline_id=query["pipelineid"])
        if found := re.fullmatch(r"pipelines/names/(.+)", path):
            named = [pipeline for pipeline in backend.find("pipelines") if pipeline["name"] == found[1]]
            return (200, named[0]) if named else (404, {"message": "no such pipeline"})
        if found := re.fullmatch(r"pipelines/([^/]+)/versions(?:/(.+))?", path):
            return self._resource("versions", found[2], query, body, {"pipeline_id": found[1]})
        if found := re.fullmatch(r"runs/(.+):terminate", path):
            backend.resources["runs"][found[1]]["state"] = "CANCELED"
            return 200, {}
        kind, _, id_ = path.partition("/")
        return self._resource(kind, id_, query, body, {})

    def _resource(
        self, kind: str, id_: str | None, query: Mapping[str, str], body: bytes, among: dict[str, str]
    ) -> tuple[int, Any]:
        model, _, listed = KINDS[kind]
        stored = self.backend.resources[kind]
        if self.command == "POST":
            content = json.loads(body)
            require_known(content, model)
            return 200, self.backend.store(kind, content)
        if not id_:
            if name := query.get("filter"):
                (predicate,) = json.loads(unquote_plus(name))["predicates"]
                require_known(predicate, kfp.V2beta1Predicate)
                assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
                among = {**among, "display_name": predicate["string_value"]}
            if "experiment_id" in query:
                among = {**among, "experiment_id": query["experiment_id"]}
            return 200, {listed: [each for each in stored.values() if among.items() <= each.items()]}
        if id_ not in stored:
            return 404, {"message": f"no {kind} {id_}"}
        if self.command == "DELETE":
            del stored[id_]
            return 200, {}
        if kind == "runs" and stored[id_].get("state") != "CANCELED":
            stored[id_]["state"] = self.backend.states[0]
            stored[id_]["finished_at"] = self.backend.finished_at
            del self.backend.states[: len(self.backend.states) > 1]
        return 200, stored[id_]

    def _kubernetes(self, path: str, body: bytes) -> tuple[int, Any]:
        backend = self.backend
        if path.endswith("/workflows"):
            return 200, {"items": [{"status": {"message": backend.message}}]}
        if found := re.search(r"/pods/(.+)/log$", path):
            return 200, backend.logs.get(found[1], "")
        if path.endswith("/pods"):
            return 200, {"kind": "PodList", "items": backend.pods}
        found = re.fullmatch(rf"/api/v1/namespaces/{NAMESPACE}/(configmaps|secrets)(?:/(.+))?", path)
        assert found, path
        if self.command == "GET" and not found[2]:
            _, _, selector = self.path.partition("labelSelector=")
            name, _, value = unquote_plus(selector).partition("=")
            objects = [each for key, each in backend.objects.items() if key.startswith(f"{found[1]}/")]
            return 200, {"items": [each for each in objects if each["metadata"]["labels"].get(name) == value]}
        content = json.loads(body) if body and self.command in ("POST", "PUT") else {}
        name = f"{found[1]}/{found[2] or content['metadata']['name']}"
        if (self.command == "POST") == (name in backend.objects):
            return (409 if name in backend.objects else 404), {"message": name}
        if self.command == "DELETE":
            del backend.objects[name]
            return 200, {"status": "Success"}
        if content:
            backend.objects[name] = content
        return 200, backend.objects[name]


def require_known(content: Any, model: Any) -> None:
    """Fail on a field that a model of kfp's client does not have, however deep."""
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, value in content.items():
        assert key in names, f"{model.__name__} has no field {key}"
        inner = getattr(kfp, model.openapi_types[names[key]], None)
        if inner and inner.attribute_map and isinstance(value, dict):
            require_known(value, inner)


def _metadata_service(backend: StandIn) -> grpc.GenericRpcHandler:
    def context(request: Any, _: Any) -> Any:
        assert request.type_name == "system.PipelineRun"
        stored = request.context_name in backend.resources["runs"] and backend.executions
        return messages.GetContextByTypeAndNameResponse(context=messages.Context(id=7) if stored else None)

    def executions(request: Any, _: Any) -> Any:
        """Return a page of at most two executions."""
        first = int(request.options.next_page_token or 0)
        more = str(first + 2) if first + 2 < len(backend.executions) else None
        page = backend.executions[first : first + 2]
        return messages.GetExecutionsByContextResponse(executions=page, next_page_token=more)

    def events(request: Any, _: Any) -> Any:
        return messages.GetEventsByExecutionIDsResponse(
            events=[event for event in backend.events if event.execution_id in request.execution_ids]
        )

    def artifacts(request: Any, _: Any) -> Any:
        return messages.GetArtifactsByIDResponse(
            artifacts=[artifact for artifact in backend.artifacts if artifact.id in request.artifact_ids]
        )

    methods = {
        "GetContextByTypeAndName": (context, messages.GetContextByTypeAndNameRequest),
        "GetExecutionsByContext": (executions, messages.GetExecutionsByContextRequest),
        "GetEventsByExecutionIDs": (events, messages.GetEventsByExecutionIDsRequest),
        "GetArtifactsByID": (artifacts, messages.GetArtifactsByIDRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
        )
        for name, (answer, request) in methods.items()
    }
    return grpc.method_handlers_generic_handler("ml_metadata.MetadataStoreService", handlers)
