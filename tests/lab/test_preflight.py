"""Machines that are not fit are told before anything is changed: which, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.bridge import Bridge
from infra.keys import key_pair
from infra.lab import USER, _LabMachineProvider, _unpacked_root
from infra.ssh import connected
from tests.harness import Stack

NAMES = ("alpha", "beta")
NETWORK = "10.19.77"


@dataclass
class Site:
    """Somebody's own machines: this program has only their addresses, and a key to log in with."""

    private_key: str
    machines: list[dict[str, Any]] = field(default_factory=list)

    def settings(self) -> list[dict[str, Any]]:
        return [
            {
                "name": machine["hostname"],
                "address": machine["address"],
                "host_key": machine["host_key"],
                "role": "worker" if index else "control-plane",
            }
            for index, machine in enumerate(self.machines)
        ]

    def run(self, name: str, command: str) -> str:
        (found,) = [machine for machine in self.machines if machine["hostname"] == name]
        login = {"name": name, "host": found["address"], "port": 22, "user": USER, "host_key": found["host_key"]}
        with connected(login | {"key": self.private_key}) as shell:
            return shell.run(command).checked(command)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    private, public = key_pair()
    bridge = Bridge("test-site", f"{NETWORK}.0/24")
    bridge.create()
    provider = _LabMachineProvider()
    made = Site(private)
    folder = _folder()
    for number, name in enumerate(NAMES, 11):
        props = {"hostname": name, "stack": "test-site", "subnet": bridge.subnet, "address": f"{NETWORK}.{number}"}
        props |= {"root": str(_unpacked_root()), "authorized_key": public, "folder": str(folder / name)}
        made.machines.append(provider.create(props).outs or {})
    yield made
    for machine in made.machines:
        provider.delete("", machine)
    bridge.delete()


def _folder() -> Path:
    """On a real disk: what a machine writes cannot lie on an overlay or in memory."""
    from settings import cache_directory

    return cache_directory() / "stacks" / "test-site" / "lab"


@pytest.fixture(scope="module")
def made(make_lab: Callable[[str], Stack]) -> Stack:
    return make_lab("preflight")


@pytest.fixture
def stack(made: Stack, site: Site) -> Iterator[Stack]:
    made.settings = {
        "infra:machines": "hosts",
        "infra:cluster": "kubeadm",
        "infra:hosts": {"user": USER, "private_key": site.private_key, "machines": site.settings()},
        "infra:kubernetes": {"packages": "bundle"},
        "platform:pipelines": "job",
        "platform:registry": {"address": f"{NETWORK}.1"},
    }
    yield made
    for name in NAMES:
        assert "90-kubernetes.conf" not in site.run(name, "ls /etc/sysctl.d"), "something was changed"


@contextmanager
def spoiled(site: Site, name: str, how: str, repair: str) -> Iterator[None]:
    site.run(name, how)
    try:
        yield
    finally:
        site.run(name, repair)


def refusal(stack: Stack) -> str:
    """What `up` said when it refused, without the frame that it draws around each line."""
    code, output = stack.pulumi("up", "--yes", "--skip-preview")
    assert code != 0, output
    return " ".join(output.split())


def test_a_wrong_key(stack: Stack) -> None:
    stack.settings["infra:hosts"]["private_key"] = key_pair()[0]
    said = refusal(stack)
    for name in NAMES:
        assert f"{name} ({NETWORK}." in said
    assert "does not let mlplatform in with this key; add the public key to ~mlplatform/.ssh/authorized_keys" in said


def test_a_machine_that_is_not_there(stack: Stack) -> None:
    stack.settings["infra:hosts"]["machines"][1]["address"] = f"{NETWORK}.99"
    assert f"beta: no SSH at {NETWORK}.99:22" in refusal(stack)


def test_another_machine_than_the_expected_one(stack: Stack) -> None:
    stack.settings["infra:hosts"]["machines"][1]["host_key"] = key_pair()[1]
    assert f"beta ({NETWORK}.12): its host key is ssh-ed25519 AAAA" in refusal(stack)


def test_a_user_who_may_not_use_sudo(stack: Stack, site: Site) -> None:
    # Only the way back stays allowed.
    rule = "/etc/sudoers.d/zz-test"
    deny = f"mlplatform ALL=(ALL) PASSWD: ALL\nmlplatform ALL=(ALL) NOPASSWD: /usr/bin/rm -f {rule}\n"
    with spoiled(site, "beta", f"printf '{deny}' | sudo tee {rule} >/dev/null", f"sudo /usr/bin/rm -f {rule}"):
        said = refusal(stack)
    assert "mlplatform may not use sudo without a password (sudo: a password is required" in said
    assert "/etc/sudoers.d/mlplatform" in said


def test_all_findings_at_once(stack: Stack, site: Site) -> None:
    with (
        spoiled(site, "beta", "sudo hostname alpha", "sudo hostname beta"),
        spoiled(
            site,
            "alpha",
            "sudo systemd-run --quiet --unit=taken perl -MIO::Socket::INET -e "
            "'$$s = IO::Socket::INET->new(LocalPort => 6443, Listen => 1); sleep 600'",
            "sudo systemctl stop taken",
        ),
        spoiled(
            site,
            "beta",
            "sudo mount -t tmpfs -o size=64m tmpfs /var/lib",
            "sudo umount /var/lib",
        ),
    ):
        said = refusal(stack)
    assert f"alpha ({NETWORK}.11) cannot become a node yet:" in said
    assert "port 6443 is taken, which kube-apiserver takes: stop what listens there" in said
    assert f"beta ({NETWORK}.12) cannot become a node yet:" in said
    assert "it has the same host name as alpha, alpha: hostnamectl set-hostname beta" in said
    assert "hostnamectl set-hostname alpha" not in said  # that one is named as it is to be
    assert "MiB are free in /var/lib" in said
