"""What a person reads at the end of `make up`."""

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


def test_a_cluster_is_told_with_its_nodes_and_the_commands_for_it() -> None:
    said = summary("lab", CLUSTER)
    assert "cluster https://10.20.0.11:6443" in said
    assert "worker-1: worker, 10.20.0.12, v1.34.4" in said
    assert "storage class: openebs-hostpath" in said
    assert "network: flannel, in clear; network policies are not enforced" in said
    assert "make kubectl STACK=lab ARGS='get pods -A', make ssh STACK=lab NODE=control-plane" in said


def test_who_needs_a_password_for_the_runs_is_told_where_it_is() -> None:
    said = summary("lab", CLUSTER | {"tracking_url": "http://10.20.0.200:5050", "tracking_login": "[secret]"})
    assert "make outputs STACK=lab ARGS='tracking_login --show-secrets'" in said


def test_the_page_on_the_state_of_all_is_told_with_where_its_password_is() -> None:
    page = {"monitoring_url": "http://10.20.0.202:9090/consoles/index.html", "monitoring_login": "[secret]"}
    said = summary("lab", CLUSTER | page)
    assert "state of all, alerts: http://10.20.0.202:9090/consoles/index.html" in said
    assert "make outputs STACK=lab ARGS='monitoring_login --show-secrets'" in said


def test_a_cluster_of_a_vendor_has_no_network_of_ours_to_tell_of() -> None:
    said = summary("managed", {name: value for name, value in CLUSTER.items() if name != "network"})
    assert "network" not in said
    assert "worker-1: worker" in said
