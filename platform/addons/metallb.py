"""MetalLB in layer-2 mode, which gives Services of type LoadBalancer an address on bare metal."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.addons import vendored_manifests
from mlplatform.addons.vendored_manifests import Manifest, pod_of, read_manifests
from mlplatform.k8s.deployment import MountedSettings, settings_digest
from mlplatform.k8s.waiting import SKIP_AWAIT

from infra.cluster import Cluster
from infra.secrets import RandomPassword
from settings.paths import VERSIONS
from settings.services.load_balancer_settings import LoadBalancerSettings

NAMESPACE = "metallb-system"
RESOURCES = {"requests": {"cpu": "10m", "memory": "50Mi"}, "limits": {"cpu": "200m", "memory": "200Mi"}}
SPEAKER_RESOURCES = {"requests": {"cpu": "50m", "memory": "50Mi"}, "limits": {"cpu": "1", "memory": "200Mi"}}
"""A speaker that waits for the processor for a second loses its addresses to another node."""
MEMBERLIST = {
    # Each speaker probes one other speaker in each interval. A suspect that does not answer for four intervals is dead.
    **{"ProbeInterval": "250ms", "ProbeTimeout": "150ms", "SuspicionMult": 4, "SuspicionMaxTimeoutMult": 2},
    # MetalLB requires all fields; the others have memberlist's defaults for local networks.
    **{"GossipInterval": "100ms", "GossipNodes": 3, "GossipToTheDeadTime": "30s", "RetransmitMult": 4},
    **{"TCPTimeout": "10s", "IndirectChecks": 3, "DisableTcpPings": False, "AwarenessMaxMultiplier": 8},
    **{"GossipVerifyIncoming": True, "GossipVerifyOutgoing": True, "EnableCompression": True},
    **{"PushPullInterval": "30s", "QueueCheckInterval": "30s", "HandoffQueueDepth": 1024, "UDPBufferSize": 1400},
}
"""Settings of the search for dead speakers: two seconds at most with three speakers, six with the defaults."""
WEBHOOK_OBJECTS = (
    ("Secret", "metallb-webhook-cert"),
    ("Service", "metallb-webhook-service"),
    ("ValidatingWebhookConfiguration", "metallb-webhook-configuration"),
)
"""Objects of the webhook, which are left out: only this program writes MetalLB's settings."""
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
        namespace = vendored_manifests.create([objects.pop(("Namespace", NAMESPACE))], inside)
        # The speaker's manifest mounts it if it exists.
        members = kubernetes.core.v1.ConfigMap(
            "metallb-memberlist",
            metadata={"name": "metallb-memberlist-config", "namespace": NAMESPACE},
            data={"config.json": json.dumps(MEMBERLIST, indent=1)},
            opts=inside.options(*namespace),
        )
        key = kubernetes.core.v1.Secret(
            "memberlist",
            metadata={"name": "memberlist", "namespace": NAMESPACE},
            # The speakers' messages about members are encrypted with 128 bits.
            string_data={"secretkey": RandomPassword("metallb-memberlist").value.apply(lambda text: text[:32])},
            opts=inside.options(*namespace),
        )
        _configure_speaker(objects["DaemonSet", "speaker"], [members, key])
        created = vendored_manifests.create(objects.values(), inside.after(*namespace), key, members, prefix="metallb")
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
    # They point to the metrics port, which `--port=0` closes.
    del deployment["spec"]["template"]["metadata"]["annotations"]


def _configure_speaker(daemon_set: Manifest, settings: Sequence[MountedSettings]) -> None:
    daemon_set["metadata"]["annotations"] = SKIP_AWAIT
    speaker = vendored_manifests.container(daemon_set, "speaker")
    speaker |= {
        "image": f"quay.io/metallb/speaker:{VERSIONS['metallb']['version']}",
        "args": ["--port=0"],
        "ports": [port for port in speaker["ports"] if port["name"] != "metricshttps"],
        "resources": SPEAKER_RESOURCES,
    }
    # The speaker reads its settings only at its start. These annotations replace those of the closed metrics port.
    daemon_set["spec"]["template"]["metadata"]["annotations"] = {"settings": settings_digest(settings)}
