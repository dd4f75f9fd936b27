"""The objects that a stack creates outside its own namespaces, and the namespaces, by the settings that bring them."""

from __future__ import annotations

from collections.abc import Iterator

from mlplatform import job_namespace, mlflow
from mlplatform.addons import metallb, metrics_server, openebs
from mlplatform.addons.vendored_manifests import read_manifests
from mlplatform.door import door
from mlplatform.k8s.namespace import SERVING, team_namespace
from mlplatform.k8s.owned_objects import PATHS, ClusterObject
from mlplatform.kubeflow import argo, deployment_factory
from mlplatform.kubeflow.api_server import SCHEDULES
from mlplatform.monitoring import kube_state_metrics, node_exporter, scraping
from mlplatform.notebooks import notebook_space
from mlplatform.stores import replicated_stores

from settings.stack import StackSettings
from settings.store_rules import has_replicated_stores

RENAME = "Rename or delete the one that exists"


def created_objects(settings: StackSettings) -> list[ClusterObject]:
    """Return the namespaces, the objects of the whole cluster and those in namespaces of others."""
    return [*_services(settings), *_addons(settings)]


def _services(settings: StackSettings) -> Iterator[ClusterObject]:
    platform = settings.platform
    always = f"{RENAME}, or use another cluster"
    yield ClusterObject("Namespace", mlflow.NAMESPACE, always)
    if has_replicated_stores(settings.infra, platform):
        yield ClusterObject("Namespace", replicated_stores.NAMESPACE, f"{RENAME}, or set platform:stores: single")
    if any(pipeline.serve for pipeline in settings.workloads.pipelines.values()):
        yield ClusterObject("Namespace", SERVING, f"{RENAME}, or serve no model")
    if platform.pipelines == "job":
        yield ClusterObject("Namespace", job_namespace.NAMESPACE, always)
    for team in settings.workloads.teams:
        yield ClusterObject("Namespace", team_namespace(team), f"{RENAME}, or rename the team {team}")
    if platform.pipelines == "kubeflow":
        remedy = f"{RENAME}, or set platform:pipelines: job"
        yield ClusterObject("Namespace", deployment_factory.NAMESPACE, remedy)
        for name in [SCHEDULES, *(f"{plural}.{argo.GROUP}" for plural in argo.KINDS)]:
            yield ClusterObject("CustomResourceDefinition", name, remedy)
    if platform.door:
        yield ClusterObject("Namespace", door.NAMESPACE, f"{RENAME}, or remove platform:door")
    if platform.notebooks:
        yield ClusterObject("Namespace", notebook_space.NAMESPACE, f"{RENAME}, or remove platform:notebooks")
    if platform.monitoring:
        remedy = f"{RENAME}, or remove platform:monitoring"
        for name in (scraping.NAMESPACE, node_exporter.NAMESPACE):
            yield ClusterObject("Namespace", name, remedy)
        for name in (scraping.PROMETHEUS, kube_state_metrics.NAME):
            yield from _cluster_role(name, remedy)


def _addons(settings: StackSettings) -> Iterator[ClusterObject]:
    platform = settings.platform
    if platform.storage == "openebs":
        remedy = f"{RENAME}, or set platform:storage: vendor"
        yield ClusterObject("Namespace", openebs.NAMESPACE, remedy)
        yield ClusterObject("StorageClass", openebs.CLASS, remedy)
        yield from _cluster_role(openebs.NAME, remedy)
    if platform.load_balancer:
        yield from _vendored("metallb", metallb.NAMESPACE, f"{RENAME}, or remove platform:load_balancer")
    if platform.metrics == "own":
        yield from _vendored(metrics_server.NAME, "", f"{RENAME}, or set platform:metrics: vendor")


def _cluster_role(name: str, remedy: str) -> Iterator[ClusterObject]:
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        yield ClusterObject(kind, name, remedy)


def _vendored(addon: str, own_namespace: str, remedy: str) -> Iterator[ClusterObject]:
    """Yield the objects of a vendored manifest that are outside the add-on's own namespace."""
    for (kind, name), manifest in read_manifests(addon).items():
        namespace = manifest["metadata"].get("namespace", "")
        if kind in PATHS and (not namespace or namespace != own_namespace):
            yield ClusterObject(kind, name, remedy, namespace)
