"""MetalLB in layer-2 mode: Services of type LoadBalancer get an address on bare metal, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.rbac import service_account

from infra.cluster import Cluster
from infra.secrets import RandomPassword
from settings.paths import VERSIONS
from settings.platform import LoadBalancerSettings

NAMESPACE = "metallb-system"
GROUP = "metallb.io"
KINDS = {
    "IPAddressPool": ("ipaddresspools", "v1beta1"),
    "L2Advertisement": ("l2advertisements", "v1beta1"),
    "ServiceL2Status": ("servicel2statuses", "v1beta1"),
    "ConfigurationState": ("configurationstates", "v1beta1"),
    # What it speaks to routers with; nothing here makes any, but its programs watch them.
    "Community": ("communities", "v1beta1"),
    "BFDProfile": ("bfdprofiles", "v1beta1"),
    "BGPAdvertisement": ("bgpadvertisements", "v1beta1"),
    "BGPPeer": ("bgppeers", "v1beta1", "v1beta2"),
    "ServiceBGPStatus": ("servicebgpstatuses", "v1beta1"),
}
"""Kind: plural and versions of its custom resources, the one that is stored last."""
WITH_STATUS = ("IPAddressPool", "ServiceL2Status", "ServiceBGPStatus", "ConfigurationState", "BGPPeer")


def load_balancer(settings: LoadBalancerSettings, cluster: Cluster) -> list[pulumi.Resource]:
    """MetalLB with one pool of addresses. Returns what a Service of type LoadBalancer waits for."""
    version = VERSIONS["metallb"]["version"]
    namespace = kubernetes.core.v1.Namespace(
        NAMESPACE,
        # Answering ARP for addresses takes the node's own network.
        metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
        opts=cluster.options(),
    )
    definitions = [_definition(kind, cluster) for kind in KINDS]
    key = kubernetes.core.v1.Secret(
        "memberlist",
        metadata={"name": "memberlist", "namespace": NAMESPACE},
        # 128 bits, with which the speakers tell each other who is alive.
        string_data={"secretkey": RandomPassword("metallb-memberlist").value.apply(lambda text: text[:32])},
        opts=cluster.options(namespace),
    )
    controller = _controller(f"quay.io/metallb/controller:{version}", cluster, namespace, *definitions)
    speaker = _speaker(f"quay.io/metallb/speaker:{version}", cluster, namespace, key, *definitions)
    pool = kubernetes.apiextensions.CustomResource(
        "load-balancer-addresses",
        api_version=f"{GROUP}/v1beta1",
        kind="IPAddressPool",
        metadata={"name": "default", "namespace": NAMESPACE},
        spec={"addresses": [settings.addresses]},
        opts=cluster.options(namespace, *definitions),
    )
    advertisement = kubernetes.apiextensions.CustomResource(
        "load-balancer-advertisement",
        api_version=f"{GROUP}/v1beta1",
        kind="L2Advertisement",
        metadata={"name": "default", "namespace": NAMESPACE},
        spec={"ipAddressPools": ["default"]},
        opts=cluster.options(pool),
    )
    return [controller, speaker, advertisement]


def _definition(kind: str, cluster: Cluster) -> kubernetes.apiextensions.v1.CustomResourceDefinition:
    """A custom resource that takes any content: MetalLB checks it itself, and the resources are only ours."""
    plural, *versions = KINDS[kind]
    return kubernetes.apiextensions.v1.CustomResourceDefinition(
        f"{plural}.{GROUP}",
        metadata={"name": f"{plural}.{GROUP}"},
        spec={
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[-1],
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                    **({"subresources": {"status": {}}} if kind in WITH_STATUS else {}),
                }
                for version in versions
            ],
        },
        opts=cluster.options(),
    )


def _controller(image: str, cluster: Cluster, *depends_on: pulumi.Resource) -> pulumi.Resource:
    """It gives addresses to Services."""
    read = ["get", "list", "watch"]
    account = service_account(
        "metallb-controller",
        NAMESPACE,
        cluster,
        *depends_on,
        everywhere=[
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": read},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["services/status"], "verbs": ["update"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
            {
                "apiGroups": [GROUP],
                "resources": ["configurationstates", "configurationstates/status"],
                "verbs": [*read, "create", "delete", "patch", "update"],
            },
        ],
        at_home=[
            {"apiGroups": [""], "resources": ["secrets"], "verbs": read},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["controller"], "verbs": ["get"]},
            {"apiGroups": [GROUP], "resources": [plural for plural, *_ in KINDS.values()], "verbs": read},
            {"apiGroups": [GROUP], "resources": ["ipaddresspools/status"], "verbs": ["update"]},
        ],
    )
    labels = {"app": "metallb", "component": "controller"}
    container = {
        "name": "controller",
        "image": image,
        # Its settings come from here alone, so there is nobody whose mistakes a webhook would have to refuse.
        "args": ["--port=0", "--webhook-mode=disabled", "--disable-cert-rotation=true"],
        "env": [
            _field("METALLB_NAMESPACE", "metadata.namespace"),
            _field("METALLB_POD_NAME", "metadata.name"),
            {"name": "METALLB_DEPLOYMENT", "value": "controller"},
        ],
        **_PROBES,
        "resources": {"requests": {"cpu": "10m", "memory": "50Mi"}, "limits": {"cpu": "200m", "memory": "200Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return kubernetes.apps.v1.Deployment(
        "metallb-controller",
        metadata={"name": "controller", "namespace": NAMESPACE, "labels": labels},
        spec={
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": "metallb-controller",
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534},
                    "terminationGracePeriodSeconds": 0,
                    "containers": [container],
                },
            },
        },
        opts=cluster.options(*account),
    )


def _speaker(image: str, cluster: Cluster, *depends_on: pulumi.Resource) -> pulumi.Resource:
    """On each node, it answers for the addresses that lead there."""
    read = ["get", "list", "watch"]
    account = service_account(
        "metallb-speaker",
        NAMESPACE,
        cluster,
        *depends_on,
        everywhere=[
            {"apiGroups": [""], "resources": ["services", "endpoints", "nodes", "namespaces"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
            {
                "apiGroups": [GROUP],
                "resources": [
                    *("servicel2statuses", "servicel2statuses/status"),
                    *("configurationstates", "configurationstates/status"),
                ],
                "verbs": ["*"],
            },
        ],
        at_home=[
            {"apiGroups": [""], "resources": ["pods", "secrets", "configmaps"], "verbs": read},
            {"apiGroups": [GROUP], "resources": [plural for plural, *_ in KINDS.values()], "verbs": read},
            {"apiGroups": [GROUP], "resources": ["servicebgpstatuses", "servicebgpstatuses/status"], "verbs": ["*"]},
        ],
    )
    labels = {"app": "metallb", "component": "speaker"}
    container = {
        "name": "speaker",
        "image": image,
        "args": ["--port=0"],
        "env": [
            _field("METALLB_NAMESPACE", "metadata.namespace"),
            _field("METALLB_NODE_NAME", "spec.nodeName"),
            _field("METALLB_POD_NAME", "metadata.name"),
            _field("METALLB_ML_BIND_ADDR", "status.podIP"),
            {"name": "METALLB_ML_LABELS", "value": "app=metallb,component=speaker"},
            {"name": "METALLB_ML_SECRET_KEY_PATH", "value": "/etc/ml_secret_key"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "50Mi"}, "limits": {"cpu": "200m", "memory": "200Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "memberlist", "mountPath": "/etc/ml_secret_key", "readOnly": True}],
    }
    return kubernetes.apps.v1.DaemonSet(
        "metallb-speaker",
        metadata={
            "name": "speaker",
            "namespace": NAMESPACE,
            "labels": labels,
            # On a dead node it does not come up, and nothing has to wait for that.
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": "metallb-speaker",
                    "hostNetwork": True,
                    "terminationGracePeriodSeconds": 2,
                    "tolerations": [
                        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}
                    ],
                    "containers": [container],
                    "volumes": [{"name": "memberlist", "secret": {"secretName": "memberlist"}}],
                },
            },
        },
        opts=cluster.options(*account),
    )


_PROBES: Mapping[str, Any] = {
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 17472}, "initialDelaySeconds": 10},
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 17472}, "periodSeconds": 5},
}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
