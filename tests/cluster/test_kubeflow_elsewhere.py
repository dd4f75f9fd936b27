"""Kubeflow Pipelines with an external database and bucket, here in another namespace of the cluster."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from mlplatform.kubeflow import database, object_store
from mlplatform.kubeflow.deployment_factory import NAMESPACE
from mlplatform.kubeflow.kubeflow_images import IMAGES

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from tests.harness import Stack, changes
from tests.lab.cluster import Cluster, cluster_at
from tests.waiting import until

SPACE = "elsewhere"
PASSWORD, KEY = "a-word-of-the-database", "a-key-of-the-store"
BUCKET = "runs"
DATABASE_START = f"""
mariadb-install-db --no-defaults --datadir=/data/data --skip-test-db --skip-name-resolve >/dev/null
cat >/data/start.sql <<END
CREATE USER IF NOT EXISTS 'owner'@'%' IDENTIFIED BY '{PASSWORD}';
CREATE DATABASE IF NOT EXISTS pipelines;
CREATE DATABASE IF NOT EXISTS metadata;
GRANT ALL PRIVILEGES ON pipelines.* TO 'owner'@'%';
GRANT ALL PRIVILEGES ON metadata.* TO 'owner'@'%';
END
exec mariadbd --no-defaults --datadir=/data/data --init-file=/data/start.sql --socket=/data/socket \\
  --bind-address=0.0.0.0 --character-set-server=utf8mb4 --skip-name-resolve
"""
IDENTITIES = {
    "identities": [
        {"name": "owner", "credentials": [{"accessKey": "owner", "secretKey": KEY}], "actions": ["Admin"]},
    ]
}


def server(name: str, image: str, command: list[str], port: int) -> list[dict[str, Any]]:
    """Create a pod with an empty folder at /data, and a Service with the pod's name."""
    container = {
        "name": "main",
        "image": image,
        "command": command,
        "env": [{"name": "HOME", "value": "/data"}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "settings", "mountPath": "/settings"}],
    }
    spec = {
        "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "settings"}}],
    }
    named = {"metadata": {"name": name, "namespace": SPACE, "labels": {"app": name}}}
    return [
        {"apiVersion": "v1", "kind": "Pod", "spec": spec, **named},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
            **named,
        },
    ]


@pytest.fixture(scope="module")
def cluster(kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return cluster_at(kubeconfig, tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def stores(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Yield the settings of a database server and an object store."""
    cluster.namespace(SPACE)
    weed = ["/usr/bin/weed", "server", "-dir=/data", "-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-filer", "-s3"]
    settings = {"name": "settings", "namespace": SPACE}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": settings, "data": {"s3.json": json.dumps(IDENTITIES)}},
        *server("database", IMAGES["database"], ["sh", "-ec", DATABASE_START], 3306),
        *server("objects", IMAGES["objects"], [*weed, "-s3.config=/settings/s3.json"], 8333),
    )
    cluster.wait("--for=condition=Ready", "pod", "--all", "-n", SPACE, seconds=180)
    yield {
        "database": {
            "host": f"database.{SPACE}.svc",
            "user": "owner",
            "password": PASSWORD,
            "pipelines": "pipelines",
            "metadata": "metadata",
        },
        "objects": {
            "host": f"objects.{SPACE}.svc",
            "port": 8333,
            "bucket": BUCKET,
            "access_key": "owner",
            "secret_key": KEY,
            "secure": False,
        },
    }
    cluster.kubectl("delete", "namespace", SPACE)


def keys_in_bucket(kubeconfig: str) -> list[str]:
    with port_forward(PodTarget(kubeconfig, SPACE, "app=objects", 8333)) as url:
        client = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="owner", aws_secret_access_key=KEY, region_name="us-east-1"
        )
        return [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.mark.usefixtures("kubeflow_installed")
def test_external_stores_hold_runs_and_files_and_replace_the_own_servers(
    whole: Stack | None, api: KubernetesClient, cluster: Cluster, kubeconfig: str, stores: dict[str, Any]
) -> None:
    if whole is None:
        pytest.skip("the kubeconfig of a cluster is given, not a stack")
    before = copy.deepcopy(whole.settings)
    try:
        whole.settings["platform:retain_volumes"] = False
        whole.up()  # a claim is deleted as it was last brought up
        whole.settings["platform:kubeflow"] = stores
        whole.settings["workloads:pipelines"]["iris-local"] = {"parameters": {"seed": 77}}
        whole.up()
        names = {each.metadata.name for each in api.core.list_namespaced_persistent_volume_claim(NAMESPACE).items}
        assert not names & {database.NAME, object_store.NAME}
        query = "select DisplayName, Conditions from pipelines.run_details"
        client = ["mariadb", "-h127.0.0.1", "-uowner", f"-p{PASSWORD}", "-Ne", query]
        runs = cluster.execute("database", SPACE, *client)
        assert "iris-local" in runs
        assert "Failed" not in runs
        assert any("iris-local" in key for key in keys_in_bucket(kubeconfig))
        assert set(changes(whole.up())) == {"unchanged"}
        text = json.dumps(api.to_json(api.core.list_namespaced_pod(NAMESPACE)))
        assert PASSWORD not in text
        assert KEY not in text
        written = [*whole.written, *(file.read_text() for file in Path(whole.scratch / "state").rglob("*.json"))]
        assert [text for text in written for word in (PASSWORD, KEY) if word in text] == []
    finally:
        whole.settings = before
        whole.up()
    until(lambda: database.NAME in {d.metadata.name for d in api.apps.list_namespaced_deployment(NAMESPACE).items})
