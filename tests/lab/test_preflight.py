"""Findings of the preflight, which fails before any machine is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from infra.dynamic_provider import UserError
from infra.lab.bridge import Bridge, ip
from infra.lab.lab_root import USER
from infra.secrets import key_pair
from tests.harness import Stack

from .network import free_network
from .site import Site, site_of

NAMES = ("alpha", "beta")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with site_of(NAMES) as site:
        yield site


@pytest.fixture(scope="module")
def preflight_stack(make_lab: Callable[[str], Stack]) -> Stack:
    return make_lab("preflight")


@pytest.fixture
def stack(preflight_stack: Stack, site: Site) -> Iterator[Stack]:
    preflight_stack.settings = {
        "infra:machines": "hosts",
        "infra:cluster": "kubeadm",
        "infra:hosts": {"user": USER, "private_key": site.private_key, "machines": site.settings()},
        "infra:kubernetes": {"packages": "bundle"},
        "platform:pipelines": "job",
        "platform:registry": {"address": site.network.gateway},
    }
    yield preflight_stack
    for name in NAMES:
        assert "90-kubernetes.conf" not in site.run(name, "ls /etc/sysctl.d"), "the machine was changed"


@contextmanager
def broken(site: Site, name: str, command: str, repair: str) -> Iterator[None]:
    site.run(name, command)
    try:
        yield
    finally:
        site.run(name, repair)


def refusal(stack: Stack) -> str:
    """Return the output of an `up` that must fail, with all whitespace as single spaces."""
    code, output = stack.pulumi("up", "--yes", "--skip-preview")
    assert code != 0, output
    return " ".join(output.split())


def test_up_with_a_wrong_key_names_the_machines(stack: Stack, site: Site) -> None:
    stack.settings["infra:hosts"]["private_key"] = key_pair()[0]
    output = refusal(stack)
    for name in NAMES:
        assert f"{name} ({site.network.prefix}." in output
    assert "does not let mlplatform in with this key; add the public key to ~mlplatform/.ssh/authorized_keys" in output


def test_up_with_a_missing_machine_names_its_address(stack: Stack, site: Site) -> None:
    stack.settings["infra:hosts"]["machines"][1]["address"] = f"{site.network.prefix}.99"
    assert f"beta: no SSH at {site.network.prefix}.99:22" in refusal(stack)


def test_up_with_another_host_key_shows_it(stack: Stack, site: Site) -> None:
    stack.settings["infra:hosts"]["machines"][1]["host_key"] = key_pair()[1]
    assert f"beta ({site.network.prefix}.12): its host key is ssh-ed25519 AAAA" in refusal(stack)


def test_up_without_sudo_shows_the_remedy(stack: Stack, site: Site) -> None:
    # The rule still allows its own removal.
    rule = "/etc/sudoers.d/zz-test"
    deny = f"mlplatform ALL=(ALL) PASSWD: ALL\nmlplatform ALL=(ALL) NOPASSWD: /usr/bin/rm -f {rule}\n"
    with broken(site, "beta", f"printf '{deny}' | sudo tee {rule} >/dev/null", f"sudo /usr/bin/rm -f {rule}"):
        output = refusal(stack)
    assert "mlplatform may not use sudo without a password (sudo: a password is required" in output
    assert "/etc/sudoers.d/mlplatform" in output


def test_up_with_machines_of_others_names_what_was_found(stack: Stack, site: Site) -> None:
    status = "/var/lib/dpkg/status"
    docker = "Package: docker-ce\\nStatus: install ok installed\\nVersion: 5:28\\nArchitecture: all\\n\\n"
    kubeconfig = "/etc/kubernetes/kubelet.conf"
    with (
        broken(
            site,
            "alpha",
            f"sudo cp {status} {status}.test && printf '{docker}' | sudo tee -a {status} >/dev/null",
            f"sudo mv {status}.test {status}",
        ),
        broken(
            site,
            "beta",
            f"sudo mkdir -p /etc/kubernetes && echo 'server: https://10.9.0.1:6443' | sudo tee {kubeconfig} >/dev/null",
            f"sudo rm {kubeconfig}",
        ),
    ):
        output = refusal(stack)
        assert site.run("beta", f"cat {kubeconfig}") == "server: https://10.9.0.1:6443\n"
    assert "it has docker-ce, which the installation of containerd would remove or reconfigure" in output
    assert f"that this stack did not create ({kubeconfig} names https://10.9.0.1:6443)" in output
    for name in NAMES:
        assert site.run(name, "test -e /etc/mlplatform/owner && echo yes || echo no") == "no\n"


def test_up_with_a_firewall_names_the_blocked_ports(stack: Stack, site: Site) -> None:
    rules = ("INPUT -p tcp --dport 6443 -j DROP", "INPUT -p udp --dport 6783 -j REJECT")
    blocks, repairs = (" && ".join(f"sudo iptables {flag} {rule}" for rule in rules) for flag in ("-I", "-D"))
    with broken(site, "alpha", blocks, repairs):
        output = refusal(stack)
    alpha = f"alpha ({site.network.prefix}.11)"
    assert f"cannot reach ports that Kubernetes needs: 6443/tcp of {alpha}, 6783/udp of {alpha}: allow" in output
    for name in NAMES:
        assert "perl" not in site.run(name, "ps -eo args | grep [I]O::Socket || true"), "the listener still runs"


def test_bridge_of_another_stack_is_refused(site: Site) -> None:
    with pytest.raises(UserError, match=f"{site.network.subnet} is in use here already"):
        Bridge("test-another", site.network.subnet).create()
    with pytest.raises(UserError, match=f"another stack of this name has machines here: .* has {site.network.gateway}"):
        Bridge(site.network.name("site"), free_network().subnet).create()
    assert site.run("alpha", "hostname") == "alpha\n"


def test_bridge_without_an_address_is_created() -> None:
    network = free_network()
    bridge = Bridge(network.name("half"), network.subnet)
    ip("link", "add", bridge.link, "type", "bridge")
    try:
        bridge.create()
        assert bridge.exists()
    finally:
        bridge.delete()
    assert not bridge.exists()


def test_up_with_several_faults_reports_all(stack: Stack, site: Site) -> None:
    with (  # ReuseAddr: the connections of an earlier preflight occupy the port for a minute
        broken(site, "beta", "sudo hostname alpha", "sudo hostname beta"),
        broken(
            site,
            "alpha",
            "sudo systemd-run --quiet --unit=taken perl -MIO::Socket::INET -e "
            "'$$s = IO::Socket::INET->new(LocalPort => 6443, Listen => 1, ReuseAddr => 1); sleep 600'",
            "sudo systemctl stop taken",
        ),
        broken(
            site,
            "beta",
            "sudo mount -t tmpfs -o size=64m tmpfs /var/lib",
            "sudo umount /var/lib",
        ),
    ):
        output = refusal(stack)
    assert f"alpha ({site.network.prefix}.11) cannot become a node yet:" in output
    assert "port 6443 is taken, which kube-apiserver needs: stop the program there" in output
    assert f"beta ({site.network.prefix}.12) cannot become a node yet:" in output
    assert "it has the same host name as alpha, alpha: hostnamectl set-hostname beta" in output
    assert "hostnamectl set-hostname alpha" not in output  # alpha has the right name
    assert "MiB are free in /var/lib" in output
