"""MetalLB in layer-2 mode, which gives Services of type LoadBalancer an address on bare metal."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.addons import vendored_manifests
from mlplatform.addons.vendored_manifests import SKIP_AWAIT, Manifest, pod_of, read_manifests

from infra.cluster import Cluster
from infra.secrets import RandomPassword
from settings.paths import VERSIONS
from settings.platform import LoadBalancerSettings

NAMESPACE = "metallb-system"
RESOURCES = {"requests": {"cpu": "10m", "memory": "50Mi"}, "limits": {"cpu": "200m", "memory": "200Mi"}}
WEBHOOK_OBJECTS = (
    ("Secret", "metallb-webhook-cert"),
    ("Service", "metallb-webhook-service"),
    ("ValidatingWebhookConfiguration", "metallb-webhook-configuration"),
)
"""This program alone writes MetalLB's settings, so no webhook has to validate them."""
WEBHOOK_GROUPS = {"admissionregistration.k8s.io", "apiextensions.k8s.io", "policy"}
"""API groups that only the webhook and PodSecurityPolicies of old clusters take rights in."""


class MetalLb(pulumi.ComponentResource):
    """MetalLB with one pool of addresses."""

    def __init__(self, settings: LoadBalancerSettings, cluster: Cluster) -> None:
        super().__init__("mlplatform:addons:MetalLB", "metallb")
        inside = cluster.under(self)
        objects = read_manifests("metallb")
        _remove_webhook(objects)
        _restrict_secret_rights(objects["Role", "controller"])
        _configure_controller(objects["Deployment", "controller"])
        _configure_speaker(objects["DaemonSet", "speaker"])
        namespace = vendored_manifests.create([objects.pop(("Namespace", NAMESPACE))], inside)
        key = kubernetes.core.v1.Secret(
            "memberlist",
            metadata={"name": "memberlist", "namespace": NAMESPACE},
            # The speakers' messages about members are encrypted with 128 bits.
            string_data={"secretkey": RandomPassword("metallb-memberlist").value.apply(lambda text: text[:32])},
            opts=inside.options(*namespace),
        )
        created = vendored_manifests.create(objects.values(), inside.after(*namespace), key, prefix="metallb")
        pool = kubernetes.apiextensions.CustomResource(
            "load-balancer-addresses",
            api_version="metallb.io/v1beta1",
            kind="IPAddressPool",
            metadata={"name": "default", "namespace": NAMESPACE},
            spec={"addresses": [settings.addresses]},
            opts=inside.options(*created),
        )
        kubernetes.apiextensions.CustomResource(
            "load-balancer-advertisement",
            api_version="metallb.io/v1beta1",
            kind="L2Advertisement",
            metadata={"name": "default", "namespace": NAMESPACE},
            spec={"ipAddressPools": ["default"]},
            opts=inside.options(pool),
        )
        self.register_outputs({})


def _remove_webhook(objects: dict[tuple[str, str], Manifest]) -> None:
    for each in WEBHOOK_OBJECTS:
        del objects[each]
    # The webhook would convert between versions, of which this program writes one.
    del objects["CustomResourceDefinition", "bgppeers.metallb.io"]["spec"]["conversion"]
    for (kind, _), role in objects.items():
        if kind == "ClusterRole":
            role["rules"] = [rule for rule in role["rules"] if not WEBHOOK_GROUPS & set(rule["apiGroups"])]


def _restrict_secret_rights(role: Manifest) -> None:
    """Let the controller only read secrets: it creates neither a certificate nor the speakers' key here."""
    for rule in role["rules"]:
        if rule["resources"] == ["secrets"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb in ("get", "list", "watch")]


def _configure_controller(deployment: Manifest) -> None:
    controller = vendored_manifests.container(deployment, "controller")
    controller |= {
        "image": f"quay.io/metallb/controller:{VERSIONS['metallb']['version']}",
        "args": ["--port=0", "--webhook-mode=disabled", "--disable-cert-rotation=true"],
        # With the variable METALLB_ML_SECRET_NAME the controller would create the speakers' key itself.
        "env": [each for each in controller["env"] if each["name"] != "METALLB_ML_SECRET_NAME"],
        "resources": RESOURCES,
    }
    for field in ("ports", "volumeMounts"):
        del controller[field]
    vendored_manifests.probe_readiness_at_once(controller)
    del pod_of(deployment)["volumes"]
    _remove_scrape_annotations(deployment)


def _configure_speaker(daemon_set: Manifest) -> None:
    daemon_set["metadata"]["annotations"] = SKIP_AWAIT
    speaker = vendored_manifests.container(daemon_set, "speaker")
    speaker |= {
        "image": f"quay.io/metallb/speaker:{VERSIONS['metallb']['version']}",
        "args": ["--port=0"],
        "ports": [port for port in speaker["ports"] if port["name"] != "metricshttps"],
        "resources": RESOURCES,
    }
    _remove_scrape_annotations(daemon_set)


def _remove_scrape_annotations(manifest: Manifest) -> None:
    """Remove the annotations that point to the metrics port, which `--port=0` closes."""
    del manifest["spec"]["template"]["metadata"]["annotations"]
