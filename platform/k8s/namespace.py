"""Namespaces whose pods have no rights and no network beyond what is granted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.pull_secret import pull_secret

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

ACCOUNT = "workload"
"""The service account of our pods: without rights at the API server, with the private registry's pull secret."""
SERVING = "mlplatform-serving"
"""The namespace of the model servers, in which Prometheus looks for them."""
MODES = ("enforce", "warn", "audit")
USER = 10001
"""The user ID in all our images, see the Dockerfile."""
POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # Each start of a pod would otherwise change the modes of all its files, and PostgreSQL and ssh refuse files that a
    # group may write.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD: dict[str, Any] = {
    "serviceAccountName": ACCOUNT,
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": POD_SECURITY,
    "tolerations": [
        # The pod of a failed node moves to another node after half a minute instead of five.
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        for key in ("not-ready", "unreachable")
    ],
}
"""Common fields of all our pod specifications."""
Rule = Mapping[str, Any]
"""An ingress or egress rule of a NetworkPolicy: `ports`, and `from` or `to`."""
DNS: Rule = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}
"""Egress rule: allow the cluster's name servers."""
METADATA_SERVICES = ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32")
"""Addresses at which clouds give a machine its credentials: link-local, of Azure, of Alibaba Cloud."""
ANY_ADDRESS: Rule = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": list(METADATA_SERVICES)}}]}
"""Egress rule: allow all IPv4 except the metadata services of clouds."""


def team_namespace(team: str) -> str:
    """Return the namespace of a team's steps and model servers; that of shared model servers for ""."""
    return f"mlplatform-team-{team}" if team else SERVING


def api_server_rule(cluster: Cluster) -> pulumi.Output[Rule]:
    """Return the egress rule that allows the API server of Kubernetes, at its nodes' addresses behind its Service.

    A vendor's API server is on no node, and its address may change: its ports are allowed at any address.
    """

    def rule(known: Mapping[str, Any]) -> Rule:
        planes = [node["address"] for node in known["nodes"] if node["role"] == "control-plane"]
        peers = [{"ipBlock": {"cidr": f"{address}/32"}} for address in (*planes, *known["addresses"])]
        return {**({"to": peers} if planes else ANY_ADDRESS), **tcp_ports(443, 6443)}

    return pulumi.Output.all(nodes=cluster.nodes, addresses=cluster.api_addresses).apply(rule)


def tcp_ports(*ports: int) -> Rule:
    """Return the `ports` of a rule: these TCP ports."""
    return {"ports": [{"protocol": "TCP", "port": port} for port in ports]}


@dataclass(frozen=True)
class Namespace:
    """A namespace with a Pod Security level, closed to all traffic that no policy allows.

    Pods in it wait for `resources`.
    """

    name: str
    cluster: Cluster
    resources: Sequence[pulumi.Resource]

    def options(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Return the options of a resource in this namespace that also waits for `depends_on`."""
        return self.cluster.options(*self.resources, *depends_on)

    def metadata(
        self, name: str, labels: Mapping[str, str] = {}, annotations: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        """Return the metadata of an object in this namespace."""
        found: dict[str, Any] = {"name": name, "namespace": self.name}
        if labels:
            found["labels"] = dict(labels)
        if annotations:
            found["annotations"] = dict(annotations)
        return found

    def allow(
        self,
        name: str,
        pods: Mapping[str, str],
        *,
        ingress: Sequence[Rule] = (),
        egress: Sequence[pulumi.Input[Rule]] = (),
    ) -> kubernetes.networking.v1.NetworkPolicy:
        """Create a NetworkPolicy that allows this traffic to and from the pods with these labels."""
        return kubernetes.networking.v1.NetworkPolicy(
            name,
            metadata=self.metadata(name),
            spec={
                "podSelector": {"matchLabels": dict(pods)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": list(ingress),
                "egress": list(egress),
            },
            opts=self.options(),
        )


def namespace(
    name: str,
    cluster: Cluster,
    registry: ContainerRegistry,
    level: str = "restricted",
    volumes: bool = False,
    labels: Mapping[str, str] = {},
) -> Namespace:
    """Create a namespace with this Pod Security level, a pull secret, an account for pods and a closed network.

    With `volumes`, its claims have data: it stays in the cluster if they do.
    """
    retained = pulumi.ResourceOptions(retain_on_delete=volumes and cluster.retain_volumes)
    created = kubernetes.core.v1.Namespace(
        name,
        metadata={
            "name": name,
            "labels": {**{f"pod-security.kubernetes.io/{mode}": level for mode in MODES}, **labels},
        },
        opts=pulumi.ResourceOptions.merge(cluster.options(), retained),
    )
    secret = pull_secret(f"{name}-registry", name, registry, cluster.options(created))
    account = kubernetes.core.v1.ServiceAccount(
        f"{name}-{ACCOUNT}",
        metadata={"name": ACCOUNT, "namespace": name},
        automount_service_account_token=False,
        image_pull_secrets=[{"name": secret.metadata["name"]}],
        opts=cluster.options(created),
    )
    closed = kubernetes.networking.v1.NetworkPolicy(
        f"{name}-closed",
        metadata={"name": "closed", "namespace": name},
        spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        opts=cluster.options(created),
    )
    return Namespace(name, cluster, [created, secret, account, closed])
