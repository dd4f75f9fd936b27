"""A vendor's cluster: volumes, metrics and load balancer addresses, without a platform.

It replaces __main__.py in a copy of this checkout.
"""

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.cluster_provisioning import provision_kubeadm_cluster
from pulumi.runtime.config import CONFIG, get_config_env

from settings.loading import load_settings
from settings.paths import cache_directory

stack = pulumi.get_stack()
provisioned = provision_kubeadm_cluster(
    load_settings(stack, CONFIG.get() or get_config_env()), stack, cache_directory() / "stacks" / stack
)
kubernetes.storage.v1.StorageClass(
    "vendor-disk",
    metadata={
        "name": "vendor-disk",
        "annotations": {
            "openebs.io/cas-type": "local",
            "cas.openebs.io/config": "- name: StorageType\n  value: hostpath\n- name: BasePath\n  value: /var/vendor\n",
        },
    },
    provisioner="openebs.io/local",
    volume_binding_mode="WaitForFirstConsumer",
    opts=provisioned.cluster.options(),
)
registry = provisioned.registry
pulumi.export("kubeconfig", provisioned.cluster.kubeconfig)
pulumi.export(
    "registry", pulumi.Output.secret({name: getattr(registry, name) for name in ("host", "username", "password", "ca")})
)
