"""The images of Kubeflow Pipelines, under the names of their publishers."""

from __future__ import annotations

from settings.paths import VERSIONS

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
