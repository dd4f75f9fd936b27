"""A summary of a stack's outputs for a person."""

from __future__ import annotations

import json
import shlex
import textwrap
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from settings.metrics import MAIN_METRICS
from tools.cli.cluster_access import CLUSTER_DOMAIN

WIDTH = 100
"""Columns of a line. Commands to copy have line breaks that a shell understands."""
TIMEOUT_SECONDS = 3
TRAINING_PAGE = "/#/experiments?workflowType=machine_learning"
"""MLflow's page of training runs; its default page is for language models."""
PAGES = {
    "door": "all pages and models",
    "tracking": "runs and models",
    "ui": "pipelines and runs",
    "monitoring": "metrics and alerts",
}
"""Content of the pages whose addresses are outputs, by the first part of the outputs' names."""
HIDDEN_VALUES = {"state", "run_id", "artifacts", "log", "decision", "deployed", "version", "gate"}
"""Values of a run that have a separate line, or that only programs read."""


def summary(stack: str, outputs: Mapping[str, Any]) -> str:
    """Return a text on the stack's cluster, pipelines, models and addresses, and the next commands.

    Args:
        stack: the stack's name.
        outputs: the stack's outputs with masked secrets.
    """
    return "\n".join(_lines(stack, outputs))


def wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines, broken at spaces to at most WIDTH columns; further lines are indented."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        yield from textwrap.wrap(
            line,
            WIDTH,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _lines(stack: str, outputs: Mapping[str, Any]) -> Iterator[str]:
    pipelines = {name: value for name, value in outputs.items() if isinstance(value, dict) and "state" in value}
    services = [value for name, value in sorted(outputs.items()) if name.endswith("_service")]
    if "model" in outputs:
        services.insert(0, {"model": outputs["model"], "score_url": outputs.get("score_url")})
    option = "" if stack == "dev" else f" STACK={stack}"
    yield f"Stack {stack}"
    if "nodes" in outputs:
        yield from wrapped(_cluster(outputs, option))
    for name, run in pipelines.items():
        yield from wrapped(_pipeline(name, run, option))
    for service in services:
        yield from _service(service, option)
    for page, content in PAGES.items():
        if url := outputs.get(f"{page}_url"):
            yield f"  {content}: {_page(url + TRAINING_PAGE if page == 'tracking' else url, option)}"
        if (login := f"{page}_login") in outputs:
            yield f"    user and password: make outputs{option} ARGS='{login} --show-secrets'"
    yield "Next"
    commands = {
        "status": "this summary",
        "outputs": "all outputs as JSON",
        "preview": "changes of the next `make up`",
        "down": "destroy the stack",
    }
    for command, description in commands.items():
        yield f"  {f'make {command}{option}':<{len(f'make outputs{option}')}}  {description}"


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
    yield f"    make kubectl{option} ARGS='get pods -A'"
    yield f"    make ssh{option} NODE={outputs['nodes'][0]['name']}"


def _pipeline(output: str, run: Mapping[str, Any], option: str) -> Iterator[str]:
    values = {key: value for key, value in run.items() if key not in HIDDEN_VALUES}
    locations = [key for key, value in values.items() if isinstance(value, str) and "/" in value]
    shown = [f"{key.replace('_', ' ')} {_formatted(value)}" for key, value in values.items() if key not in locations]
    yield f"  pipeline {output.replace('_', '-')}: {', '.join([run['state'], *shown])}"
    if run.get("gate"):
        yield f"    gate: {run['gate']}"
    if run.get("decision"):
        yield f"    {run['decision']}"
    if locations:
        # Too long for a line, and a URI of the cluster's object store is no address that opens here.
        names = ", ".join(key.replace("_", " ") for key in locations)
        yield f"    {names}: make outputs{option} ARGS={output}"
    if run["state"] != "SUCCEEDED" and run.get("log"):
        yield f"    log: {run['log'].replace(str(Path.home()), '~')}"


def _service(service: Mapping[str, Any], option: str) -> Iterator[str]:
    model, url = service["model"], service.get("score_url")
    if not model["version"]:
        yield f"  model {model['name']}: no version has passed its gate yet"
    else:
        yield (
            f"  model {model['name']}: version {model['version']} ({model['alias']}), "
            f"{_scores(model)}, SHA-256 {model['sha256'][:12]}"
        )
    if url:
        yield f"    page: {_page(url.removesuffix('score'), option)}"
        if not _is_in_cluster(url) and (example := _example(url)) is not None:
            yield f"    curl -s {url} -H 'Content-Type: application/json' \\"
            yield from _data_option(example)


def _scores(model: Mapping[str, Any]) -> str:
    """Return the main metric of a champion, such as `accuracy 0.967`."""
    return ", ".join(f"{name} {_formatted(model[name])}" for name in MAIN_METRICS.values() if name in model)


def _page(url: str, option: str) -> str:
    """Return the URL, or the command that makes the page of a cluster available on this computer."""
    return f"make pages{option}" if _is_in_cluster(url) else url


def _is_in_cluster(url: str) -> bool:
    return str(urlsplit(url).hostname).endswith(CLUSTER_DOMAIN)


def _data_option(example: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of curl's option -d, with line breaks between the items of the JSON object."""
    *items, last = [json.dumps({name: value})[1:-1] for name, value in example.items()]
    text = shlex.quote("{" + "\n".join([*(f"{item}," for item in items), last]) + "}")
    line = "      -d "
    for number, part in enumerate(text.split("\n")):
        if number and len(line) + 1 + len(part) > WIDTH:
            yield line
            line = "        "
        elif number:
            line += " "
        line += part
    yield line


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
