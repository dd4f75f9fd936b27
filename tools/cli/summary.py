"""A summary of a stack's outputs for a person."""

from __future__ import annotations

import json
import shlex
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

TIMEOUT_SECONDS = 3
TRAINING_PAGE = "/#/experiments?workflowType=machine_learning"
"""MLflow's page of training runs; its default page is for language models."""
HIDDEN_VALUES = {"state", "run_id", "artifacts", "log", "decision", "deployed", "version"}
"""Values of a run that have a separate line, or that only programs read."""


def summary(stack: str, outputs: Mapping[str, Any]) -> str:
    """Return a text on the stack's cluster, pipelines, models and addresses, and the next commands.

    Args:
        stack: the stack's name.
        outputs: the stack's outputs with masked secrets.
    """
    return "\n".join(_lines(stack, outputs))


def _lines(stack: str, outputs: Mapping[str, Any]) -> Iterator[str]:
    pipelines = {name: value for name, value in outputs.items() if isinstance(value, dict) and "state" in value}
    services = [value for name, value in sorted(outputs.items()) if name.endswith("_service")]
    if "model" in outputs:
        services.insert(0, {"model": outputs["model"], "score_url": outputs.get("score_url")})
    option = "" if stack == "dev" else f" STACK={stack}"
    yield f"Stack {stack}"
    if "nodes" in outputs:
        yield from _cluster(outputs, option)
    for name, run in pipelines.items():
        yield from _pipeline(name.replace("_", "-"), run)
    for service in services:
        yield from _service(service)
    if "tracking_url" in outputs:
        yield f"  runs and models: {outputs['tracking_url']}{TRAINING_PAGE}"
    if "tracking_login" in outputs:
        yield f"    user and password: make outputs{option} ARGS='tracking_login --show-secrets'"
    if "ui_url" in outputs:
        yield f"  pipelines and runs: {outputs['ui_url']}"
        yield f"    user and password: make outputs{option} ARGS='ui_login --show-secrets'"
    if "monitoring_url" in outputs:
        yield f"  metrics and alerts: {outputs['monitoring_url']}"
        yield f"    user and password: make outputs{option} ARGS='monitoring_login --show-secrets'"
    if any(str(url).partition("://")[2].partition(":")[0].endswith(".svc") for url in outputs.values()):
        yield f"  addresses that end in .svc: make pages{option} forwards them to this computer"
    yield f"Next: make outputs{option} (as JSON), make status{option} (this page), make down{option} (destroy)"


def _cluster(outputs: Mapping[str, Any], option: str) -> Iterator[str]:
    yield f"  cluster {outputs['api_endpoint']}"
    for node in outputs["nodes"]:
        yield f"    {node['name']}: {node['role']}, {node['address']}, {node['version']}"
    for name in ("storage_class", "registry_url", "certificates_expire"):
        if name in outputs:
            yield f"    {name.replace('_', ' ')}: {outputs[name]}"
    if network := outputs.get("network"):
        encryption = "encrypted" if network["encrypted"] else "not encrypted"
        policies = "enforced" if network["network_policies"] else "not enforced"
        yield f"    network: {network['name']}, {encryption}; network policies are {policies}"
    yield f"    make kubectl{option} ARGS='get pods -A', make ssh{option} NODE={outputs['nodes'][0]['name']}"


def _pipeline(name: str, run: Mapping[str, Any]) -> Iterator[str]:
    values = [f"{key.replace('_', ' ')} {_formatted(value)}" for key, value in run.items() if key not in HIDDEN_VALUES]
    yield f"  pipeline {name}: {run['state']}" + (f", {', '.join(values)}" if values else "")
    if run.get("decision"):
        yield f"    {run['decision']}"
    if run["state"] != "SUCCEEDED" and run.get("log"):
        yield f"    log: {run['log']}"


def _service(service: Mapping[str, Any]) -> Iterator[str]:
    model, url = service["model"], service.get("score_url")
    if not model["version"]:
        yield f"  model {model['name']}: no version has passed its gate yet"
    else:
        yield (
            f"  model {model['name']}: version {model['version']} ({model['alias']}), "
            f"accuracy {_formatted(model['accuracy'])}, SHA-256 {model['sha256'][:12]}"
        )
    if url:
        yield f"    page: {url.removesuffix('score')}"
        if (example := _example(url)) is not None:
            yield f"    curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(example))}"


def _formatted(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _example(score_url: str) -> Any:
    """Return the example row of the model server's OpenAPI description, None if it does not respond."""
    try:
        with urllib.request.urlopen(
            f"{score_url.removesuffix('score')}openapi.json", timeout=TIMEOUT_SECONDS
        ) as response:
            paths = json.load(response)["paths"]
        return paths["/score"]["post"]["requestBody"]["content"]["application/json"]["example"]
    except (OSError, ValueError, KeyError):
        return None
