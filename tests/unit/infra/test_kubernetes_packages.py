"""Installation of Kubernetes' programs: the real script in a folder, with the bundle's layer and fake programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.sandbox import Sandbox

VERSION, OLD = "v1.34.4", "v1.33.13"
RESTART, ENABLE = "systemctl restart kubelet", "systemctl enable --quiet kubelet"
PRINTED = {"kubeadm": "{}", "kubelet": "Kubernetes {}", "kubectl": "Client Version: {}"}
PLUGINS = ("bridge", "loopback")


def text(program: str, version: str) -> str:
    return f"#!{shutil.which('bash')}\necho {PRINTED[program].format(version)}\n"


class Machine(Sandbox):
    """A machine, and a registry with the layer of VERSION. The fake program `cp` copies to the machine instead of /."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.link("real-cp", "cp")
        for name in ("systemctl", "apt-mark"):
            self.program(name)
        self.program("dpkg-query", "exit 1")
        self.copies()
        programs = {f"usr/bin/{program}": text(program, VERSION) for program in PRINTED}
        self.serve_layer({**programs, **{f"opt/cni/bin/{plugin}": "" for plugin in PLUGINS}})

    def copies(self, only: str = "") -> None:
        """Let `cp` copy all programs, or `only` this one before the machine loses power."""
        if only:
            self.program("cp", f'mkdir -p {self.root}/usr/bin; real-cp "${{3%.}}{only}" {self.root}/{only}; exit 137')
        else:
            self.program("cp", f'real-cp --recursive --remove-destination "$3" {self.root}')

    def has(self, version: str, *programs: str) -> None:
        """Write these programs as an older program of this project did: without a record."""
        for program in programs:
            self.write(f"usr/bin/{program}", text(program, version)).chmod(0o755)
        self.write("opt/cni/bin/loopback").chmod(0o755)

    def runs_kubelet(self) -> None:
        """Let systemd run the kubelet that is installed now."""
        self.program("systemctl", 'case "$1" in show) echo 123 ;; esac')
        kubelet = self.root / "usr/bin/kubelet"
        running = self.root / "proc/123/exe"
        running.parent.mkdir(parents=True, exist_ok=True)
        running.unlink(missing_ok=True)
        running.hardlink_to(kubelet)

    def install(self, package_set: str) -> tuple[int, str]:
        """Run the script; return its exit code and output."""
        path = f"{self.root / 'fake-programs'}:{self.root / 'usr/bin'}"
        variables = {"VERSION": VERSION.removeprefix("v"), "FROM": "registry.test", "PACKAGE_SET": package_set}
        result = self.run("packages/kubernetes.sh", "c2VjcmV0\n", PATH=path, **variables)
        return result.returncode, result.stdout + result.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("only", ["usr/bin/kubeadm", "usr/bin/kubelet"])
def test_installation_that_lost_power_is_repeated(machine: Machine, only: str) -> None:
    machine.write("opt/cni/bin/loopback").chmod(0o755)
    machine.copies(only)
    assert machine.install("node")[0] != 0
    machine.copies()
    code, output = machine.install("node")
    assert code == 0, output
    assert {file.name for file in (machine.root / "usr/bin").iterdir()} == set(PRINTED)
    assert {file.name for file in (machine.root / "opt/cni/bin").iterdir()} == set(PLUGINS)
    assert ENABLE in machine.calls
    assert machine.downloads == 2


def test_installation_without_a_record_is_repeated_once_on_a_machine_that_is_no_node(machine: Machine) -> None:
    """An older program may have left a part of the CNI plugins."""
    machine.has(VERSION, *PRINTED)
    for _ in range(2):
        code, output = machine.install("node")
        assert code == 0, output
    assert machine.downloads == 1
    assert (machine.root / "opt/cni/bin/bridge").exists()
    assert machine.calls.count(ENABLE) == 2


def test_installation_whose_programs_were_removed_is_repeated(machine: Machine) -> None:
    assert machine.install("node")[0] == 0
    (machine.root / "usr/bin/kubelet").unlink()
    assert machine.install("node")[0] == 0
    assert machine.downloads == 2


def test_installation_on_a_node_changes_nothing(machine: Machine) -> None:
    machine.has(OLD, *PRINTED)
    machine.write("etc/kubernetes/kubelet.conf")
    code, output = machine.install("node")
    assert (code, machine.calls) == (0, []), output


def test_upgrade_of_the_kubelet_that_lost_power_before_kubectl_is_repeated(machine: Machine) -> None:
    machine.has(OLD, *PRINTED)
    machine.copies("usr/bin/kubelet")
    assert machine.install("kubelet")[0] != 0
    assert RESTART not in machine.calls
    machine.copies()
    code, output = machine.install("kubelet")
    assert code == 0, output
    assert VERSION in (machine.root / "usr/bin/kubectl").read_text()
    assert machine.calls.count(RESTART) == 1


def test_upgrade_that_an_older_program_left_before_the_restart_restarts_the_kubelet(machine: Machine) -> None:
    machine.has(OLD, *PRINTED)
    machine.runs_kubelet()
    for program in ("kubelet", "kubectl"):
        (machine.root / "usr/bin" / program).unlink()
    machine.has(VERSION, "kubelet", "kubectl")
    code, output = machine.install("kubelet")
    assert code == 0, output
    assert machine.calls.count(RESTART) == 1
    assert machine.downloads == 0


def test_upgrade_of_a_kubelet_that_runs_already_restarts_nothing(machine: Machine) -> None:
    machine.has(VERSION, *PRINTED)
    machine.runs_kubelet()
    for _ in range(2):
        code, output = machine.install("kubelet")
        assert code == 0, output
    assert RESTART not in machine.calls
    assert machine.downloads == 0


def test_installation_of_a_layer_with_another_digest_fails_and_leaves_the_programs(machine: Machine) -> None:
    machine.has(OLD, *PRINTED)
    machine.write("manifest", json.dumps({"layers": [{"digest": f"sha256:{'0' * 64}"}]}))
    code, output = machine.install("kubeadm")
    assert code == 1, output
    assert "did NOT match" in output
    assert OLD in (machine.root / "usr/bin/kubeadm").read_text()


def test_installation_of_another_version_than_the_wanted_one_fails_with_both(machine: Machine) -> None:
    machine.program("cp", f'real-cp --recursive "$3" {machine.root}; echo "echo {OLD}" >{machine.root}/usr/bin/kubeadm')
    code, output = machine.install("kubeadm")
    assert code == 1
    assert f"kubeadm is {OLD} after the installation, and not {VERSION}" in output
    assert machine.install("kubeadm")[0] == 1
