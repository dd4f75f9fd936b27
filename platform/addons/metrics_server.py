"""metrics-server: what `kubectl top` and a HorizontalPodAutoscaler ask."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.rbac import service_account

from infra.cluster import MANAGED, METRICS_API, Cluster
from settings.paths import VERSIONS

NAMESPACE = "kube-system"
NAME = "metrics-server"
LABELS = {"k8s-app": NAME}


def metrics_server(cluster: Cluster) -> list[pulumi.Resource]:
    """One that asks each kubelet every 15 seconds. Returns what an autoscaler waits for."""
    version = VERSIONS["metrics-server"]["version"]
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": LABELS}
    account = service_account(
        NAME,
        NAMESPACE,
        cluster,
        everywhere=[
            {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
        ],
    )
    bindings: list[pulumi.Resource] = [
        kubernetes.rbac.v1.ClusterRoleBinding(
            "metrics-server-delegates",
            metadata={"name": "metrics-server:system:auth-delegator"},
            role_ref={
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
                "apiGroup": "rbac.authorization.k8s.io",
            },
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
            opts=cluster.options(),
        ),
        kubernetes.rbac.v1.RoleBinding(
            "metrics-server-reads-authentication",
            metadata={"name": "metrics-server-auth-reader", "namespace": NAMESPACE},
            role_ref={
                "kind": "Role",
                "name": "extension-apiserver-authentication-reader",
                "apiGroup": "rbac.authorization.k8s.io",
            },
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
            opts=cluster.options(),
        ),
    ]
    container = {
        "name": NAME,
        "image": f"registry.k8s.io/metrics-server/metrics-server:{version}",
        "args": [
            "--secure-port=10250",
            "--cert-dir=/tmp",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=15s",
            # kubeadm's kubelets sign their serving certificates themselves.
            "--kubelet-insecure-tls",
        ],
        "ports": [{"name": "https", "containerPort": 10250}],
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "https", "scheme": "HTTPS"}, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "https", "scheme": "HTTPS"}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "20m", "memory": "50Mi"}, "limits": {"cpu": "200m", "memory": "200Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    deployment = kubernetes.apps.v1.Deployment(
        NAME,
        metadata=metadata,
        spec={
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "serviceAccountName": NAME,
                    "priorityClassName": "system-cluster-critical",
                    "containers": [container],
                    "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "10Mi"}}],
                },
            },
        },
        opts=cluster.options(*account, *bindings),
    )
    service = kubernetes.core.v1.Service(
        NAME,
        metadata=metadata,
        spec={"selector": LABELS, "ports": [{"name": "https", "port": 443, "targetPort": "https"}]},
        opts=cluster.options(),
    )
    api = kubernetes.apiregistration.v1.APIService(
        METRICS_API,
        metadata={"name": METRICS_API, "labels": MANAGED},
        spec={
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "service": {"name": NAME, "namespace": NAMESPACE},
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            # A certificate that it signs itself, at each start.
            "insecureSkipTLSVerify": True,
        },
        opts=cluster.options(service, deployment),
    )
    return [deployment, api]
