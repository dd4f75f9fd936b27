"""Tests of the summary of a cluster."""

from __future__ import annotations

from tools.cli.summary import summary

CLUSTER = {
    "api_endpoint": "https://10.20.0.11:6443",
    "nodes": [
        {"name": "control-plane", "role": "control-plane", "address": "10.20.0.11", "version": "v1.34.4"},
        {"name": "worker-1", "role": "worker", "address": "10.20.0.12", "version": "v1.34.4"},
    ],
    "storage_class": "openebs-hostpath",
    "network": {"name": "flannel", "encrypted": False, "network_policies": False},
    "kubeconfig": "[secret]",
}


def test_summary_has_the_nodes_of_a_cluster_and_its_commands() -> None:
    text = summary("lab", CLUSTER)
    assert "cluster https://10.20.0.11:6443" in text
    assert "worker-1: worker, 10.20.0.12, v1.34.4" in text
    assert "storage class: openebs-hostpath" in text
    assert "network: flannel, not encrypted; network policies are not enforced" in text
    assert "    make kubectl STACK=lab ARGS='get pods -A'\n    make ssh STACK=lab NODE=control-plane\n" in text


def test_summary_has_the_command_for_the_password_of_the_runs() -> None:
    text = summary("lab", CLUSTER | {"tracking_url": "http://10.20.0.200:5050", "tracking_login": "[secret]"})
    assert "make outputs STACK=lab ARGS='tracking_login --show-secrets'" in text


def test_summary_has_the_page_of_the_monitoring_and_the_command_for_its_password() -> None:
    page = {"monitoring_url": "http://10.20.0.202:9090/consoles/index.html", "monitoring_login": "[secret]"}
    text = summary("lab", CLUSTER | page)
    assert "metrics and alerts: http://10.20.0.202:9090/consoles/index.html" in text
    assert "make outputs STACK=lab ARGS='monitoring_login --show-secrets'" in text


def test_summary_without_a_pod_network_has_no_line_for_it() -> None:
    text = summary("managed", {name: value for name, value in CLUSTER.items() if name != "network"})
    assert "network" not in text
    assert "worker-1: worker" in text


def test_page_of_a_service_inside_the_cluster_is_a_command_that_opens_it() -> None:
    inside = {
        "tracking_url": "http://mlflow.mlplatform.svc:5050",
        "ui_url": "http://ml-pipeline-ui.kubeflow.svc:80",
        "monitoring_url": "http://prometheus.monitoring.svc:9090/consoles/index.html",
        "model": {"name": "iris", "version": "3", "alias": "champion", "sha256": "0" * 64, "accuracy": 0.9},
        "score_url": "http://iris-server.serving.svc:5005/score",
    }
    text = summary("lab", CLUSTER | inside)
    assert ".svc" not in text
    for page in ("runs and models", "pipelines and runs", "metrics and alerts", "page"):
        assert f"  {page}: make pages STACK=lab\n" in text
    assert "curl" not in text
