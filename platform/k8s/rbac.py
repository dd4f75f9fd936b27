"""Service accounts with no more rights than they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from infra.cluster import Cluster

Rules = Sequence[Mapping[str, Any]]


def service_account(
    name: str,
    namespace: str,
    cluster: Cluster,
    *depends_on: pulumi.Resource,
    everywhere: Rules = (),
    at_home: Rules = (),
) -> list[pulumi.Resource]:
    """A service account with rules for the whole cluster, and others for its own namespace."""
    options = cluster.options(*depends_on)
    metadata = {"name": name, "namespace": namespace}
    subjects = [{"kind": "ServiceAccount", **metadata}]
    group = "rbac.authorization.k8s.io"
    made: list[pulumi.Resource] = [kubernetes.core.v1.ServiceAccount(name, metadata=metadata, opts=options)]
    if everywhere:
        role = {"kind": "ClusterRole", "name": name, "apiGroup": group}
        made += [
            kubernetes.rbac.v1.ClusterRole(name, metadata={"name": name}, rules=list(everywhere), opts=options),
            kubernetes.rbac.v1.ClusterRoleBinding(
                name, metadata={"name": name}, role_ref=role, subjects=subjects, opts=options
            ),
        ]
    if at_home:
        role = {"kind": "Role", "name": name, "apiGroup": group}
        made += [
            kubernetes.rbac.v1.Role(name, metadata=metadata, rules=list(at_home), opts=options),
            kubernetes.rbac.v1.RoleBinding(name, metadata=metadata, role_ref=role, subjects=subjects, opts=options),
        ]
    return made
