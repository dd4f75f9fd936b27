"""MLflow in a cluster: behind a password, on a volume, reachable with the kubeconfig."""

from __future__ import annotations

import uuid
from pathlib import Path

import requests
from mlplatform import mlflow
from mlplatform.tracking_access import TrackingAccess

from infra.kubernetes_client.client import KubernetesClient
from tests.waiting import until
from tools.cli.backup.contents.cluster_data import copy_cluster_data, has_cluster_data, replace_cluster_data
from workloads.mlflow_session import mlflow_session

from .conftest import pods, ready

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


def test_tracking_without_password_returns_nothing(tracking_url: str, tracking_access: TrackingAccess[str]) -> None:
    assert requests.get(tracking_url + SEARCH, timeout=30).status_code == 401
    assert requests.get(tracking_url + SEARCH, auth=("admin", "password1234"), timeout=30).status_code == 401
    assert requests.get(tracking_url, timeout=30).status_code == 401
    assert requests.get(tracking_url + SEARCH, auth=tracking_access.login, timeout=30).status_code == 200


def test_tracking_data_survives_its_pod(api: KubernetesClient, tracking_access: TrackingAccess[str]) -> None:
    from workloads.ml.tracking import client

    name = f"kept-{uuid.uuid4().hex[:8]}"
    with mlflow_session(tracking_access) as url:
        run = client(url).create_run(client(url).create_experiment(name))
        client(url).log_text(run.info.run_id, "still here", "note.txt")
    (old,) = pods(api, mlflow.NAMESPACE, mlflow.PODS)
    api.core.delete_namespaced_pod(old.metadata.name, mlflow.NAMESPACE)
    until(
        lambda: [
            pod
            for pod in pods(api, mlflow.NAMESPACE, mlflow.PODS)
            if ready(pod) and pod.metadata.uid != old.metadata.uid
        ],
        seconds=180,
    )
    with mlflow_session(tracking_access) as url:
        assert client(url).get_experiment_by_name(name) is not None
        artifact = f"{url}/get-artifact?path=note.txt&run_uuid={run.info.run_id}"
        assert requests.get(artifact, auth=tracking_access.login, timeout=30).text == "still here"
        client(url).delete_experiment(run.info.experiment_id)


def test_restored_data_of_a_backup_replace_those_of_the_volume(
    kubeconfig: str, tracking_access: TrackingAccess[str], tmp_path: Path
) -> None:
    from workloads.ml.tracking import client

    name = f"saved-{uuid.uuid4().hex[:8]}"
    with mlflow_session(tracking_access) as url:
        run = client(url).create_run(client(url).create_experiment(name))
        client(url).log_text(run.info.run_id, "as it was", "note.txt")
    copy_cluster_data(kubeconfig, tmp_path)
    assert has_cluster_data(kubeconfig)
    with mlflow_session(tracking_access) as url:
        client(url).log_text(run.info.run_id, "changed", "note.txt")
        client(url).log_metric(run.info.run_id, "later", 1)
    replace_cluster_data(kubeconfig, tmp_path)
    with mlflow_session(tracking_access) as url:
        restored = client(url).get_run(run.info.run_id)
        assert restored.data.metrics == {}
        artifact = f"{url}/get-artifact?path=note.txt&run_uuid={run.info.run_id}"
        assert requests.get(artifact, auth=tracking_access.login, timeout=30).text == "as it was"
        client(url).delete_experiment(run.info.experiment_id)
