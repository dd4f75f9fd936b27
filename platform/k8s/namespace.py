"""A namespace for pods that may do nothing but their work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.pull_secret import pull_secret

from infra.cluster import Cluster
from infra.registry import ContainerRegistry

ACCOUNT = "workload"
"""The service account of our pods: it has no rights at the API server, and the private registry's pull secret."""
SERVING = "mlplatform-serving"
"""Where workloads put the model servers, and Prometheus looks for them."""
MODES = ("enforce", "warn", "audit")
USER = 10001
"""Of all our images, see their Dockerfiles."""
POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
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
        # A pod of a machine that died is wanted elsewhere after half a minute, not after the usual five.
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        for key in ("not-ready", "unreachable")
    ],
}
"""What the specifications of all our pods have in common."""
DNS: dict[str, Any] = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}
"""An egress rule of a network policy."""
EVERYWHERE: dict[str, Any] = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]}
"""Another: only the address is closed at which clouds give a machine its own credentials."""


@dataclass(frozen=True)
class Namespace:
    """A namespace with a Pod Security level in which no traffic passes that no policy allows."""

    name: str
    cluster: Cluster
    resources: Sequence[pulumi.Resource]
    """What a pod in it waits for."""

    def options(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a resource in this namespace that also waits for `depends_on`."""
        return self.cluster.options(*self.resources, *depends_on)

    def allow(
        self,
        name: str,
        pods: dict[str, str],
        *,
        ingress: Sequence[dict[str, Any]] = (),
        egress: Sequence[dict[str, Any]] = (),
    ) -> kubernetes.networking.v1.NetworkPolicy:
        """Let traffic to and from these pods through: rules of a network policy."""
        return kubernetes.networking.v1.NetworkPolicy(
            name,
            metadata={"name": name, "namespace": self.name},
            spec={
                "podSelector": {"matchLabels": pods},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": list(ingress),
                "egress": list(egress),
            },
            opts=self.options(),
        )


def namespace(name: str, cluster: Cluster, registry: ContainerRegistry, level: str = "restricted") -> Namespace:
    """Make a namespace of that name, whose pods keep that Pod Security level."""
    made = kubernetes.core.v1.Namespace(
        name,
        metadata={"name": name, "labels": {f"pod-security.kubernetes.io/{mode}": level for mode in MODES}},
        opts=cluster.options(),
    )
    secret = pull_secret(f"{name}-registry", name, registry, cluster.options(made))
    account = kubernetes.core.v1.ServiceAccount(
        f"{name}-{ACCOUNT}",
        metadata={"name": ACCOUNT, "namespace": name},
        automount_service_account_token=False,
        image_pull_secrets=[{"name": secret.metadata["name"]}],
        opts=cluster.options(made),
    )
    closed = kubernetes.networking.v1.NetworkPolicy(
        f"{name}-closed",
        metadata={"name": "closed", "namespace": name},
        spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        opts=cluster.options(made),
    )
    return Namespace(name, cluster, [made, secret, account, closed])
