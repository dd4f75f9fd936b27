"""Storage: OpenEBS gives each volume a folder of the node that its pod runs on; it is the cluster's default class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.rbac import service_account

from infra.cluster import Cluster
from settings.paths import VERSIONS

CLASS = "openebs-hostpath"
BASE_PATH = "/var/openebs/local"
NAMESPACE = "openebs"
LABELS = {"app": "openebs-localpv-provisioner"}


@dataclass(frozen=True)
class Storage:
    """The StorageClass's name, and what a volume waits for."""

    storage_class: str
    resources: Sequence[pulumi.Resource]


def storage(cluster: Cluster, is_default: bool) -> Storage:
    """OpenEBS's provisioner of local volumes, and its class, which claims without a class get if it is the default."""
    version = VERSIONS["openebs"]["version"]
    namespace = kubernetes.core.v1.Namespace(
        NAMESPACE,
        # Its helper pods make folders on nodes.
        metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
        opts=cluster.options(),
    )
    metadata = {"name": "openebs-localpv-provisioner", "namespace": NAMESPACE}
    account = service_account(
        metadata["name"],
        NAMESPACE,
        cluster,
        namespace,
        everywhere=[
            {"apiGroups": [""], "resources": ["nodes", "configmaps"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "update"]},
            {
                "apiGroups": [""],
                "resources": ["persistentvolumes"],
                "verbs": ["get", "list", "watch", "create", "update", "delete"],
            },
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"]},
            {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
        ],
        at_home=[
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
            # Its leader lock is an Endpoints object.
            {"apiGroups": [""], "resources": ["endpoints"], "verbs": ["get", "create", "update", "patch"]},
        ],
    )
    variables = {
        "OPENEBS_NAMESPACE": NAMESPACE,
        "OPENEBS_SERVICE_ACCOUNT": metadata["name"],
        "OPENEBS_IO_BASE_PATH": BASE_PATH,
        "OPENEBS_IO_HELPER_IMAGE": f"quay.io/openebs/linux-utils:{version}",
        "OPENEBS_IO_ENABLE_ANALYTICS": "false",
    }
    provisioner = kubernetes.apps.v1.Deployment(
        "openebs-localpv-provisioner",
        metadata=metadata | {"labels": LABELS},
        spec={
            "selector": {"matchLabels": LABELS},
            # Two could hold the lock one after the other, but never work at once.
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "serviceAccountName": metadata["name"],
                    # It does not listen to the signal to stop.
                    "terminationGracePeriodSeconds": 2,
                    "containers": [
                        {
                            "name": "provisioner",
                            "image": f"quay.io/openebs/provisioner-localpv:{version}",
                            "env": [
                                {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                                *({"name": name, "value": value} for name, value in variables.items()),
                            ],
                            "resources": {
                                "requests": {"cpu": "10m", "memory": "50Mi"},
                                "limits": {"cpu": "500m", "memory": "200Mi"},
                            },
                        }
                    ],
                },
            },
        },
        opts=cluster.options(*account),
    )
    storage_class = kubernetes.storage.v1.StorageClass(
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
        # The folder is made where the pod is put, so a pod has to be there first.
        volume_binding_mode="WaitForFirstConsumer",
        reclaim_policy="Delete",
        opts=cluster.options(),
    )
    return Storage(CLASS, [provisioner, storage_class])
