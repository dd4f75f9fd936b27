"""Three control planes: each is lost, replaced, removed and added, and etcd loses its majority."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.harness import Stack, changes, touched
from tests.waiting import until

from .cluster import Cluster
from .conftest import cluster_of
from .stacks import cut_power, lose
from .test_hardship import on

PLANES = ("control-plane", "control-plane-2", "control-plane-3")
WORKERS = ("worker-1", "worker-2")
PORTS = (2379, 6443)
"""Ports of etcd and of the API server."""
ETCDCTL = (
    "etcdctl --cacert=/etc/kubernetes/pki/etcd/ca.crt --cert=/etc/kubernetes/pki/etcd/peer.crt "
    "--key=/etc/kubernetes/pki/etcd/peer.key"
)


@pytest.fixture(scope="module")
def trio(make_lab: Callable[[str], Stack]) -> Stack:
    stack = make_lab("trio")
    stack.settings["infra:lab"] |= {"size": 5, "control_planes": 3}
    del stack.settings["platform:monitoring"]
    stack.up()
    return stack


@pytest.fixture
def cluster(trio: Stack, tmp_path: Path) -> Cluster:
    return cluster_of(trio, tmp_path)


def test_cluster_of_three_control_planes_uses_the_address_that_moves(trio: Stack, cluster: Cluster) -> None:
    outputs = trio.outputs("--show-secrets")
    address = f"{trio.settings['infra:lab']['subnet'].rpartition('.')[0]}.10"
    assert outputs["api_endpoint"] == f"https://{address}:6443"
    assert {node["name"]: node["role"] for node in outputs["nodes"]} == {
        **dict.fromkeys(PLANES, "control-plane"),
        **dict.fromkeys(WORKERS, "worker"),
    }
    assert cluster.nodes_ready() == dict.fromkeys((*PLANES, *WORKERS), True)
    assert members(cluster, PLANES[0]) == set(PLANES)
    assert f"server: https://{address}:6443" in on(trio, "worker-1", "sudo cat /etc/kubernetes/kubelet.conf")
    assert [plane for plane in PLANES if holds(trio, plane, address)] == [holder(trio, address)]
    names = "sudo openssl x509 -noout -ext subjectAltName -in /etc/kubernetes/pki/apiserver.crt"
    assert len({on(trio, plane, names) for plane in PLANES}) == len(PLANES)
    assert all(f"IP Address:{address}" in on(trio, plane, names) for plane in PLANES)
    no_key = cluster.kubectl("get", "secret", "kubeadm-certs", "-n", "kube-system", "--ignore-not-found")
    assert no_key == ""
    assert set(changes(trio.up())) == {"unchanged"}


def test_timers_of_all_control_planes_know_all_nodes(trio: Stack, cluster: Cluster) -> None:
    for plane in PLANES:
        assert set(on(trio, plane, "ls /etc/mlplatform/nodes").split()) == {*PLANES, *WORKERS}


@pytest.mark.parametrize("plane", PLANES)
def test_api_server_responds_again_while_a_control_plane_is_dead(
    trio: Stack, cluster: Cluster, plane: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill the machine that is named, after the address has moved to it if it can be moved."""
    address = trio.outputs()["api_endpoint"].removeprefix("https://").removesuffix(":6443")
    held = holds(trio, plane, address)
    with watching(trio) as watch:
        until(lambda: watch.answered > 20, what="a steady API server")
        cut_power(trio, plane)
        seen = watch.answered
        until(lambda: watch.answered > seen + 50, seconds=90, what="writes through the API server")
    with capsys.disabled():
        print(
            f"\n  API server away for {watch.longest:.1f} s, {plane} killed{', which held the address' if held else ''}"
        )
    assert holder(trio, address, without=plane)
    assert touched(trio.up()) == {plane}
    until(lambda: all(cluster.nodes_ready().values()), seconds=180, what="every node's being Ready")
    until(lambda: members(cluster, plane) == set(PLANES), seconds=120, what="the member's return")


@pytest.mark.parametrize("plane", [PLANES[0], PLANES[2]])
def test_lost_control_plane_is_replaced_by_a_new_machine(trio: Stack, cluster: Cluster, plane: str) -> None:
    cluster.kubectl("create", "secret", "generic", f"before-{plane}", "--from-literal=word=kept")
    before = uids(cluster)
    lose(trio, plane)
    trio.up()
    until(lambda: all(cluster.nodes_ready().values()), seconds=180, what="every node's being Ready")
    assert members(cluster, plane) == set(PLANES)
    assert before <= uids(cluster)
    own_server = f"https://{address_of(trio, plane)}:6443"
    secret = f"get secret before-{plane} -o jsonpath='{{.data.word}}'"
    # Read through the new machine's API server: it has the encryption keys of the others.
    read = f"sudo kubectl --kubeconfig /etc/kubernetes/admin.conf --server {own_server} {secret}"
    assert on(trio, plane, read) == "a2VwdA=="
    assert set(changes(trio.up())) == {"unchanged"}


def test_etcd_without_a_majority_is_restored_from_the_last_member(trio: Stack, cluster: Cluster) -> None:
    """Run the commands of docs/operate.md verbatim."""
    page = (trio.project / "docs" / "operate.md").read_text()
    (commands,) = re.findall(r"```bash\n(# restore the majority[^`]*)```", page)
    before = uids(cluster)
    for plane in PLANES[1:]:
        cut_power(trio, plane)
    until(lambda: not uids(cluster), what="the loss of the majority")
    on(trio, PLANES[0], f"sudo bash -euo pipefail -c '{commands}'")
    until(lambda: before <= uids(cluster), seconds=120, what="return of the objects")
    assert members(cluster, PLANES[0]) == {PLANES[0]}
    for plane in PLANES[1:]:
        lose(trio, plane)
    trio.up()
    until(lambda: all(cluster.nodes_ready().values()), seconds=180, what="every node's being Ready")
    assert members(cluster, PLANES[2]) == set(PLANES)
    assert before <= uids(cluster)


def test_certificates_are_renewed_on_each_control_plane(trio: Stack, cluster: Cluster) -> None:
    """Run the commands of docs/operate.md verbatim."""
    (commands,) = re.findall(r"```bash\n(# renew certificates[^`]*)```", (trio.project / "docs/operate.md").read_text())
    before = {plane: served_serials(trio, plane) for plane in PLANES}
    outputs = trio.outputs("--show-secrets")
    for plane in PLANES:
        on(trio, plane, f"sudo bash -euo pipefail -c '{commands}'")
        until(lambda: all(cluster.nodes_ready().values()), seconds=180, what="every node's being Ready")
        after = served_serials(trio, plane)
        assert [port for port in PORTS if after[port] == before[plane][port]] == []
    trio.up("--replace", "**kubeconfig", "--replace", "**certificates-expire")
    renewed = trio.outputs("--show-secrets")
    assert renewed["kubeconfig"] != outputs["kubeconfig"]
    assert renewed["certificates_expire"] > outputs["certificates_expire"]
    assert members(cluster, PLANES[0]) == set(PLANES)


def served_serials(stack: Stack, plane: str) -> dict[int, str]:
    """Return the serial number of the certificate with which each program answers, by its port."""
    read = "true | openssl s_client -connect localhost:{port} 2>/dev/null | openssl x509 -noout -serial"
    return {port: on(stack, plane, read.format(port=port)) for port in PORTS}


def test_control_planes_leave_and_return_on_a_running_cluster(trio: Stack, tmp_path: Path) -> None:
    trio.settings["infra:lab"] |= {"size": 3, "control_planes": 1}
    trio.up()
    single = cluster_of(trio, tmp_path)
    assert single.nodes_ready() == dict.fromkeys((PLANES[0], *WORKERS), True)
    assert members(single, PLANES[0]) == {PLANES[0]}
    before = uids(single)
    trio.settings["infra:lab"] |= {"size": 5, "control_planes": 3}
    trio.up()
    cluster = cluster_of(trio, tmp_path)
    assert cluster.nodes_ready() == dict.fromkeys((*PLANES, *WORKERS), True)
    assert members(cluster, PLANES[1]) == set(PLANES)
    assert before <= uids(cluster)
    address = trio.outputs()["api_endpoint"]
    assert f"server: {address}\n" in on(trio, "worker-2", "sudo cat /etc/kubernetes/kubelet.conf")
    assert f"server: {address}\n" in cluster.kubectl(
        "get", "configmap", "kube-proxy", "-n", "kube-system", "-o", "yaml"
    )
    assert set(changes(trio.up())) == {"unchanged"}


class Watch:
    """Writes through the API server. `longest` is the longest time in seconds without a success."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes import client, config  # type: ignore[import-untyped]

        self._api = client.CoreV1Api(config.new_client_from_config_dict(yaml.safe_load(kubeconfig)))
        self.answered, self.longest = 0, 0.0

    def repeat(self, ended: threading.Event) -> None:
        last = time.monotonic()
        while not ended.wait(0.1):
            annotation = {"metadata": {"annotations": {"tests/written": str(time.time())}}}
            try:
                self._api.patch_namespace("default", annotation, _request_timeout=1)
            except Exception:  # any error: the API server is away
                continue
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            self.answered += 1


@contextmanager
def watching(stack: Stack) -> Iterator[Watch]:
    """Write through the API server in a thread."""
    watch, ended = Watch(stack.outputs("--show-secrets")["kubeconfig"]), threading.Event()
    thread = threading.Thread(target=watch.repeat, args=(ended,))
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def members(cluster: Cluster, plane: str) -> set[str]:
    """Return the names of etcd's members as one of them knows them; learners are no members yet."""
    listed = cluster.execute(f"etcd-{plane}", "kube-system", *ETCDCTL.split(), "member", "list", check=False)
    fields = [line.split(", ") for line in listed.splitlines()]
    return {line[2] for line in fields if len(line) == 6 and (line[1], line[5]) == ("started", "false")}


def holds(stack: Stack, plane: str, address: str) -> bool:
    return f" {address}/32 " in on(stack, plane, "ip -oneline -4 address show")


def holder(stack: Stack, address: str, without: str = "") -> str:
    """Return the only control plane that holds the address, "" if none or several do."""
    holders = [plane for plane in PLANES if plane != without and holds(stack, plane, address)]
    return holders[0] if len(holders) == 1 else ""


def address_of(stack: Stack, machine: str) -> str:
    return next(node["address"] for node in stack.outputs()["nodes"] if node["name"] == machine)


def uids(cluster: Cluster) -> set[str]:
    """Return the objects of the cluster that no controller replaces."""
    kinds = "deployments,daemonsets,services,secrets,persistentvolumeclaims"
    printed = cluster.kubectl("get", kinds, "-A", "-o", "jsonpath={.items[*].metadata.uid}", check=False)
    return set(re.findall(r"[0-9a-f-]{36}", printed))
