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
        created += namespace_rights(name, metadata, metadata, namespace_rules, options)
    return created


def namespace_rights(
    resource: str,
    role: Mapping[str, str],
    account: Mapping[str, str],
    rules: Rules,
    options: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """Create a Role and its binding to a service account.

    Args:
        resource: the name of the resources.
        role: `name` and `namespace` of the Role and of its binding.
        account: `name` and `namespace` of the service account.
        rules: the rules of the Role.
        options: the options of both resources.
    """
    metadata, reference = dict(role), {"kind": "Role", "name": role["name"], "apiGroup": GROUP}
    subjects = [{"kind": "ServiceAccount", **account}]
    return [
        kubernetes.rbac.v1.Role(resource, metadata=metadata, rules=list(rules), opts=options),
        kubernetes.rbac.v1.RoleBinding(
            resource, metadata=metadata, role_ref=reference, subjects=subjects, opts=options
        ),
    ]
