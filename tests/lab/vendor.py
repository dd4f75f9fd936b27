"""A cluster as its vendor hands it over: volumes, metrics and addresses are there, and nothing of a platform.

Takes the place of __main__.py in a copy of this checkout.
"""

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.cluster import provision_kubeadm_cluster
from pulumi.runtime.config import CONFIG, get_config_env

from settings.loading import load
from settings.paths import cache_directory

stack = pulumi.get_stack()
foundation = provision_kubeadm_cluster(
    load(stack, CONFIG.get() or get_config_env()), stack, cache_directory() / "stacks" / stack
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
    opts=foundation.cluster.options(),
)
registry = foundation.registry
pulumi.export("kubeconfig", foundation.cluster.kubeconfig)
pulumi.export(
    "registry", pulumi.Output.secret({part: getattr(registry, part) for part in ("host", "username", "password", "ca")})
)
