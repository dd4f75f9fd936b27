"""The images of Kubeflow Pipelines, by the names that their makers publish them under."""

from __future__ import annotations

import json

import pulumi

from settings.paths import VERSIONS, cache_directory
from settings.platform import RegistrySettings

_VERSIONS = VERSIONS["kubeflow"]
_OURS = (
    "api-server",
    "persistence-agent",
    "scheduled-workflow-controller",
    "driver",
    "launcher",
    "frontend",
    "metadata-envoy",
)
IMAGES = {
    **{name: f"ghcr.io/kubeflow/kfp-{name}:{_VERSIONS['version']}" for name in _OURS},
    "metadata": f"gcr.io/tfx-oss-public/ml_metadata_store_server:{_VERSIONS['metadata']}",
    "workflow-controller": f"quay.io/argoproj/workflow-controller:{_VERSIONS['argo']}",
    "argoexec": f"quay.io/argoproj/argoexec:{_VERSIONS['argo']}",
    "database": f"docker.io/library/mariadb:{_VERSIONS['mariadb']}",
    "objects": f"ghcr.io/chrislusf/seaweedfs:{_VERSIONS['seaweedfs']}",
    "gate": f"docker.io/nginxinc/nginx-unprivileged:{_VERSIONS['nginx']}",
}


def require(registry: RegistrySettings) -> None:
    """Find out what the nodes would not get, before anything is touched.

    A registry of your own may lack some: nodes then ask their makers. The bundle is for nodes that cannot.

    Raises:
        RunError: there is a bundle, and it lacks images; names them and what brings them.
    """
    index = cache_directory() / "bundle" / "bundle.json"
    if registry.url or not index.is_file():
        return
    there = json.loads(index.read_text())["images"]
    if lacking := sorted(set(IMAGES.values()) - set(there)):
        raise pulumi.RunError(
            "platform:pipelines: kubeflow takes images that the bundle does not have:\n"
            + "".join(f"  {image}\n" for image in lacking)
            + "`make bundle` copies them where their makers can be reached; elsewhere, import them from files "
            "(docs/air-gap.md). platform:pipelines: job takes none of them."
        )
