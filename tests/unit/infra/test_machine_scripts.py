"""Scripts that run on machines: the real scripts in a folder, with fake programs."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from infra.kubeadm import scripts
from infra.local.free_ports import free_ports
from tests.sandbox import OWNER, Sandbox
from tests.waiting import until

RULES = r"""*nat
:PREROUTING ACCEPT [5:300]
:POSTROUTING ACCEPT [9:540]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SEP-AAAA - [0:0]
:WEAVE - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-1111 - [0:0]
:CNI-DN-2222 - [0:0]
:CNI-3333 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -j WEAVE
-A POSTROUTING -s 10.88.0.5/32 -m comment --comment "name: \"podman\" id: \"p1\"" -j CNI-3333
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SEP-AAAA
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"cbr0\" id: \"k1\"" -j CNI-DN-1111
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"podman\" id: \"p1\"" -j CNI-DN-2222
-A CNI-DN-1111 -p tcp --dport 80 -j DNAT --to-destination 10.32.0.5:80
-A CNI-DN-2222 -p tcp --dport 81 -j DNAT --to-destination 10.88.0.5:81
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:DOCKER-USER - [0:0]
:FLANNEL-FWD - [0:0]
:WEAVE-NPC - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FORWARD -o weave -m comment --comment "NOTE: this must go before '-j KUBE-FORWARD'" -j WEAVE-NPC
-A FORWARD -o weave -j DROP
-A DOCKER-USER -j RETURN
COMMIT
"""
"""Output of iptables-save on a machine that also runs podman and Docker."""


@pytest.fixture
def machine(tmp_path: Path) -> Sandbox:
    machine = Sandbox(tmp_path)
    machine.program("kubeadm")
    machine.program("systemctl")
    machine.program("systemd-detect-virt", "exit 1")
    for name in ("iptables-save", "ip6tables-save"):
        machine.program(name, "exit 1")
    for name in ("iptables-restore", "ip6tables-restore"):
        machine.program(name, f"cat >{tmp_path}/{name}-input")
    machine.program("ip", "exit 1")
    machine.program("ipset")
    return machine


def reset_of(machine: Sandbox) -> None:
    result = machine.run("reset.sh")
    assert result.returncode == 0, result.stderr


READING = {
    "preflight/facts.sh",
    "preflight/listen.sh",
    "preflight/probe.sh",
    "control-plane/etcd-snapshot.sh",
}
"""Scripts that change nothing."""
OTHERS = {"approve-certificates.sh", "configuration.sh", "format-data-disk.sh", "functions.sh", "owner.sh"}
"""Parts of other scripts, programs that machines run themselves, and the script that writes the owner file."""
FOLDER = Path(scripts.__file__).parent
CHANGING = {file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob("*.sh")} - READING - OTHERS


@pytest.mark.parametrize("script", sorted(CHANGING))
@pytest.mark.parametrize("owner", [None, "acme/mlplatform/other fedcba9876543210"])
def test_script_on_a_machine_with_another_owner_changes_nothing(
    machine: Sandbox, script: str, owner: str | None
) -> None:
    file = machine.root / "etc/mlplatform/owner"
    file.unlink()
    if owner:
        machine.write("etc/mlplatform/owner", owner)
    kept = machine.write("etc/kubernetes/kubelet.conf")
    result = machine.run(script)
    assert result.returncode == 1
    assert f"/etc/mlplatform/owner has {owner or 'no owner'}, and this stack is {OWNER}".replace(
        "/etc", f"{machine.root}/etc"
    ) in " ".join(result.stderr.split())
    assert kept.exists()
    assert machine.calls == []


def test_owner_of_a_new_machine_is_written_once(machine: Sandbox) -> None:
    file = machine.root / "etc/mlplatform/owner"
    file.unlink()
    file.parent.rmdir()
    for _ in range(2):
        assert machine.run("owner.sh").returncode == 0
    assert file.read_text() == f"{OWNER}\n"
    machine.write("etc/kubernetes/kubelet.conf")
    assert machine.run("owner.sh").returncode == 0


def test_owner_of_a_machine_of_another_stack_fails(machine: Sandbox) -> None:
    file = machine.write("etc/mlplatform/owner", "acme/mlplatform/other fedcba9876543210")
    result = machine.run("owner.sh")
    assert result.returncode == 1
    assert "belongs to another stack" in result.stderr
    assert "other" in file.read_text()


@pytest.mark.parametrize("file", ["kubelet.conf", "manifests/kube-apiserver.yaml"])
def test_owner_of_a_node_without_an_owner_fails(machine: Sandbox, file: str) -> None:
    owner = machine.root / "etc/mlplatform/owner"
    owner.unlink()
    machine.write(f"etc/kubernetes/{file}")
    result = machine.run("owner.sh")
    assert result.returncode == 1
    assert "a node of a cluster that this stack did not create" in result.stderr
    assert not owner.exists()


@pytest.mark.parametrize(
    "file",
    [
        "etc/kubernetes/kubelet.conf",
        "etc/kubernetes/bootstrap-kubelet.conf",
        "etc/kubernetes/pki/ca.crt",
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        "var/lib/kubelet/config.yaml",
    ],
)
def test_join_after_an_unfinished_join_resets_first(machine: Sandbox, file: str) -> None:
    machine.write(file)
    result = machine.run("join.sh", "token hash\n", NODE="worker-1", ADDRESS="10.0.0.2", ENDPOINT="10.0.0.1:6443")
    assert result.returncode == 0, result.stderr
    assert [call for call in machine.calls if call.startswith("kubeadm")] == [
        "kubeadm reset --force --skip-phases=remove-etcd-member",
        "kubeadm join --config /dev/stdin",
    ]


@pytest.fixture
def plane(machine: Sandbox) -> Sandbox:
    """Return a machine that becomes a control plane."""
    for name in ("openssl", "kubectl"):
        machine.program(name)
    machine.program("kubeadm", 'case "$1" in join) cat >&2 ;; esac')
    (machine.root / "var/log").mkdir()
    return machine


VARIABLES = {
    "NODE": "plane-2",
    "ADDRESS": "10.0.0.2",
    "VERSION": "1.34.4",
    "POD_SUBNET": "10.32.0.0/16",
    "SERVICE_SUBNET": "10.96.0.0/16",
    "CLUSTER": "lab",
    "NAMES": "10.0.0.1",
    "ENDPOINT": "10.0.0.10",
    "DISCOVERY": "10.0.0.1:6443",
}


@pytest.mark.parametrize("tainted", ["true", "false"])
def test_join_of_a_control_plane_has_keys_and_policies_before_kubeadm(plane: Sandbox, tainted: str) -> None:
    stdin = "token hash key\nkind: EncryptionConfiguration\n"
    result = plane.run("control-plane/join.sh", stdin, TAINTED=tainted, **VARIABLES)
    assert result.returncode == 0, result.stderr
    kubernetes = plane.root / "etc/kubernetes"
    keys = kubernetes / "encryption.yaml"
    assert (keys.read_text(), keys.stat().st_mode & 0o777) == ("kind: EncryptionConfiguration\n", 0o600)
    assert len([*kubernetes.glob("policies-*/audit-policy.yaml")]) == 1
    assert (kubernetes / ".control-plane-ready").exists()
    joins = [call for call in plane.calls if call.startswith("kubeadm")]
    assert joins == ["kubeadm join --config /dev/stdin"]
    assert "certificateKey: key" in result.stderr
    assert "advertiseAddress: 10.0.0.2" in result.stderr
    assert ("taints: []" in result.stderr) is (tainted == "false")
    assert any("exclude-from-external-load-balancers-" in call for call in plane.calls) is (tainted == "false")


def test_join_of_a_control_plane_after_a_failed_one_resets_and_is_not_ready_before_its_end(plane: Sandbox) -> None:
    plane.write("etc/kubernetes/pki/ca.crt")
    plane.write("etc/kubernetes/.control-plane-ready")  # its node was removed from the cluster
    plane.write("var/lib/etcd/member/snap/db")
    plane.write("var/lib/etcd/default/member/snap/db")
    plane.program("kubeadm", '[ "$1" != join ]')
    assert plane.run("control-plane/join.sh", "token hash key\nkeys\n", TAINTED="true", **VARIABLES).returncode == 1
    assert [call.split()[1] for call in plane.calls if call.startswith("kubeadm")] == ["reset", "join"]
    assert not (plane.root / "etc/kubernetes/.control-plane-ready").exists()
    assert not (plane.root / "var/lib/etcd/member").exists()
    assert (plane.root / "var/lib/etcd/default/member/snap/db").exists()  # of another program


def test_init_on_a_machine_of_an_existing_cluster_leaves_it_to_the_join(plane: Sandbox) -> None:
    plane.write("etc/mlplatform/cluster-exists")
    result = plane.run("init.sh", TAINTED="true", **VARIABLES)
    assert result.returncode == 0, result.stderr
    assert "other control planes have the cluster" in result.stdout
    assert plane.calls == []


def test_init_of_a_finished_control_plane_leaves_it_as_it_is(plane: Sandbox) -> None:
    plane.write("etc/kubernetes/.control-plane-ready")
    keys = plane.write("etc/kubernetes/encryption.yaml", "keys of Secrets")
    result = plane.run("init.sh", TAINTED="true", **VARIABLES)
    assert result.returncode == 0, result.stderr
    assert "was initialized before" in result.stdout
    assert (plane.calls, keys.read_text()) == ([], "keys of Secrets\n")


@pytest.mark.parametrize("fails", [True, False])
def test_init_deletes_the_default_token_of_kubeadm_before_it_is_ready(plane: Sandbox, fails: bool) -> None:
    listed = "exit 1" if fails else "printf 'abcdef.0123456789abcdef\nfedcba.0123456789abcdef\n'"
    plane.program("kubeadm", f'case "$1 $2" in "token list") {listed} ;; esac')
    assert (plane.run("init.sh", TAINTED="true", **VARIABLES).returncode != 0) is fails
    deleted = [call for call in plane.calls if "token delete" in call]
    tokens = [] if fails else ["abcdef.0123456789abcdef", "fedcba.0123456789abcdef"]
    assert deleted == [f"kubeadm token delete {token}" for token in tokens]
    assert (plane.root / "etc/kubernetes/.control-plane-ready").exists() is not fails


@pytest.mark.parametrize(
    ("role", "arguments"),
    [("control-plane", "apply v1.34.4 --yes"), ("other-control-plane", "node"), ("worker", "node")],
)
def test_upgrade_changes_the_objects_of_the_cluster_on_the_first_control_plane_only(
    machine: Sandbox, role: str, arguments: str
) -> None:
    (machine.root / "var/log").mkdir()
    result = machine.run("upgrade.sh", VERSION="1.34.4", ROLE=role)
    assert result.returncode == 0, result.stderr
    assert [call for call in machine.calls if call.startswith("kubeadm")] == [f"kubeadm upgrade {arguments}"]


KEEPALIVED = {"VIRTUAL_ADDRESS": "10.0.0.10", "ADDRESS": "10.0.0.2", "PEERS": "10.0.0.1 10.0.0.3"}


@pytest.fixture
def keepalived(machine: Sandbox) -> Sandbox:
    machine.program("ip", 'echo "7: ens3    inet 10.0.0.2/24 brd 10.0.0.255 scope global ens3"')
    machine.program("systemctl", 'case "$*" in "is-active"*) exit 3 ;; esac')
    return machine


def test_keepalived_holds_the_address_while_the_api_server_is_alive_without_preemption(keepalived: Sandbox) -> None:
    result = keepalived.run("control-plane/keepalived.sh", **KEEPALIVED)
    assert result.returncode == 0, result.stderr
    text = (keepalived.root / "etc/keepalived/keepalived.conf").read_text()
    for line in (
        "interface ens3",
        "https://10.0.0.2:6443/livez",
        "state BACKUP\n  nopreempt\n",
        "unicast_src_ip 10.0.0.2\n  unicast_peer {\n    10.0.0.1\n    10.0.0.3\n  }\n",
        "10.0.0.10/32\n",
    ):
        assert line in text, text
    assert keepalived.calls[-1] == "systemctl start keepalived"


def test_keepalived_on_a_machine_with_many_links_uses_that_of_the_address(keepalived: Sandbox) -> None:
    """Let `ip` write more than a pipe holds after the address, so that it would end with SIGPIPE."""
    link = "7: ens3    inet 10.0.0.2/24 brd 10.0.0.255 scope global ens3"
    keepalived.program(
        "ip", f'echo "{link}"; for ((n = 0; n < 3000; n++)); do echo "$n: veth$n inet 10.9.0.1/32"; done'
    )
    result = keepalived.run("control-plane/keepalived.sh", **KEEPALIVED)
    assert result.returncode == 0, result.stderr
    assert "interface ens3\n" in (keepalived.root / "etc/keepalived/keepalived.conf").read_text()


def test_keepalived_on_a_machine_without_the_address_fails_and_names_it(keepalived: Sandbox) -> None:
    keepalived.program("ip", 'echo "7: ens3    inet 10.0.0.3/24 brd 10.0.0.255 scope global ens3"')
    result = keepalived.run("control-plane/keepalived.sh", **KEEPALIVED)
    assert result.returncode == 1
    assert "no link of this machine has its address 10.0.0.2" in result.stderr
    assert not (keepalived.root / "etc/keepalived/keepalived.conf").exists()


@pytest.mark.parametrize("script", ["control-plane/keepalived.sh", "reset.sh"])
def test_keepalived_of_a_machine_that_leaves_is_removed_and_another_ones_stays(
    keepalived: Sandbox, script: str
) -> None:
    file = keepalived.write("etc/keepalived/keepalived.conf", "# of the administrator")
    result = keepalived.run("control-plane/keepalived.sh", **KEEPALIVED)
    assert result.returncode == 1
    assert "another program wrote" in result.stderr
    assert keepalived.run(script, VIRTUAL_ADDRESS="").returncode == 0
    assert file.exists()
    file.unlink()
    keepalived.write("etc/mlplatform/owner", OWNER)
    assert keepalived.run("control-plane/keepalived.sh", **KEEPALIVED).returncode == 0
    assert keepalived.run(script, VIRTUAL_ADDRESS="").returncode == 0
    assert not file.exists()
    assert "systemctl disable --now --quiet keepalived" in keepalived.calls


def test_join_of_a_new_machine_does_not_reset(machine: Sandbox) -> None:
    result = machine.run("join.sh", "token hash\n", NODE="worker-1", ADDRESS="10.0.0.2", ENDPOINT="10.0.0.1:6443")
    assert result.returncode == 0, result.stderr
    assert not any("reset" in call for call in machine.calls)


@pytest.mark.parametrize("script", ["join.sh", "init.sh", "reset.sh"])
def test_script_with_a_failed_kubeadm_reset_fails_with_its_last_lines(machine: Sandbox, script: str) -> None:
    machine.write("var/lib/kubelet/config.yaml")
    machine.program("kubeadm", '[ "$1" != reset ] || { echo "etcd is not healthy" >&2; exit 1; }')
    result = machine.run(script, "token hash\n", NODE="n", ADDRESS="10.0.0.2", ENDPOINT="10.0.0.1:6443")
    assert result.returncode == 1
    assert "kubeadm reset failed:\netcd is not healthy" in result.stderr
    assert (machine.root / "etc/mlplatform/owner").exists()


def test_reset_keeps_the_networks_of_other_programs(machine: Sandbox) -> None:
    theirs = [
        machine.write("etc/cni/net.d/87-podman-bridge.conflist"),
        machine.write("var/lib/cni/networks/podman/10.88.0.5"),
        machine.write("var/lib/cni/results/podman-p1-eth0"),
    ]
    ours = [
        machine.write("etc/cni/net.d/10-weave.conflist"),
        machine.write("etc/cni/net.d/10-flannel.conflist"),
        machine.write("var/lib/cni/networks/cbr0/10.32.0.5"),
        machine.write("var/lib/cni/results/cbr0-k1-eth0"),
        machine.write("etc/kubernetes/kubelet.conf"),
        machine.root / "etc/mlplatform/owner",
    ]
    reset_of(machine)
    assert [file for file in theirs if not file.exists()] == []
    assert [file for file in ours if file.exists()] == []


def test_reset_deletes_the_rules_of_this_cluster_only(machine: Sandbox) -> None:
    machine.program("iptables-save", f"cat <<'RULES'\n{RULES}RULES")
    reset_of(machine)
    assert "iptables-restore --noflush" in machine.calls
    assert (machine.root / "iptables-restore-input").read_text().splitlines() == [
        "*nat",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-D POSTROUTING -j WEAVE",
        r'-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"cbr0\" id: \"k1\"" -j CNI-DN-1111',
        "-F KUBE-SERVICES",
        "-F KUBE-SEP-AAAA",
        "-F WEAVE",
        "-F CNI-DN-1111",
        "-X KUBE-SERVICES",
        "-X KUBE-SEP-AAAA",
        "-X WEAVE",
        "-X CNI-DN-1111",
        "COMMIT",
        "*filter",
        '-D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
        "-D FORWARD -o weave -m comment --comment \"NOTE: this must go before '-j KUBE-FORWARD'\" -j WEAVE-NPC",
        "-D FORWARD -o weave -j DROP",
        "-F FLANNEL-FWD",
        "-F WEAVE-NPC",
        "-X FLANNEL-FWD",
        "-X WEAVE-NPC",
        "COMMIT",
    ]


def test_reset_deletes_the_ipsets_of_this_cluster_only(machine: Sandbox) -> None:
    machine.program(
        "ipset", '[ "$1" != list ] || printf "weave-abc\\nKUBE-LOOP\\nweaver\\nweaver-no-masq-local\\ncrowdsec\\n"'
    )
    reset_of(machine)
    destroyed = [call for call in machine.calls if "destroy" in call]
    assert destroyed == [f"ipset destroy {name}" for name in ("weave-abc", "KUBE-LOOP", "weaver-no-masq-local")]


def test_reset_of_a_machine_without_kubernetes_succeeds(machine: Sandbox) -> None:
    (machine.root / "fake-programs/kubeadm").unlink()
    (machine.root / "fake-programs/ipset").unlink()
    machine.program("systemctl", "exit 1")
    reset_of(machine)


def facts_of(machine: Sandbox, sudo: str = 'shift; exec "$@"') -> list[str]:
    for name in ("uname", "hostname", "date", "nproc", "df", "ss"):
        machine.program(name)
    machine.program("sudo", sudo)
    machine.write("etc/os-release", "ID=debian VERSION_ID=12")
    result = machine.run("preflight/facts.sh", ADDRESS="10.0.0.1", PEERS="")
    return [line.replace(str(machine.root), "") for line in result.stdout.splitlines()]


def test_facts_of_a_plain_machine_have_no_other_programs(machine: Sandbox) -> None:
    (machine.root / "etc/mlplatform/owner").unlink()
    machine.program("systemctl", "exit 1")
    machine.program("dpkg-query", "exit 1")
    keys = {line.split()[0] for line in facts_of(machine)}
    assert keys.isdisjoint({"owner", "member", "package", "service", "containerd_file", "firewall"})


def test_facts_of_a_machine_with_docker_and_a_firewall_name_them(machine: Sandbox) -> None:
    machine.program("dpkg-query", 'case "$*" in *docker-ce | *containerd.io) printf installed ;; *) exit 1 ;; esac')
    machine.program("systemctl", '[ "$*" = "cat k3s.service" ] || [ "$*" = "is-active --quiet firewalld" ]')
    machine.program("ufw", "echo 'Status: active'")
    machine.program("iptables", "echo '-P INPUT DROP'")
    machine.program("nft", "printf 'type filter hook input priority filter; policy drop;\\n'")
    machine.write("etc/containerd/config.toml", 'disabled_plugins = ["cri"]')
    machine.write("usr/local/lib/systemd/system/containerd.service", "[Unit]")
    machine.write("usr/local/sbin/runc")
    machine.write("etc/kubernetes/kubelet.conf", "    server: https://10.9.0.1:6443")
    facts = facts_of(machine)
    for line in (
        f"owner {OWNER}",
        "member /etc/kubernetes/kubelet.conf names https://10.9.0.1:6443",
        "package docker-ce",
        "package containerd.io",
        "service k3s",
        "containerd_file /etc/containerd/config.toml",
        "containerd_file /usr/local/lib/systemd/system/containerd.service",
        "containerd_file /usr/local/sbin/runc",
        *(f"firewall {name}" for name in ("ufw", "firewalld", "iptables", "nftables")),
    ):
        assert line in facts


def test_facts_that_root_could_not_read_are_a_fault_of_sudo(machine: Sandbox) -> None:
    """Otherwise the machine would seem to be no node, and to have no settings of another program."""
    machine.program("dpkg-query", "exit 1")
    facts = facts_of(machine, '[ "$2" = true ] || { echo "too many open files" >&2; exit 1; }')
    assert [line for line in facts if line.startswith("sudo")] == ["sudo no too many open files"]


@pytest.mark.parametrize("packaged", [False, True])
def test_facts_of_containerd_from_this_program_or_debian_are_accepted(machine: Sandbox, packaged: bool) -> None:
    machine.program("systemctl", "exit 1")
    first_line = "version = 2" if packaged else "# Written by mlplatform, and overwritten by its next run."
    file = machine.write("etc/containerd/config.toml", first_line)
    if not packaged:
        machine.write("etc/systemd/system/containerd.service", first_line)
        machine.write("usr/local/bin/containerd")
        machine.write("var/lib/mlplatform/container-runtime", "v2.4.2-runc-v1.5.3 is not finished")
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    conffiles = f"printf ' {file} {digest}\\n'" if packaged else "exit 1"
    machine.program("dpkg-query", f'case "$*" in *Conffiles*) {conffiles} ;; *) exit 1 ;; esac')
    assert not any(line.startswith("containerd_file") for line in facts_of(machine))


def test_system_disables_swap_of_units_and_fstab_once(machine: Sandbox) -> None:
    machine.program("dpkg-query", "printf installed")
    for name in ("apt-mark", "swapoff", "modprobe", "sysctl"):
        machine.program(name)
    state = machine.root / "masked"
    machine.program(
        "systemctl",
        f"""case "$*" in
        list-unit-files*) echo "swapfile.swap enabled enabled" ;;
        list-units*) echo "dev-zram0.swap loaded active active" ;;
        cat*) [ "$2" = dphys-swapfile.service ] ;;
        is-enabled*) if grep -qx "$2" {state} 2>/dev/null; then echo masked; else echo enabled; fi ;;
        disable*) [ "$4" != dev-zram0.swap ] ;;
        mask*) echo "$3" >>{state} ;;
        esac""",
    )
    machine.write("proc/swaps", "Filename Type\n/dev/zram0 partition")
    machine.write("proc/sys/net/ipv4/ip_forward", "1")
    for folder in ("etc/modules-load.d", "etc/sysctl.d"):
        (machine.root / folder).mkdir()
    fstab = machine.write("etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0")
    first, second = machine.run("packages/system.sh"), machine.run("packages/system.sh")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    units = ["dev-zram0.swap", "dphys-swapfile.service", "swapfile.swap"]
    assert state.read_text().split() == units
    for unit in units:
        assert f"swap: {unit} is off, also after a restart" in first.stdout
        assert unit not in second.stdout
    assert "# /dev/sda2 none swap" in fstab.read_text()
    assert "\n/dev/sda2 none swap" in (machine.root / "etc/fstab.before-kubernetes").read_text()
    assert "swapoff --all" in machine.calls


def test_containerd_with_a_proxy_restarts_only_when_it_changes(machine: Sandbox) -> None:
    machine.program("ctr")
    settings = {"PAUSE": "registry.k8s.io/pause:3.10", "MIRROR": "", "UPSTREAMS": "docker.io"}
    proxy = {"HTTP_PROXY": "", "HTTPS_PROXY": "http://proxy.test:3128", "NO_PROXY": "10.32.0.0/16,10.96.0.0/16"}
    drop_in = machine.root / "etc/systemd/system/containerd.service.d/mlplatform-proxy.conf"

    def restarts(**environment: str) -> int:
        before = machine.calls.count("systemctl restart containerd")
        result = machine.run("packages/mirrors.sh", "\n", **settings, **environment)
        assert result.returncode == 0, result.stderr
        return machine.calls.count("systemctl restart containerd") - before

    assert restarts() == 0
    assert restarts(**proxy) == 1
    assert 'Environment="HTTPS_PROXY=http://proxy.test:3128"\n' in drop_in.read_text()
    assert 'Environment="NO_PROXY=10.32.0.0/16,10.96.0.0/16"\n' in drop_in.read_text()
    assert restarts(**proxy) == 0
    assert restarts() == 1
    assert not drop_in.exists()


def test_probe_reports_only_ports_without_a_listener(tmp_path: Path) -> None:
    open_port, udp_port, closed_port = free_ports(3)
    ports = f"{open_port}/tcp {udp_port}/udp"
    pid = int(run_here("preflight/listen.sh", PORTS=ports, SECONDS_TO_LISTEN="30"))
    try:
        targets = [f"127.0.0.1:{port}" for port in (f"{open_port}/tcp", f"{udp_port}/udp", f"{closed_port}/tcp")]
        assert run_here("preflight/probe.sh", TARGETS=" ".join(targets)).split() == [targets[2]]
        udp_closed = f"127.0.0.1:{closed_port}/udp"
        assert run_here("preflight/probe.sh", TARGETS=udp_closed).split() == [udp_closed]
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: run_here("preflight/probe.sh", TARGETS=targets[0]).split() == targets[:1], what="the end")


def test_listener_of_a_killed_up_is_no_finding_and_is_replaced(tmp_path: Path) -> None:
    first, other = free_ports(2)
    arguments = {"PORTS": f"{first}/tcp {other}/udp", "SECONDS_TO_LISTEN": "30"}
    left = int(run_here("preflight/listen.sh", **arguments))
    assert f"listening {first}\n" not in run_here("preflight/facts.sh", ADDRESS="127.0.0.1", PEERS="")
    pid = int(run_here("preflight/listen.sh", **arguments))
    try:
        assert not psutil.pid_exists(left)
        assert run_here("preflight/probe.sh", TARGETS=f"127.0.0.1:{first}/tcp 127.0.0.1:{other}/udp") == ""
    finally:
        os.kill(pid, signal.SIGTERM)


def run_here(script: str, **environment: str) -> str:
    """Run a script that changes nothing on this computer, without the lock of the scripts."""
    text = (FOLDER / script).read_text()
    result = subprocess.run(
        ["bash", "-s"], input=text, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_system_installs_packages_without_removing_others(machine: Sandbox) -> None:
    machine.program("dpkg-query", "exit 1")
    machine.program("apt-get", '[ "$3" != install ] || exit 1')
    assert machine.run("packages/system.sh").returncode == 1
    (install,) = [call for call in machine.calls if " install " in call]
    assert "--no-remove" in install


def test_facts_of_a_machine_with_many_links_have_its_address(machine: Sandbox) -> None:
    """Let `ip` write more than a pipe holds after the address, so that it ends with SIGPIPE."""
    link = "2: ens3    inet 10.0.0.1/24 brd 10.0.0.255 scope global ens3"
    machine.program("ip", f'echo "{link}"; for ((n = 0; n < 3000; n++)); do echo "$n: veth$n inet 10.9.0.1/32"; done')
    assert "has_address yes" in facts_of(machine)
