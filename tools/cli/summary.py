"""What a stack has, told to a person: from `pulumi stack output --json` to a page of text."""

from __future__ import annotations

import json
import shlex
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

ANSWER_SECONDS = 3
TRAINING_PAGES = "/#/experiments?workflowType=machine_learning"
"""MLflow's pages otherwise open with those for language models."""
TECHNICAL = {"state", "run_id", "artifacts", "log", "decision", "deployed", "version"}
"""Outputs of a pipeline that are told otherwise, or are for programs."""


def summary(stack: str, outputs: Mapping[str, Any]) -> str:
    """A few lines on pipelines, models, addresses and how to go on."""
    return "\n".join(_lines(stack, outputs))


def _lines(stack: str, outputs: Mapping[str, Any]) -> Iterator[str]:
    pipelines = {name: value for name, value in outputs.items() if isinstance(value, dict) and "state" in value}
    services = [value for name, value in sorted(outputs.items()) if name.endswith("_service")]
    if "model" in outputs:
        services.insert(0, {"model": outputs["model"], "score_url": outputs.get("score_url")})
    choice = "" if stack == "dev" else f" STACK={stack}"
    yield f"Stack {stack}"
    if "nodes" in outputs:
        yield from _cluster(outputs, choice)
    for name, run in pipelines.items():
        yield from _pipeline(name.replace("_", "-"), run)
    for service in services:
        yield from _service(service)
    if "tracking_url" in outputs:
        yield f"  runs and models: {outputs['tracking_url']}{TRAINING_PAGES}"
    if "tracking_login" in outputs:
        yield f"    user and password: make outputs{choice} ARGS='tracking_login --show-secrets'"
    if "ui_url" in outputs:
        yield f"  pipelines and runs: {outputs['ui_url']}"
        yield f"    user and password: make outputs{choice} ARGS='ui_login --show-secrets'"
    if "monitoring_url" in outputs:
        yield f"  state of all, alerts: {outputs['monitoring_url']}"
        yield f"    user and password: make outputs{choice} ARGS='monitoring_login --show-secrets'"
    if any(str(url).partition("://")[2].partition(":")[0].endswith(".svc") for url in outputs.values()):
        yield f"  addresses that end in .svc: make pages{choice} brings them to this computer"
    yield f"Go on: make outputs{choice} (as JSON), make status{choice} (this page), make down{choice} (ends it all)"


def _cluster(outputs: Mapping[str, Any], choice: str) -> Iterator[str]:
    yield f"  cluster {outputs['api_endpoint']}"
    for node in outputs["nodes"]:
        yield f"    {node['name']}: {node['role']}, {node['address']}, {node['version']}"
    for name in ("storage_class", "registry_url", "certificates_expire"):
        if name in outputs:
            yield f"    {name.replace('_', ' ')}: {outputs[name]}"
    if network := outputs.get("network"):
        kind = "encrypted" if network["encrypted"] else "in clear"
        policies = "enforced" if network["network_policies"] else "not enforced"
        yield f"    network: {network['name']}, {kind}; network policies are {policies}"
    yield f"    make kubectl{choice} ARGS='get pods -A', make ssh{choice} NODE={outputs['nodes'][0]['name']}"


def _pipeline(name: str, run: Mapping[str, Any]) -> Iterator[str]:
    values = [f"{key.replace('_', ' ')} {_shown(value)}" for key, value in run.items() if key not in TECHNICAL]
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
            f"accuracy {_shown(model['accuracy'])}, SHA-256 {model['sha256'][:12]}"
        )
    if url:
        yield f"    its page: {url.removesuffix('score')}"
        if (example := _example(url)) is not None:
            yield f"    curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(example))}"


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _example(score_url: str) -> Any:
    """The row that the model server's own description gives as an example; none where it does not answer."""
    try:
        with urllib.request.urlopen(f"{score_url.removesuffix('score')}openapi.json", timeout=ANSWER_SECONDS) as answer:
            paths = json.load(answer)["paths"]
        return paths["/score"]["post"]["requestBody"]["content"]["application/json"]["example"]
    except (OSError, ValueError, KeyError):
        return None
