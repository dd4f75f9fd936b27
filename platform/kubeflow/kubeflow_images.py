"""The images of Kubeflow Pipelines, under the names of their publishers."""

from __future__ import annotations

import json

import pulumi

from settings.paths import VERSIONS, cache_directory
from settings.platform import RegistrySettings

_VERSIONS = VERSIONS["kubeflow"]
_KFP = (
    "api-server",
    "persistence-agent",
    "scheduled-workflow-controller",
    "driver",
    "launcher",
    "frontend",
    "metadata-envoy",
)
IMAGES = {
    **{name: f"ghcr.io/kubeflow/kfp-{name}:{_VERSIONS['version']}" for name in _KFP},
    "metadata": f"gcr.io/tfx-oss-public/ml_metadata_store_server:{_VERSIONS['metadata']}",
    "workflow-controller": f"quay.io/argoproj/workflow-controller:{_VERSIONS['argo']}",
    "argoexec": f"quay.io/argoproj/argoexec:{_VERSIONS['argo']}",
    "database": f"docker.io/library/mariadb:{_VERSIONS['mariadb']}",
    "objects": f"ghcr.io/chrislusf/seaweedfs:{_VERSIONS['seaweedfs']}",
    "gate": f"docker.io/nginxinc/nginx-unprivileged:{VERSIONS['door']['nginx']}",
}


def require_images(registry: RegistrySettings) -> None:
    """Check that the bundle has all images, before the program changes anything.

    A registry of the settings is not checked: its nodes may pull what it lacks from upstream.

    Raises:
        RunError: there is a bundle, and it lacks images; the text names the images and how to add them.
    """
    index = cache_directory() / "bundle" / "bundle.json"
    if registry.url or not index.is_file():
        return
    available = json.loads(index.read_text())["images"]
    if missing := sorted(set(IMAGES.values()) - set(available)):
        raise pulumi.RunError(
            "platform:pipelines: kubeflow takes images that the bundle does not have:\n"
            + "".join(f"  {image}\n" for image in missing)
            + "`make bundle` copies them from the registries of their publishers. Without access to those, import them "
            "from files (docs/air-gap.md), or set platform:pipelines: job, which takes none of them."
        )
