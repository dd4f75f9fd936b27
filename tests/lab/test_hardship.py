"""Machines without power, killed `up`s, and leftovers after destroy."""

from __future__ import annotations

import random
import re
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.kubeadm.packages import PAUSE
from infra.kubeadm.scripts import command_line, standard_input
from tests.harness import Stack, changes, touched
from tools.cli.backup.contents.cluster_data import copy_cluster_data, has_cluster_data, replace_cluster_data
from tools.cli.backup.contents.etcd_copy import ETCD, SNAPSHOT, copy_etcd
from tools.cli.backup.lost_volume import replace_lost_volume

from .cluster import Cluster, until
from .conftest import cluster_of
from .stacks import cut_power, lose

KILLS = 10
TRACKING, MLFLOW = "mlplatform-tracking", "deployment/mlflow"


def test_up_after_a_power_cut_of_a_worker_makes_it_ready(lab: Stack, cluster: Cluster) -> None:
    cut_power(lab, "worker-2")
    until(lambda: not cluster.nodes_ready()["worker-2"], what="detection of the dead worker")
    assert "worker-2" in touched(lab.up())
    until(lambda: cluster.nodes_ready()["worker-2"], what="return of the worker")


def test_up_after_a_power_cut_of_the_control_plane_keeps_every_object(lab: Stack, cluster: Cluster) -> None:
    before = {item["metadata"]["uid"] for item in cluster.get("deployments", "-A")["items"]}
    assert before
    cut_power(lab, "control-plane")
    assert touched(lab.up()) == {"control-plane"}
    after = until(lambda: _uids(cluster), seconds=180, what="return of the API server")
    assert after == before
    until(lambda: all(cluster.nodes_ready().values()), seconds=180, what="every node's being Ready")


def test_up_with_another_number_of_workers_keeps_the_others(lab: Stack, cluster: Cluster) -> None:
    lab.settings["infra:lab"]["size"] = 4
    code, plan = lab.pulumi("preview", "--diff")
    assert code == 0, plan
    assert set(changes(plan.replace("to create", "created"))) <= {"created", "unchanged"}, plan
    output = lab.up()
    assert all("worker-3" in name for name in touched(output)), touched(output)
    assert cluster.nodes_ready()["worker-3"]
    lab.settings["infra:lab"]["size"] = 3
    output = lab.up()
    assert all("worker-3" in name for name in touched(output)), touched(output)
    assert set(cluster.nodes_ready()) == {"control-plane", "worker-1", "worker-2"}


def test_restore_of_an_etcd_snapshot_brings_deleted_objects_back(lab: Stack, cluster: Cluster, tmp_path: Path) -> None:
    """Run the commands of docs/operate.md verbatim."""
    page = (lab.project / "docs" / "operate.md").read_text()
    save, restore = re.findall(r"```bash\n(# (?:back up|restore)\n[^`]*)```", page)
    cluster.kubectl("create", "configmap", "before-the-snapshot")
    on_control_plane(lab, save)
    cluster.kubectl("delete", "configmap", "before-the-snapshot")
    on_control_plane(lab, restore)
    until(
        lambda: "before-the-snapshot" in cluster.kubectl("get", "configmaps", "-o", "name", check=False),
        seconds=180,
        what="return of the deleted object",
    )
    until(lambda: all(cluster.nodes_ready().values()), seconds=180)


def test_copy_of_etcd_has_its_objects_and_the_keys_of_its_secrets(lab: Stack, cluster: Cluster, tmp_path: Path) -> None:
    cluster.kubectl("create", "configmap", "in-the-backup")
    copy_etcd(lab.outputs("--show-secrets")["machines"], tmp_path)
    names = {str(file.relative_to(tmp_path / ETCD)) for file in (tmp_path / ETCD).rglob("*") if file.is_file()}
    assert {SNAPSHOT, "encryption.yaml", "pki/ca.key", "pki/etcd/ca.key", "pki/sa.key"} <= names
    assert b"/registry/configmaps/default/in-the-backup" in (tmp_path / ETCD / SNAPSHOT).read_bytes()


def test_mlflow_whose_machine_is_lost_has_its_data_on_another_one(lab: Stack, cluster: Cluster, tmp_path: Path) -> None:
    kubeconfig = cluster.kubeconfig.read_text()
    write = "import sqlite3; db = sqlite3.connect('mlflow.db'); db.execute(%r); db.commit()"
    cluster.execute(MLFLOW, TRACKING, "python3", "-c", write % "insert into registered_models (name) values ('kept')")
    copy_cluster_data(kubeconfig, tmp_path)
    (pod,) = cluster.get("pods", "-n", TRACKING)["items"]
    lose(lab, pod["spec"]["nodeName"])
    until(lambda: not _is_ready(cluster), seconds=180, what="detection of the lost machine")
    replace_lost_volume(kubeconfig)
    assert not has_cluster_data(kubeconfig)
    replace_cluster_data(kubeconfig, tmp_path)
    assert has_cluster_data(kubeconfig)
    assert pod["spec"]["nodeName"] in touched(lab.up())
    until(lambda: all(cluster.nodes_ready().values()), seconds=180)


def _is_ready(cluster: Cluster) -> bool:
    return bool(cluster.get("deployment", "mlflow", "-n", TRACKING)["status"].get("readyReplicas"))


def test_up_after_ten_killed_ups_converges(make_lab: Callable[[str], Stack], tmp_path: Path) -> None:
    stack = make_lab("killed")
    generator = random.Random(20)
    killed: list[psutil.Process] = []
    for _ in range(KILLS):
        up = stack.command("up", "--yes", "--skip-preview")
        time.sleep(generator.uniform(3, 25))
        killed += psutil.Process(up.pid).children(recursive=True)
        up.send_signal(signal.SIGKILL)
        up.wait()
        # Cancel immediately, as a user would, while steps of the killed `up` may still run.
        code, output = stack.pulumi("cancel", "--yes")
        assert code == 0 or "not locked" in output or "no locks" in output, output
    stack.up()
    # Plugins and their children end with a killed CLI. The registry is a resource, so it stays.
    assert {process.name() for process in killed if process.is_running()} <= {"docker-registry"}
    assert set(changes(stack.up())) == {"unchanged"}
    ready = cluster_of(stack, tmp_path).nodes_ready()
    assert ready == {"control-plane": True, "worker-1": True, "worker-2": True}
    # Destroy also works with a dead machine.
    cut_power(stack, "worker-1")
    code, output = stack.pulumi("destroy", "--yes")
    assert code == 0, output
    assert leftovers(stack) == []


def test_secrets_are_not_in_state_output_or_process_list(lab: Stack) -> None:
    outputs = lab.outputs("--show-secrets")
    kubeconfig, key = outputs["kubeconfig"], outputs["machines"][0]["key"]
    secrets = {
        "the kubeconfig's key": re.search(r"client-key-data: (\S+)", kubeconfig),
        "the SSH key": re.search(r"KEY-----\n(\S+)", key),
    }
    texts = {f"output of command {number}": text for number, text in enumerate(lab.written)}
    for folder in (lab.scratch / "state", lab.project / ".stacks"):
        for file in folder.rglob("*"):
            if file.is_file():
                texts[str(file)] = file.read_bytes().decode("latin-1")
    for process in psutil.process_iter(["cmdline"]):
        texts[f"arguments of process {process.pid}"] = " ".join(process.info["cmdline"] or [])
    assert any("state" in place for place in texts)
    for name, match in secrets.items():
        assert match is not None
        assert [place for place, text in texts.items() if match[1] in text] == [], name


@pytest.mark.parametrize("worker", ["worker-1", "worker-2"])
def test_worker_has_no_administrator_key_and_no_bootstrap_token(lab: Stack, worker: str) -> None:
    output = on(
        lab, worker, "sudo ls /etc/kubernetes; sudo grep -rlE '[a-z0-9]{6}\\.[a-z0-9]{16}$' /etc/kubernetes || true"
    )
    assert "kubelet.conf" in output
    assert "admin.conf" not in output
    assert "/etc/kubernetes/" not in output


def test_registry_login_of_a_worker_can_pull_and_cannot_push(lab: Stack) -> None:
    folder = "/etc/containerd/certs.d"
    hosts = on(lab, "worker-1", f"sudo cat {folder}/registry.k8s.io/hosts.toml")
    (url,) = re.findall(r'\[host\."(\S+)"]', hosts)
    (authorization,) = re.findall(r'authorization = "(Basic \S+)"', hosts)
    context = ssl.create_default_context(cadata=on(lab, "worker-1", f"sudo cat {folder}/mirror-ca.crt"))

    headers = {"Authorization": authorization, "Accept": "application/vnd.oci.image.manifest.v1+json"}

    def status(method: str, path: str) -> int:
        request = urllib.request.Request(url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    image, _, tag = PAUSE.removeprefix("registry.k8s.io").partition(":")
    assert status("HEAD", f"{image}/manifests/{tag}") == 200
    assert status("POST", f"{image}/blobs/uploads/") == 405
    assert status("PUT", f"{image}/manifests/{tag}") == 405
    assert status("DELETE", f"{image}/manifests/{tag}") == 405


def test_script_waits_for_the_script_of_a_killed_up(lab: Stack) -> None:
    lock = "/run/mlplatform.lock"
    other_script = "until [ -e /run/let-go ]; do sleep 0.1; done; touch /run/other-has-ended"
    on(lab, "worker-1", f"sudo systemd-run --quiet --collect flock {lock} sh -c '{other_script}'")
    held = f"sudo flock --nonblock {lock} true && echo free || echo held"
    until(lambda: on(lab, "worker-1", held) == "held\n", seconds=30, what="start of the other script")
    on(lab, "worker-1", "sudo systemd-run --quiet --collect sh -c 'sleep 3; touch /run/let-go'")
    on(
        lab,
        "worker-1",
        command_line("preflight/facts.sh", {"ADDRESS": "", "PEERS": ""}),
        standard_input("preflight/facts.sh"),
    )
    assert on(lab, "worker-1", "ls /run/other-has-ended") == "/run/other-has-ended\n"


def test_destroy_leaves_no_processes_links_or_files(make_lab: Callable[[str], Stack]) -> None:
    stack = make_lab("single")
    stack.settings["infra:lab"]["size"] = 1
    stack.up()
    assert leftovers(stack)
    code, output = stack.pulumi("destroy", "--yes")
    assert code == 0, output
    assert leftovers(stack) == []


def on(stack: Stack, machine: str, command: str, stdin: str = "") -> str:
    """Run a command on a machine over SSH."""
    from infra.machine import ResolvedMachine
    from infra.ssh import connected

    machines = {properties["name"]: properties for properties in stack.outputs("--show-secrets")["machines"]}
    with connected(ResolvedMachine.parse(machines[machine])) as shell:
        return shell.run(command, stdin).checked(command)


def on_control_plane(stack: Stack, commands: str) -> str:
    return on(stack, "control-plane", f"sudo bash -euo pipefail -c '{commands}'")


def leftovers(stack: Stack) -> list[str]:
    """Return the processes, mounts, network namespaces, links, cgroups and files of a stack."""
    marks = (f"{stack.name}.", f"-{stack.name}-", f"/{stack.name}/")
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    lines += Path("/proc/mounts").read_text().splitlines()
    for command in (["ip", "netns", "list"], ["ip", "-details", "link", "show"], ["runc", "list"], ["iptables-save"]):
        lines += subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    lines += [str(path) for path in Path("/sys/fs/cgroup").rglob("mlplatform*") if path.is_dir()]
    lines += [str(path) for path in stack.data.rglob("*")]
    project = str(stack.project)
    of_stack = [line for line in lines if any(mark in line for mark in marks) or f"stack {stack.name}" in line]
    return [line for line in of_stack if project not in line]


def _uids(cluster: Cluster) -> set[str] | None:
    listed = cluster.kubectl("get", "deployments", "-A", "-o", "jsonpath={.items[*].metadata.uid}", check=False)
    return set(listed.split()) if re.fullmatch(r"[0-9a-f -]+", listed) else None
