"""OpenEBS local volumes: each is a folder on the node of its pod."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import POD
from mlplatform.k8s.rbac import service_account

from infra.cluster import Cluster
from settings.paths import VERSIONS

CLASS = "openebs-hostpath"
BASE_PATH = "/var/openebs/local"
NAMESPACE = "openebs"
NAME = "openebs-localpv-provisioner"
LABELS = {"app": NAME}
READ = ["get", "list", "watch"]
CLUSTER_RULES = [
    {"apiGroups": [""], "resources": ["nodes", "configmaps"], "verbs": READ},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": [*READ, "update"]},
    {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": [*READ, "create", "update", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": READ},
]
NAMESPACE_RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": [*READ, "create", "delete"]},
    # The leader lock is an Endpoints object.
    {"apiGroups": [""], "resources": ["endpoints"], "verbs": ["get", "create", "update", "patch"]},
]


class OpenEbs(pulumi.ComponentResource):
    """OpenEBS's provisioner of local volumes, and the StorageClass `storage_class` that uses it.

    Claims without a class get this one if `is_default`.
    """

    storage_class = CLASS

    def __init__(self, cluster: Cluster, is_default: bool) -> None:
        super().__init__("mlplatform:addons:OpenEBS", "openebs")
        inside = cluster.under(self)
        namespace = kubernetes.core.v1.Namespace(
            NAMESPACE,
            # The provisioner's helper pods create folders on nodes.
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
            opts=inside.options(),
        )
        account = service_account(
            NAME, NAMESPACE, inside, namespace, cluster_rules=CLUSTER_RULES, namespace_rules=NAMESPACE_RULES
        )
        kubernetes.apps.v1.Deployment(
            NAME,
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
            spec={
                "selector": {"matchLabels": LABELS},
                # Only the holder of the leader lock works, so a second pod would be idle.
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": LABELS}, "spec": _pod(VERSIONS["openebs"]["version"])},
            },
            opts=inside.options(*account),
        )
        kubernetes.storage.v1.StorageClass(
            CLASS,
            metadata={
                "name": CLASS,
                "annotations": {
                    "storageclass.kubernetes.io/is-default-class": "true" if is_default else "false",
                    "openebs.io/cas-type": "local",
                    "cas.openebs.io/config": (
                        f'- name: StorageType\n  value: "hostpath"\n- name: BasePath\n  value: "{BASE_PATH}"\n'
                    ),
                },
            },
            provisioner="openebs.io/local",
            # The folder is created on the node of the pod, so the scheduler must place the pod first.
            volume_binding_mode="WaitForFirstConsumer",
            reclaim_policy="Delete",
            opts=inside.options(),
        )
        self.register_outputs({})


def _pod(version: str) -> dict[str, Any]:
    variables = {
        "OPENEBS_NAMESPACE": NAMESPACE,
        "OPENEBS_SERVICE_ACCOUNT": NAME,
        "OPENEBS_IO_BASE_PATH": BASE_PATH,
        "OPENEBS_IO_HELPER_IMAGE": f"quay.io/openebs/linux-utils:{version}",
        "OPENEBS_IO_ENABLE_ANALYTICS": "false",
    }
    provisioner = {
        "name": "provisioner",
        "image": f"quay.io/openebs/provisioner-localpv:{version}",
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            *({"name": name, "value": value} for name, value in variables.items()),
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "50Mi"}, "limits": {"cpu": "500m", "memory": "200Mi"}},
    }
    return {
        "serviceAccountName": NAME,
        # The provisioner ignores SIGTERM, so a longer grace period would only delay its end.
        "terminationGracePeriodSeconds": 2,
        # No pod gets a new volume while the provisioner is on a dead node.
        "tolerations": POD["tolerations"],
        "containers": [provisioner],
    }
