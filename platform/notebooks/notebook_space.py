"""The namespace of servers of notebooks: their environment, their network and the rights of the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace, Rule, tcp_ports
from mlplatform.k8s.rbac import namespace_rights

NAMESPACE = "mlplatform-notebooks"
"""The namespace of the hub; without teams, also that of the servers."""
HUB = "notebooks"
"""Name of the hub's Deployment, Service, volume, service account, and of its Role in a namespace."""
HUB_PODS = {"app.kubernetes.io/name": HUB}
HUB_PORT, PROXY_PORT = 8081, 8000
SERVER = "notebook"
"""Name of the Secret with the environment of servers, and the label of their pods."""
SERVER_PODS = {"app.kubernetes.io/name": SERVER}
SERVER_PORT = 8888
RIGHTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
    # Without the right to delete claims, the hub cannot lose files of persons.
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch"]},
]


@dataclass(frozen=True)
class NotebookSpace:
    """A namespace for servers, and their environment variables, which may be secret."""

    namespace: Namespace
    variables: pulumi.Input[Mapping[str, str]]


def peer_of(namespace: str, labels: Mapping[str, str]) -> Rule:
    """Return a peer of a network rule: the pods with these labels in a namespace."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"namespaceSelector": selector, "podSelector": {"matchLabels": dict(labels)}}


def notebook_space(space: NotebookSpace, egress: Sequence[pulumi.Input[Rule]]) -> list[pulumi.Resource]:
    """Prepare a namespace for servers, and return what they wait for.

    Args:
        space: the namespace.
        egress: what steps of pipelines, and therefore notebooks, may connect to.
    """
    namespace = space.namespace
    name = f"{namespace.name}-{SERVER}"
    hub = {"name": HUB, "namespace": NAMESPACE}
    secret = kubernetes.core.v1.Secret(
        name,
        metadata={"name": SERVER, "namespace": namespace.name, "labels": SERVER_PODS},
        string_data=space.variables,
        opts=namespace.options(),
    )
    from_hub: Rule = {"from": [peer_of(NAMESPACE, HUB_PODS)], **tcp_ports(SERVER_PORT)}
    to_hub: Rule = {"to": [peer_of(NAMESPACE, HUB_PODS)], **tcp_ports(HUB_PORT)}
    policy = namespace.allow(name, SERVER_PODS, ingress=[from_hub], egress=[*egress, to_hub])
    role = {"name": HUB, "namespace": namespace.name}
    rights = namespace_rights(f"{namespace.name}-{HUB}", role, hub, RIGHTS, namespace.options())
    return [secret, policy, *rights]
