"""Rehearsal of an update: `make rehearse STACK=...` updates a temporary lab as the next `up` updates the stack."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from infra.errors import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.lab.requirements import require_root_and_tools
from settings.infra import InfraSettings
from tools.bootstrap.console import log_message
from tools.bootstrap.paths import PROJECT
from tools.cli.backup.fingerprint import score_urls
from tools.cli.backup.restore import Up
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import secret_outputs
from tools.cli.pulumi_command import Pulumi
from tools.cli.rehearsal.availability import WatchedService, watched
from tools.cli.rehearsal.last_deployment import Deployment, deployed_program, last_deployment, up_in
from tools.cli.rehearsal.rehearsal_settings import OWN, PIPELINES, destination, rehearsal_settings, without_versions
from tools.cli.rehearsal.temporary_lab import free_lab_network, next_settings, write_settings
from tools.cli.rehearsal.temporary_stack import Down, temporary_stack
from tools.cli.rehearsal.watched_stack import PredictionLoad, example_prediction, loaded, service_requests
from workloads.ml.data.storage import without_secrets

RATE = 50
"""Predictions a second."""
STEADY_SECONDS = 10
"""Seconds of load before and after the update."""


@dataclass(frozen=True)
class Versions:
    """Versions in a cluster: the Kubernetes version of its nodes, and the images of its pods."""

    kubernetes: frozenset[str]
    images: frozenset[str]

    @classmethod
    def read(cls, outputs: Mapping[str, Any]) -> Versions:
        """Return what runs now."""
        client = KubernetesClient(outputs["kubeconfig"])
        pods = client.retry(client.core.list_pod_for_all_namespaces).items
        images = frozenset(each.image for pod in pods for each in pod.spec.containers)
        return cls(frozenset(node["version"] for node in outputs["nodes"]), images)

    def changes(self, later: Versions) -> Iterator[str]:
        """Yield a line for each difference."""
        if self.kubernetes != later.kubernetes:
            yield f"Kubernetes {', '.join(sorted(self.kubernetes))} became {', '.join(sorted(later.kubernetes))}"
        yield from (f"image removed: {each}" for each in sorted(self.images - later.images))
        yield from (f"image added: {each}" for each in sorted(later.images - self.images))


def rehearse(pulumi: Pulumi, arguments: Sequence[str], up: Up, down: Down) -> int:
    """Bring up a lab as the stack is, update it to the settings of this checkout under load, and remove it.

    Returns:
        0 if the update succeeded and no request failed twice, else 1.

    Raises:
        UserError: the stack has no machines or was never brought up, or the lab did not come up.
    """
    parser = argparse.ArgumentParser(prog="make rehearse", allow_abbrev=False)
    parser.add_argument("--rate", type=_positive, default=RATE, help="predictions a second")
    options = parser.parse_args(arguments)
    infra = stack_settings(pulumi).infra
    if infra.cluster != "kubeadm":
        kind = "has no cluster" if infra.cluster == "none" else "is in a cluster of a vendor, which no lab can imitate"
        raise UserError(
            f"the stack {pulumi.stack} {kind}: infra:cluster is {infra.cluster}. Rehearsals are for stacks whose "
            "cluster this program makes, with infra:cluster: kubeadm"
        )
    outputs = secret_outputs(pulumi)
    if "nodes" not in outputs:
        raise UserError(f"the stack {pulumi.stack} is not up: there is nothing to update. Run `make up` first")
    require_root_and_tools()
    deployment = last_deployment(pulumi)
    network = free_lab_network(infra.kubernetes)
    roles = [node["role"] for node in outputs["nodes"]]
    machines = (roles.count("control-plane"), roles.count("worker"))
    before = without_versions(rehearsal_settings(deployment.written, network, machines))
    before["infra:kubernetes"]["version"] = str(outputs["nodes"][0]["version"]).removeprefix("v")
    written, secrets = next_settings(pulumi)
    after = without_versions(rehearsal_settings(written, network, _machines(infra)))
    for line in _introduction(pulumi, deployment, written):
        log_message(line)
    with (
        deployed_program(deployment) as folder,
        temporary_stack(f"{pulumi.stack}-rehearsal", down) as stack,
    ):
        write_settings(stack, before, deployment.secrets)
        if up(stack, []) if folder == PROJECT else up_in(folder, stack):
            raise UserError("the lab with the stack's present settings did not come up; see the messages above")
        return _update(stack, lambda: write_settings(stack, after, secrets), options.rate, up)


def _update(stack: Pulumi, write: Callable[[], None], rate: float, up: Up) -> int:
    """Update the lab under load, print the report, and return the exit code."""
    outputs = secret_outputs(stack)
    versions = Versions.read(outputs)
    loads: dict[str, PredictionLoad] = {}
    with ExitStack() as measured:
        services = measured.enter_context(watched(service_requests(outputs)))
        for model, url in score_urls(outputs).items():
            loads[model] = measured.enter_context(loaded(url, *example_prediction(url), rate))
        time.sleep(STEADY_SECONDS)
        write()
        start = time.monotonic()
        code = up(stack, [])
        seconds = time.monotonic() - start
        time.sleep(STEADY_SECONDS)
    lost = sum(len(each.failures) for each in loads.values())
    changed = json.loads(stack.output("stack", "history", "--json", "--page-size", "1"))[0].get("resourceChanges", {})
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(changed.items()))
    log_message(f"\nThe update {'failed' if code else 'succeeded'} after {seconds:.0f} s. Resources: {counts}")
    for line in (*_away(services, loads), *versions.changes(Versions.read(secret_outputs(stack)))):
        log_message(f"  {line}")
    return 1 if code or lost else 0


def _away(services: Sequence[WatchedService], loads: Mapping[str, PredictionLoad]) -> Iterator[str]:
    """Yield a line for each service: how long it gave no answer."""
    for each in services:
        found = each.outages()
        total, longest = sum(end - begin for begin, end in found), max((end - begin for begin, end in found), default=0)
        yield f"{each.name}: away {len(found)} times for {total:.1f} s, at most {longest:.1f} s at a time"
    for model, load in loads.items():
        report, found = load.report, load.outages
        longest = max((end - begin for begin, end in found), default=0)
        yield (
            f"predictions of {model}: {report['sent']} sent, {report['second']} needed a second attempt, "
            f"{report['failed']} lost; at most {longest:.1f} s without an answer; p99 {report['p99_ms']} ms"
        )
    if not loads:
        yield "predictions: not measured, because no model is served"


def _introduction(pulumi: Pulumi, deployment: Deployment, written: Mapping[str, Any]) -> Iterator[str]:
    program = "this checkout's" if deployment.same_program else f"that of commit {deployment.commit[:12]}"
    yield f"Rehearsal of the next `up` of stack {pulumi.stack} in a lab; its present program is {program}"
    if deployment.dirty and not deployment.same_program:
        yield "  The last `up` had changes without a commit, which the rehearsal does not have"
    names = dict.fromkeys([*deployment.written, *written])
    for name in names:
        if deployment.written.get(name) != written.get(name):
            yield f"  {name} changes"
        if name in OWN:
            yield f"  {name} is left out: {OWN[name]}"
    for name, pipeline in (written.get(PIPELINES) or {}).items():
        if address := destination(pipeline):
            yield f"  the pipeline {name} is left out: it writes to {without_secrets(address)}"


def _machines(infra: InfraSettings) -> tuple[int, int]:
    """Return the numbers of control planes and workers in settings."""
    if infra.machines == "lab":
        return infra.lab.control_planes, infra.lab.size - infra.lab.control_planes
    if infra.hosts and infra.machines == "hosts":
        planes = sum(machine.role == "control-plane" for machine in infra.hosts.machines)
        return planes, len(infra.hosts.machines) - planes
    return (infra.azure.control_planes, infra.azure.workers) if infra.azure else (1, 0)


def _positive(text: str) -> float:
    """Return a rate above 0."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of predictions a second from 1 to 10000")
    return rate
