"""Stands in for Kubeflow Pipelines where there is no cluster: takes what the engine asks if the real one could read it.

Every body is held against the models of kfp's own client, field by field; unknown ones are a failure of the test. The
API server of Kubernetes keeps ConfigMaps and secrets, the metadata are those that a test lays down.
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
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import grpc
import kfp_server_api as kfp
import yaml

from workloads.engines.kubeflow import metadata_pb2 as messages

NAMESPACE = "kubeflow"
KINDS = {
    "pipelines": (kfp.V2beta1Pipeline, "pipeline_id", "pipelines"),
    "versions": (kfp.V2beta1PipelineVersion, "pipeline_version_id", "pipeline_versions"),
    "experiments": (kfp.V2beta1Experiment, "experiment_id", "experiments"),
    "runs": (kfp.V2beta1Run, "run_id", "runs"),
    "recurringruns": (kfp.V2beta1RecurringRun, "recurring_run_id", "recurringRuns"),
}
"""The model of each resource, the field with its id and the one that it is listed in."""


@dataclass
class StandIn:
    """What it has; `answers` are HTTP statuses that it gives instead of its next ones, by method and path."""

    resources: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of Kubernetes, by `<kind>/<name>`."""
    pods: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """By the pod's name, each line after its time."""
    message: str = ""
    """Of the workflow."""
    executions: list[messages.Execution] = field(default_factory=list)
    events: list[messages.Event] = field(default_factory=list)
    artifacts: list[messages.Artifact] = field(default_factory=list)
    states: list[str] = field(default_factory=lambda: ["RUNNING", "SUCCEEDED"])
    """Of each run, one after the other as it is asked for."""
    finished_at: str | None = None
    answers: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path with its query of all that was asked."""
    bodies: list[str] = field(default_factory=list)
    """Of what Kubeflow Pipelines was asked."""
    faults: list[str] = field(default_factory=list)
    url: str = ""
    metadata_address: str = ""

    def find(self, kind: str) -> list[dict[str, Any]]:
        return list(self.resources[kind].values())

    def keep(self, kind: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Make a resource of that content, with an id."""
        _, id_field, _ = KINDS[kind]
        number = sum(len(of_kind) for of_kind in self.resources.values()) + 1
        made = {**content, **more, id_field: f"{kind}-{number}", "created_at": "2026-11-25T10:00:00Z"}
        self.resources[kind][made[id_field]] = made
        return made


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """One that listens; what was wrong with a request fails the test at its end."""
    it = StandIn()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"it": it}))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    metadata = grpc.server(ThreadPoolExecutor(2))
    metadata.add_generic_rpc_handlers((_metadata_service(it),))
    it.url = f"http://127.0.0.1:{http.server_address[1]}"
    it.metadata_address = f"127.0.0.1:{metadata.add_insecure_port('127.0.0.1:0')}"
    metadata.start()
    try:
        yield it
    finally:
        http.shutdown()
        http.server_close()
        metadata.stop(None)
    assert it.faults == []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    it: StandIn

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.it.asked.append((self.command, self.path))
        try:
            if instead := self.it.answers.get((self.command, url.path)):
                self._answer(instead.pop(0), {"message": "in another way"})
            elif url.path.startswith("/apis/v2beta1/"):
                self.it.bodies.append(body.decode())
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                self._answer(*self._pipelines(url.path.removeprefix("/apis/v2beta1/"), query, body))
            else:
                self._answer(*self._kubernetes(url.path, body))
        except Exception as error:  # whatever it is, it stands in the test's report
            self.it.faults.append(f"{self.command} {self.path}: {error!r}")
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
        it = self.it
        if path == "pipelines/upload_version":
            text = re.search(rb"\r\n\r\n(.*)\r\n--", body, re.DOTALL)
            assert text, body
            first, *more = yaml.safe_load_all(text[1].decode())
            spec = {"pipeline_spec": first, "platform_spec": more[0]} if more else first
            content = {"name": query["name"], "display_name": query["display_name"], "pipeline_spec": spec}
            return 200, it.keep("versions", content, pipeline_id=query["pipelineid"])
        if found := re.fullmatch(r"pipelines/names/(.+)", path):
            named = [pipeline for pipeline in it.find("pipelines") if pipeline["name"] == found[1]]
            return (200, named[0]) if named else (404, {"message": "no such pipeline"})
        if found := re.fullmatch(r"pipelines/([^/]+)/versions(?:/(.+))?", path):
            return self._resource("versions", found[2], query, body, {"pipeline_id": found[1]})
        if found := re.fullmatch(r"runs/(.+):terminate", path):
            it.resources["runs"][found[1]]["state"] = "CANCELED"
            return 200, {}
        kind, _, id_ = path.partition("/")
        return self._resource(kind, id_, query, body, {})

    def _resource(
        self, kind: str, id_: str | None, query: Mapping[str, str], body: bytes, among: dict[str, str]
    ) -> tuple[int, Any]:
        model, _, listed = KINDS[kind]
        there = self.it.resources[kind]
        if self.command == "POST":
            content = json.loads(body)
            require_known(content, model)
            return 200, self.it.keep(kind, content)
        if not id_:
            if name := query.get("filter"):
                (predicate,) = json.loads(unquote_plus(name))["predicates"]
                require_known(predicate, kfp.V2beta1Predicate)
                assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
                among = {**among, "display_name": predicate["string_value"]}
            if "experiment_id" in query:
                among = {**among, "experiment_id": query["experiment_id"]}
            return 200, {listed: [each for each in there.values() if among.items() <= each.items()]}
        if id_ not in there:
            return 404, {"message": f"no {kind} {id_}"}
        if self.command == "DELETE":
            del there[id_]
            return 200, {}
        if kind == "runs" and there[id_].get("state") != "CANCELED":
            there[id_]["state"] = self.it.states[0]
            there[id_]["finished_at"] = self.it.finished_at
            del self.it.states[: len(self.it.states) > 1]
        return 200, there[id_]

    def _kubernetes(self, path: str, body: bytes) -> tuple[int, Any]:
        it = self.it
        if path.endswith("/workflows"):
            return 200, {"items": [{"status": {"message": it.message}}]}
        if found := re.search(r"/pods/(.+)/log$", path):
            return 200, it.logs.get(found[1], "")
        if path.endswith("/pods"):
            return 200, {"kind": "PodList", "items": it.pods}
        found = re.fullmatch(rf"/api/v1/namespaces/{NAMESPACE}/(configmaps|secrets)(?:/(.+))?", path)
        assert found, path
        content = json.loads(body) if body and self.command in ("POST", "PUT") else {}
        name = f"{found[1]}/{found[2] or content['metadata']['name']}"
        if (self.command == "POST") == (name in it.objects):
            return (409 if name in it.objects else 404), {"message": name}
        if self.command == "DELETE":
            del it.objects[name]
            return 200, {"status": "Success"}
        if content:
            it.objects[name] = content
        return 200, it.objects[name]


def require_known(content: Any, model: Any) -> None:
    """Fail on a field that a model of kfp's client does not have, however deep."""
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, value in content.items():
        assert key in names, f"{model.__name__} has no field {key}"
        inner = getattr(kfp, model.openapi_types[names[key]], None)
        if inner and inner.attribute_map and isinstance(value, dict):
            require_known(value, inner)


def _metadata_service(it: StandIn) -> grpc.GenericRpcHandler:
    def context(request: Any, _: Any) -> Any:
        assert request.type_name == "system.PipelineRun"
        there = request.context_name in it.resources["runs"] and it.executions
        return messages.GetContextByTypeAndNameResponse(context=messages.Context(id=7) if there else None)

    def executions(request: Any, _: Any) -> Any:
        """A page of two at most."""
        first = int(request.options.next_page_token or 0)
        more = str(first + 2) if first + 2 < len(it.executions) else None
        page = it.executions[first : first + 2]
        return messages.GetExecutionsByContextResponse(executions=page, next_page_token=more)

    def events(request: Any, _: Any) -> Any:
        return messages.GetEventsByExecutionIDsResponse(
            events=[event for event in it.events if event.execution_id in request.execution_ids]
        )

    def artifacts(request: Any, _: Any) -> Any:
        return messages.GetArtifactsByIDResponse(
            artifacts=[artifact for artifact in it.artifacts if artifact.id in request.artifact_ids]
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
