"""The builder of the Deployments of Kubeflow Pipelines, with the labels and rules that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.images.image import Image
from mlplatform.k8s import deployment
from mlplatform.k8s.namespace import ANY_ADDRESS, DNS, Namespace, Rule, api_server_rule, tcp_ports
from mlplatform.k8s.pod import Container, Pod, Resources
from mlplatform.k8s.rbac import Rules, service_account
from mlplatform.k8s.volumes import Volume

from settings.types import ServiceType

NAMESPACE = "kubeflow"
PART_OF = {"app.kubernetes.io/part-of": "kubeflow-pipelines"}
STEPS = {"pipelines.kubeflow.org/v2_component": "true"}
"""Labels that the API server gives the pods of runs."""
USER = 1000
GRACE_SECONDS = 10
SMALL = Resources(cpu=("10m", "500m"), memory=("32Mi", "128Mi"))
WAIT = """import socket, sys, time
for address in sys.argv[1:]:
    host, _, port = address.partition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), 2).close()
            break
        except OSError as error:
            print(f"waiting for {address}: {error}", flush=True)
            time.sleep(1)
"""
"""A connection to a Service without a ready pod may hang, so an init container waits until the Service accepts one."""
NEIGHBOURS: Rule = {"podSelector": {"matchLabels": PART_OF}}
"""Peer of a rule: the servers of Kubeflow Pipelines, without the pods of runs."""


@dataclass(frozen=True)
class DeploymentFactory:
    """A builder of Deployments, Services and rules in one namespace; `libraries` is an image with Python."""

    namespace: Namespace
    libraries: Image

    def labels(self, name: str) -> dict[str, str]:
        """Return the labels of the objects of a component."""
        return {"app": name, **PART_OF}

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata of an object that has the name of its component."""
        return self.namespace.metadata(name, self.labels(name))

    @property
    def api_server_rule(self) -> pulumi.Output[Rule]:
        """Egress rule: allow the API server of Kubernetes."""
        return api_server_rule(self.namespace.cluster)

    def service_account(self, name: str, rules: Rules) -> list[pulumi.Resource]:
        """Create a service account with rights in the namespace alone."""
        namespace = self.namespace
        return service_account(name, namespace.name, namespace.cluster, *namespace.resources, namespace_rules=rules)

    def secret(self, name: str, content: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.Secret:
        """Create a Secret with these texts by key."""
        return kubernetes.core.v1.Secret(
            name, metadata=self.metadata(name), string_data=dict(content), opts=self.namespace.options()
        )

    def config_map(self, name: str, content: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.ConfigMap:
        """Create a ConfigMap with these texts by key."""
        return kubernetes.core.v1.ConfigMap(
            name, metadata=self.metadata(name), data=dict(content), opts=self.namespace.options()
        )

    def deployment(
        self,
        name: str,
        pod: Pod,
        *depends_on: pulumi.Resource,
        wait_for: Sequence[str] = (),
        settings: Sequence[deployment.MountedSettings] = (),
    ) -> kubernetes.apps.v1.Deployment:
        """Create a Deployment with one pod, whose containers start once all of `wait_for` accept connections.

        Args:
            name: name of the Deployment and of its component.
            pod: its pod.
            *depends_on: resources that exist before the Deployment.
            wait_for: addresses as `host:port`.
            settings: objects that the containers read only at their start, so changed content replaces the pod.
        """
        if wait_for:
            wait = Container("wait", self.libraries.reference, SMALL, command=["python3", "-c", WAIT, *wait_for])
            pod = replace(pod, init_containers=[wait, *pod.init_containers])
        return deployment.deployment(
            name,
            self.namespace,
            self.labels(name),
            pod,
            *depends_on,
            settings=settings,
            selector={"app": name},
        )

    def service(
        self, name: str, app: str, ports: Mapping[str, tuple[int, int]], kind: ServiceType = "ClusterIP"
    ) -> kubernetes.core.v1.Service:
        """Create a Service for the pod of `app`; `ports` are the Service's port and the pod's port, by name."""
        return deployment.service(name, self.namespace, self.labels(name), {"app": app}, ports, kind=kind)

    def allow_ingress(
        self,
        name: str,
        *ports: int,
        sources: Sequence[Rule] = (NEIGHBOURS,),
        steps: Sequence[int] = (),
        egress: Sequence[pulumi.Input[Rule]] = (),
    ) -> kubernetes.networking.v1.NetworkPolicy:
        """Allow connections from `sources` to these ports of a component, from any address if `sources` is empty.

        The pods of runs may connect to the ports `steps`. The component itself may connect to name servers, to the
        other components and to what `egress` allows.
        """
        ingress: list[dict[str, Any]] = []
        if ports:
            ingress.append({**tcp_ports(*ports), **({"from": list(sources)} if sources else {})})
        if steps:
            ingress.append({**tcp_ports(*steps), "from": [{"podSelector": {"matchLabels": STEPS}}]})
        return self.namespace.allow(name, {"app": name}, ingress=ingress, egress=[DNS, {"to": [NEIGHBOURS]}, *egress])


def pod(
    containers: Sequence[Container],
    volumes: Mapping[str, Volume],
    *,
    init_containers: Sequence[Container] = (),
    account: str | None = None,
    user: int = USER,
) -> Pod:
    """Return a pod with the user ID and the grace period that the images of Kubeflow Pipelines take."""
    return Pod(containers, init_containers, volumes, account, user, grace_seconds=GRACE_SECONDS)


def component_port(name: str, port: int) -> Rule:
    """Return the egress rule that allows this port of a component."""
    return {"to": [{"podSelector": {"matchLabels": {"app": name}}}], **tcp_ports(port)}


def egress_outside(port: int) -> Rule:
    """Return the egress rule that allows this port of any address."""
    return {**ANY_ADDRESS, **tcp_ports(port)}
