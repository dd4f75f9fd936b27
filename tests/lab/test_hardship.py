"""Machines that die, `up`s that are killed, and what is left at the end."""

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

from .cluster import Cluster, until
from .conftest import cluster_of
from .stacks import cut_power

KILLS = 10


def test_a_worker_that_lost_its_power_is_ready_again_after_the_next_up(lab: Stack, cluster: Cluster) -> None:
    cut_power(lab, "worker-2")
    until(lambda: not cluster.nodes_ready()["worker-2"], what="noticing that the worker is dead")
    assert "worker-2" in touched(lab.up())
    until(lambda: cluster.nodes_ready()["worker-2"], what="the worker's coming back")


def test_the_control_plane_comes_back_with_every_object(lab: Stack, cluster: Cluster) -> None:
    before = {item["metadata"]["uid"] for item in cluster.get("deployments", "-A")["items"]}
    assert before
    cut_power(lab, "control-plane")
    assert touched(lab.up()) == {"control-plane"}
    after = until(lambda: _uids(cluster), seconds=180, what="the API server's coming back")
    assert after == before
    until(lambda: all(cluster.nodes_ready().values()), seconds=180, what="every node's being Ready")


def test_a_worker_is_added_and_removed_without_touching_the_others(lab: Stack, cluster: Cluster) -> None:
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


def test_a_snapshot_of_etcd_brings_back_what_was_deleted(lab: Stack, cluster: Cluster, tmp_path: Path) -> None:
    """The commands of docs/operate.md, as they stand there."""
    page = (lab.project / "docs" / "operate.md").read_text()
    save, restore = re.findall(r"```bash\n(# (?:back up|restore)[^`]*)```", page)
    cluster.kubectl("create", "configmap", "before-the-snapshot")
    on_control_plane(lab, save)
    cluster.kubectl("delete", "configmap", "before-the-snapshot")
    on_control_plane(lab, restore)
    until(
        lambda: "before-the-snapshot" in cluster.kubectl("get", "configmaps", "-o", "name", check=False),
        seconds=180,
        what="the return of what was deleted",
    )
    until(lambda: all(cluster.nodes_ready().values()), seconds=180)


def test_an_up_that_is_killed_again_and_again_converges(make_lab: Callable[[str], Stack], tmp_path: Path) -> None:
    stack = make_lab("killed")
    chance = random.Random(20)
    killed: list[psutil.Process] = []
    for _ in range(KILLS):
        up = stack.command("up", "--yes", "--skip-preview")
        time.sleep(chance.uniform(3, 25))
        killed += psutil.Process(up.pid).children(recursive=True)
        up.send_signal(signal.SIGKILL)
        up.wait()
        # At once, as a person would: what the killed one was about may still be going on.
        code, output = stack.pulumi("cancel", "--yes")
        assert code == 0 or "not locked" in output or "no locks" in output, output
    stack.up()
    # Plugins and whatever they had begun end with a killed CLI; the registry is a resource, and stays.
    assert {process.name() for process in killed if process.is_running()} <= {"docker-registry"}
    assert set(changes(stack.up())) == {"unchanged"}
    ready = cluster_of(stack, tmp_path).nodes_ready()
    assert ready == {"control-plane": True, "worker-1": True, "worker-2": True}
    # One of its machines is dead when it is taken down.
    cut_power(stack, "worker-1")
    code, output = stack.pulumi("destroy", "--yes")
    assert code == 0, output
    assert leftovers(stack) == []


def test_secrets_stand_nowhere_in_clear(lab: Stack) -> None:
    outputs = lab.outputs("--show-secrets")
    kubeconfig, key = outputs["kubeconfig"], outputs["machines"][0]["key"]
    secrets = {
        "the kubeconfig's key": re.search(r"client-key-data: (\S+)", kubeconfig),
        "the SSH key": re.search(r"KEY-----\n(\S+)", key),
    }
    places = {f"output of command {number}": text for number, text in enumerate(lab.written)}
    for folder in (lab.scratch / "state", lab.project / ".stacks"):
        for file in folder.rglob("*"):
            if file.is_file():
                places[str(file)] = file.read_bytes().decode("latin-1")
    for process in psutil.process_iter(["cmdline"]):
        places[f"arguments of process {process.pid}"] = " ".join(process.info["cmdline"] or [])
    assert any("state" in place for place in places)
    for name, found in secrets.items():
        assert found is not None
        assert [place for place, text in places.items() if found[1] in text] == [], name


@pytest.mark.parametrize("worker", ["worker-1", "worker-2"])
def test_a_worker_has_neither_an_administrators_key_nor_a_bootstrap_token(lab: Stack, worker: str) -> None:
    found = on(
        lab, worker, "sudo ls /etc/kubernetes; sudo grep -rlE '[a-z0-9]{6}\\.[a-z0-9]{16}$' /etc/kubernetes || true"
    )
    assert "kubelet.conf" in found
    assert "admin.conf" not in found
    assert "/etc/kubernetes/" not in found


def test_what_a_worker_shows_the_registry_pulls_and_cannot_push(lab: Stack) -> None:
    folder = "/etc/containerd/certs.d"
    hosts = on(lab, "worker-1", f"sudo cat {folder}/registry.k8s.io/hosts.toml")
    (url,) = re.findall(r'\[host\."(\S+)"]', hosts)
    (authorization,) = re.findall(r'authorization = "(Basic \S+)"', hosts)
    context = ssl.create_default_context(cadata=on(lab, "worker-1", f"sudo cat {folder}/mirror-ca.crt"))

    headers = {"Authorization": authorization, "Accept": "application/vnd.oci.image.manifest.v1+json"}

    def status(method: str, path: str) -> int:
        request = urllib.request.Request(url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    image, _, tag = PAUSE.removeprefix("registry.k8s.io").partition(":")
    assert status("HEAD", f"{image}/manifests/{tag}") == 200
    assert status("POST", f"{image}/blobs/uploads/") == 405
    assert status("PUT", f"{image}/manifests/{tag}") == 405
    assert status("DELETE", f"{image}/manifests/{tag}") == 405


def test_a_script_waits_for_the_one_that_a_killed_up_left(lab: Stack) -> None:
    lock = "/run/mlplatform.lock"
    left = "until [ -e /run/let-go ]; do sleep 0.1; done; touch /run/left-has-ended"
    on(lab, "worker-1", f"sudo systemd-run --quiet --collect flock {lock} sh -c '{left}'")
    held = f"sudo flock --nonblock {lock} true && echo free || echo held"
    until(lambda: on(lab, "worker-1", held) == "held\n", seconds=30, what="the other script's start")
    on(lab, "worker-1", "sudo systemd-run --quiet --collect sh -c 'sleep 3; touch /run/let-go'")
    on(lab, "worker-1", command_line("facts.sh", {"ADDRESS": "", "PEERS": ""}), standard_input("facts.sh"))
    assert on(lab, "worker-1", "ls /run/left-has-ended") == "/run/left-has-ended\n"


def test_destroy_leaves_nothing(make_lab: Callable[[str], Stack]) -> None:
    stack = make_lab("single")
    stack.settings["infra:lab"]["size"] = 1
    stack.up()
    assert leftovers(stack)
    code, output = stack.pulumi("destroy", "--yes")
    assert code == 0, output
    assert leftovers(stack) == []


def on(stack: Stack, machine: str, command: str, stdin: str = "") -> str:
    """Run a command on a machine over SSH."""
    from infra.ssh import connected

    machines = {found["name"]: found for found in stack.outputs("--show-secrets")["machines"]}
    with connected(machines[machine]) as shell:
        return shell.run(command, stdin).checked(command)


def on_control_plane(stack: Stack, commands: str) -> str:
    return on(stack, "control-plane", f"sudo bash -euo pipefail -c '{commands}'")


def leftovers(stack: Stack) -> list[str]:
    """Processes, mounts, network namespaces, links, cgroups and files that belong to a stack."""
    marks = (f"{stack.name}.", f"-{stack.name}-", f"/{stack.name}/")
    found = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    found += Path("/proc/mounts").read_text().splitlines()
    for command in (["ip", "netns", "list"], ["ip", "-details", "link", "show"], ["runc", "list"], ["iptables-save"]):
        found += subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found += [str(path) for path in Path("/sys/fs/cgroup").rglob("mlplatform*") if path.is_dir()]
    found += [str(path) for path in stack.data.rglob("*")]
    here = str(stack.project)
    mine = [line for line in found if any(mark in line for mark in marks) or f"stack {stack.name}" in line]
    return [line for line in mine if here not in line]


def _uids(cluster: Cluster) -> set[str] | None:
    listed = cluster.kubectl("get", "deployments", "-A", "-o", "jsonpath={.items[*].metadata.uid}", check=False)
    return set(listed.split()) if re.fullmatch(r"[0-9a-f -]+", listed) else None
