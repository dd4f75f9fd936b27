"""Service accounts and their rights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from infra.cluster import Cluster

GROUP = "rbac.authorization.k8s.io"
Rules = Sequence[Mapping[str, Any]]
"""Rules of a Role or ClusterRole: apiGroups, resources and verbs, optionally resourceNames."""


def service_account(
    name: str,
    namespace: str,
    cluster: Cluster,
    *depends_on: pulumi.Resource,
    cluster_rules: Rules = (),
    namespace_rules: Rules = (),
) -> list[pulumi.Resource]:
    """Create a service account with rights in the whole cluster and in its own namespace.

    Returns:
        The account, then the roles and bindings of the rules that are given.
    """
    options = cluster.options(*depends_on)
    metadata = {"name": name, "namespace": namespace}
    subjects = [{"kind": "ServiceAccount", **metadata}]
    created: list[pulumi.Resource] = [kubernetes.core.v1.ServiceAccount(name, metadata=metadata, opts=options)]
    if cluster_rules:
        role = {"kind": "ClusterRole", "name": name, "apiGroup": GROUP}
        created += [
            kubernetes.rbac.v1.ClusterRole(name, metadata={"name": name}, rules=list(cluster_rules), opts=options),
            kubernetes.rbac.v1.ClusterRoleBinding(
                name, metadata={"name": name}, role_ref=role, subjects=subjects, opts=options
            ),
        ]
    if namespace_rules:
        role = {"kind": "Role", "name": name, "apiGroup": GROUP}
        created += [
            kubernetes.rbac.v1.Role(name, metadata=metadata, rules=list(namespace_rules), opts=options),
            kubernetes.rbac.v1.RoleBinding(name, metadata=metadata, role_ref=role, subjects=subjects, opts=options),
        ]
    return created
