"""Machines that are not fit are told before anything is changed: which, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from infra.dynamic_provider import UserError
from infra.lab.bridge import Bridge, ip
from infra.lab.lab_machines import USER
from infra.secrets import key_pair
from tests.harness import Stack

from .network import free_network
from .site import Site, site_of

NAMES = ("alpha", "beta")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with site_of(NAMES) as made:
        yield made


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
        "platform:registry": {"address": site.network.gateway},
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


def test_a_wrong_key(stack: Stack, site: Site) -> None:
    stack.settings["infra:hosts"]["private_key"] = key_pair()[0]
    said = refusal(stack)
    for name in NAMES:
        assert f"{name} ({site.network.prefix}." in said
    assert "does not let mlplatform in with this key; add the public key to ~mlplatform/.ssh/authorized_keys" in said


def test_a_machine_that_is_not_there(stack: Stack, site: Site) -> None:
    stack.settings["infra:hosts"]["machines"][1]["address"] = f"{site.network.prefix}.99"
    assert f"beta: no SSH at {site.network.prefix}.99:22" in refusal(stack)


def test_another_machine_than_the_expected_one(stack: Stack, site: Site) -> None:
    stack.settings["infra:hosts"]["machines"][1]["host_key"] = key_pair()[1]
    assert f"beta ({site.network.prefix}.12): its host key is ssh-ed25519 AAAA" in refusal(stack)


def test_a_user_who_may_not_use_sudo(stack: Stack, site: Site) -> None:
    # Only the way back stays allowed.
    rule = "/etc/sudoers.d/zz-test"
    deny = f"mlplatform ALL=(ALL) PASSWD: ALL\nmlplatform ALL=(ALL) NOPASSWD: /usr/bin/rm -f {rule}\n"
    with spoiled(site, "beta", f"printf '{deny}' | sudo tee {rule} >/dev/null", f"sudo /usr/bin/rm -f {rule}"):
        said = refusal(stack)
    assert "mlplatform may not use sudo without a password (sudo: a password is required" in said
    assert "/etc/sudoers.d/mlplatform" in said


def test_the_network_of_another_stack_is_left_alone(site: Site) -> None:
    with pytest.raises(UserError, match=f"{site.network.subnet} is in use here already"):
        Bridge("test-another", site.network.subnet).create()
    with pytest.raises(UserError, match=f"another stack of this name has machines here: .* has {site.network.gateway}"):
        Bridge(site.network.name("site"), free_network().subnet).create()
    assert site.run("alpha", "hostname") == "alpha\n"


def test_a_network_that_was_half_made_is_made() -> None:
    network = free_network()
    bridge = Bridge(network.name("half"), network.subnet)
    ip("link", "add", bridge.link, "type", "bridge")
    try:
        bridge.create()
        assert bridge.there()
    finally:
        bridge.delete()
    assert not bridge.there()


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
    assert f"alpha ({site.network.prefix}.11) cannot become a node yet:" in said
    assert "port 6443 is taken, which kube-apiserver takes: stop what listens there" in said
    assert f"beta ({site.network.prefix}.12) cannot become a node yet:" in said
    assert "it has the same host name as alpha, alpha: hostnamectl set-hostname beta" in said
    assert "hostnamectl set-hostname alpha" not in said  # that one is named as it is to be
    assert "MiB are free in /var/lib" in said
