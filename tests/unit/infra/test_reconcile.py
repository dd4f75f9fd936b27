"""The configuration of nodes that exist: the real scripts in a folder, with fake programs, and the step's waits."""

from __future__ import annotations

import base64
import ipaddress
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.kubeadm.scripts import script_text
from tests.sandbox import Sandbox

VARIABLES = {
    "NODE": "plane",
    "ADDRESS": "10.0.0.1",
    "VERSION": "1.34.4",
    "POD_SUBNET": "10.32.0.0/16",
    "SERVICE_SUBNET": "10.96.0.0/16",
    "CLUSTER": "lab",
    "NAMES": "",
}
RESTART = "systemctl restart kubelet"
OLD_KUBELET, NEW_KUBELET = "kind: KubeletConfiguration", "kind: KubeletConfiguration # new"


@pytest.fixture
def machine(tmp_path: Path) -> Sandbox:
    """Return a node of an older program."""
    machine = Sandbox(tmp_path)
    for name in ("systemctl", "kubectl", "curl", "sleep"):
        machine.program(name)
    for name in ("cp", "cmp", "comm", "ln", "openssl"):
        (tmp_path / "fake-programs" / name).symlink_to(shutil.which(name) or name)
    machine.program("systemd-detect-virt", "exit 1")
    machine.program("kubectl", 'case "$*" in *"get configmap"*) echo "    server: https://10.0.0.1:6443" ;; esac')
    (tmp_path / "var/log").mkdir()
    machine.write("etc/kubernetes/pki/ca.crt").chmod(0o644)
    certificate(machine, "10.0.0.1")
    for name in ("admin", "kubelet"):
        machine.write(f"etc/kubernetes/{name}.conf", "    server: https://10.0.0.1:6443")
    machine.write("etc/kubernetes/manifests/kube-apiserver.yaml", "old flags")
    machine.write("etc/kubernetes/audit-policy.yaml", "rules: []")
    machine.write("etc/kubernetes/policies-0123456789abcdef/audit-policy.yaml", "rules: []")
    machine.write("var/lib/kubelet/config.yaml", OLD_KUBELET)
    kubeadm(machine, flags="new flags", kubelet=NEW_KUBELET)
    return machine


def kubeadm(machine: Sandbox, flags: str, kubelet: str) -> None:
    """Define a kubeadm that writes these flags of the control plane and these settings of the kubelet."""
    machine.program(
        "kubeadm",
        f"""case "$*" in
        "init phase certs apiserver"*)
          folder=$(sed -n "s/^certificatesDir: //p" "${{@: -1}}")
          [ -n "$folder" ] || folder={machine.root}/etc/kubernetes/pki
          cp {machine.root}/new.crt "$folder/apiserver.crt"
          echo new >"$folder/apiserver.key" ;;
        "init phase upload-config"*) cat "${{@: -1}}" >{machine.root}/uploaded ;;
        "upgrade apply"*) echo "{flags}" >/etc/kubernetes/manifests/kube-apiserver.yaml ;;
        "upgrade node"*) echo "{kubelet}" >/var/lib/kubelet/config.yaml ;;
        esac""",
    )


def test_reconcile_of_an_older_control_plane_applies_both_and_waits(machine: Sandbox) -> None:
    result = machine.run("reconcile.sh", ROLE="control-plane", **VARIABLES)
    assert result.returncode == 0, result.stderr
    commands = [call.partition(" --config")[0] for call in machine.calls if call.startswith(("kubeadm", "kubectl"))]
    assert [command for command in dict.fromkeys(commands[1:]) if "configmap" not in command] == [
        "kubeadm init phase upload-config all",
        "kubeadm upgrade apply phase control-plane v1.34.4 --certificate-renewal=false",
        "kubectl get --raw /livez --request-timeout=5s",
        "kubectl get --raw /readyz --request-timeout=5s",
        "kubeadm upgrade node phase kubelet-config",
    ]
    assert commands[0] == "kubectl get --raw /readyz --request-timeout=5s"
    assert commands.count(commands[0]) == 1 + 5
    assert commands.count("kubectl get --raw /livez --request-timeout=5s") == 5
    assert RESTART in machine.calls
    kubernetes = machine.root / "etc/kubernetes"
    (policies,) = kubernetes.glob("policies*")  # that of the older configuration is gone
    assert f"hostPath: {policies}, mountPath: {kubernetes}/policies" in (machine.root / "uploaded").read_text()
    assert not (kubernetes / "audit-policy.yaml").exists()
    assert (kubernetes / "pki/ca.crt").stat().st_mode & 0o777 == 0o600
    assert (machine.root / "var/lib/kubelet/config.yaml").stat().st_mode & 0o777 == 0o600


def test_reconcile_without_a_difference_restarts_nothing(machine: Sandbox) -> None:
    assert machine.run("reconcile.sh", ROLE="control-plane", **VARIABLES).returncode == 0
    before = len(machine.calls)
    result = machine.run("reconcile.sh", ROLE="control-plane", **VARIABLES)
    assert "flags are those of this version" in result.stdout
    assert "settings are those of this version" in result.stdout
    assert [call for call in machine.calls[before:] if call.startswith(("systemctl r", "curl"))] == []


def certificate(machine: Sandbox, *names: str, file: str = "etc/kubernetes/pki/apiserver.crt") -> None:
    """Write a certificate of the API server with these names and addresses, and a key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    alternative: list[x509.GeneralName] = []
    for name in names:
        with suppress(ValueError):
            alternative.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        alternative.append(x509.DNSName(name))
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .sign(key, hashes.SHA256())
    )
    machine.write(file, built.public_bytes(serialization.Encoding.PEM).decode())
    machine.write("etc/kubernetes/pki/apiserver.key", "key")


NEW_NAMES = {**VARIABLES, "NAMES": "10.0.0.1 api.example.com"}


def serve_new_certificate(machine: Sandbox) -> None:
    """Let kubeadm issue a certificate with a new name, and the API server serve the file that it has reloaded."""
    certificate(machine, "10.0.0.1", "api.example.com", "plane", file="new.crt")
    (machine.root / "fake-programs/openssl").rename(machine.root / "fake-programs/real-openssl")
    machine.program(
        "openssl",
        'case $1 in s_client) cat /etc/kubernetes/pki/apiserver.crt ;; *) exec real-openssl "$@" ;; esac',
    )


def test_reconcile_with_a_new_name_reissues_the_certificate_of_the_api_server(machine: Sandbox) -> None:
    serve_new_certificate(machine)
    for _ in range(2):
        result = machine.run("reconcile.sh", ROLE="control-plane", **NEW_NAMES)
        assert result.returncode == 0, result.stderr
    assert [call for call in machine.calls if "certs apiserver" in call][1:] == []
    pki = machine.root / "etc/kubernetes/pki"
    assert {file.name for file in pki.iterdir()} == {"ca.crt", "apiserver.crt", "apiserver.key"}
    assert (pki / "apiserver.key").read_text() == "new\n"
    assert not (machine.root / "etc/kubernetes/pki.new").exists()
    assert "certSANs: [10.0.0.1, 10.0.0.1, api.example.com]" in (machine.root / "uploaded").read_text()


def test_reconcile_that_lost_power_while_kubeadm_issued_the_certificate_is_repeated(machine: Sandbox) -> None:
    serve_new_certificate(machine)
    pki = machine.root / "etc/kubernetes/pki"
    old = (pki / "apiserver.crt").read_text()
    machine.program("kubeadm", 'case "$*" in *"certs apiserver"*) kill -9 $PPID ;; esac')
    assert machine.run("reconcile.sh", ROLE="control-plane", **NEW_NAMES).returncode == -9
    assert ((pki / "apiserver.crt").read_text(), (pki / "apiserver.key").read_text()) == (old, "key\n")
    kubeadm(machine, flags="new flags", kubelet=NEW_KUBELET)
    result = machine.run("reconcile.sh", ROLE="control-plane", **NEW_NAMES)
    assert result.returncode == 0, result.stderr
    assert (pki / "apiserver.crt").read_text() == (machine.root / "new.crt").read_text()


@pytest.mark.parametrize("moved", [("crt",), ("crt", "key"), ("crt", "key", "half")])
def test_reconcile_puts_the_certificate_back_that_an_older_program_moved_away(
    machine: Sandbox, moved: tuple[str, ...]
) -> None:
    """Do so before the first request: an API server without its certificate does not start."""
    pki = machine.root / "etc/kubernetes/pki"
    for suffix in moved[:2]:
        (pki / f"apiserver.{suffix}").rename(pki / f"apiserver.{suffix}.old")
    if "half" in moved:
        machine.write("etc/kubernetes/pki/apiserver.key", "that kubeadm wrote")
    machine.program("kubectl", f'[ -f {pki}/apiserver.crt ] && [ "$(cat {pki}/apiserver.key)" = key ]')
    machine.program("sleep", "kill $PPID")
    result = machine.run("reconcile.sh", ROLE="control-plane", **VARIABLES)
    assert "certificate" not in result.stdout
    assert {file.name for file in pki.iterdir()} == {"ca.crt", "apiserver.crt", "apiserver.key"}, result.stderr


def test_reconcile_whose_kubeconfig_cannot_be_written_fails(machine: Sandbox) -> None:
    certificate(machine, "10.0.0.1", "10.0.0.10")
    (machine.root / "fake-programs/sed").rename(machine.root / "fake-programs/real-sed")
    machine.program("sed", '[ "$1" != -i ] || { echo "no space left" >&2; exit 4; }; exec real-sed "$@"')
    for role in ("control-plane", "worker"):
        result = machine.run("reconcile.sh", ROLE=role, **{**VARIABLES, "ENDPOINT": "10.0.0.10"})
        assert result.returncode != 0
        assert "no space left" in result.stderr


def test_reconcile_with_a_new_endpoint_moves_every_kubeconfig_and_restarts_kube_proxy(machine: Sandbox) -> None:
    certificate(machine, "10.0.0.1", "10.0.0.10")
    machine.program(
        "kubectl",
        f"""case "$*" in
        *"get configmap"*) echo "    server: https://10.0.0.1:6443" ;;
        replace*) cat >>{machine.root}/replaced ;;
        esac""",
    )
    endpoint = {**VARIABLES, "NAMES": "10.0.0.1", "ENDPOINT": "10.0.0.10"}
    result = machine.run("reconcile.sh", ROLE="control-plane", **endpoint)
    assert result.returncode == 0, result.stderr
    kubernetes, server = machine.root / "etc/kubernetes", "    server: https://10.0.0.10:6443\n"
    assert (kubernetes / "admin.conf").read_text() == server
    assert (kubernetes / "kubelet.conf").read_text() == "    server: https://10.0.0.1:6443\n"  # its own API server
    assert (machine.root / "replaced").read_text() == 2 * server
    assert "kubectl --namespace kube-system rollout restart daemonset kube-proxy" in machine.calls
    assert "controlPlaneEndpoint: 10.0.0.10:6443" in (machine.root / "uploaded").read_text()
    result = machine.run("reconcile.sh", ROLE="worker", **endpoint)
    assert result.returncode == 0, result.stderr
    assert (kubernetes / "kubelet.conf").read_text() == server
    assert "kubelet: the API server's address is https://10.0.0.10:6443" in result.stdout


def test_reconcile_of_a_worker_changes_its_kubelet_only(machine: Sandbox) -> None:
    result = machine.run("reconcile.sh", ROLE="worker", **VARIABLES)
    assert result.returncode == 0, result.stderr
    assert [call for call in machine.calls if call.startswith("kubeadm")] == [
        "kubeadm upgrade node phase kubelet-config"
    ]
    assert machine.calls.count(RESTART) == 1


def test_reconcile_with_a_kubelet_that_does_not_start_restores_its_settings(machine: Sandbox) -> None:
    machine.program("curl", "echo 'connection refused' >&2; exit 7")
    result = machine.run("reconcile.sh", ROLE="worker", **VARIABLES)
    assert result.returncode == 1
    assert "8/healthz: connection refused" in result.stderr
    assert "has the old ones again" in result.stderr
    assert (machine.root / "var/lib/kubelet/config.yaml").read_text() == f"{OLD_KUBELET}\n"
    assert machine.calls.count(RESTART) == 2


def test_reconcile_with_a_failed_kubeadm_fails_with_its_last_lines(machine: Sandbox) -> None:
    machine.program("kubeadm", 'case "$*" in "upgrade apply"*) echo "rolled back"; exit 1 ;; esac')
    result = machine.run("reconcile.sh", ROLE="control-plane", **VARIABLES)
    assert result.returncode == 1
    assert "kubeadm upgrade apply phase control-plane v1.34.4" in result.stderr
    assert "rolled back" in result.stderr
    assert RESTART not in machine.calls
    assert (
        len([*(machine.root / "etc/kubernetes").glob("policies-*")]) == 2
    )  # the API server may still use the old ones


@pytest.fixture
def approver(machine: Sandbox) -> Sandbox:
    """Return a control plane with the timer, for the nodes plane and worker-1."""
    (machine.root / "etc/systemd/system").mkdir(parents=True)
    text = script_text("approve-certificates.sh")
    for node, address in {"plane": "10.0.0.1", "worker-1": "10.0.0.2"}.items():
        result = machine.run("approver.sh", text, NODE=node, ADDRESS=address)
        assert result.returncode == 0, result.stderr
    assert (machine.root / "usr/local/sbin/mlplatform-approve-certificates").read_text() == text
    assert "systemctl enable --now --quiet mlplatform-approve-certificates.timer" in machine.calls
    return machine


def signing_request(
    node: str, addresses: list[str], names: list[str] | None = None, group: str = "system:nodes"
) -> str:
    """Return a kubelet's request as the API server has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group), x509.NameAttribute(NameOID.COMMON_NAME, node)]
    alternative = [
        *(x509.DNSName(name) for name in ([node.rpartition(":")[2]] if names is None else names)),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses),
    ]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if alternative:
        request = request.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


WORKER = "system:node:worker-1"


def decision(machine: Sandbox, request: str, user: str) -> tuple[bool, str]:
    """Return whether the request is approved, and the log."""
    machine.write("pending", f'csr-1 {request} "{user}"')
    machine.program("kubectl", f'[ "$1" = certificate ] || cat {machine.root}/pending')
    (machine.root / "calls").unlink(missing_ok=True)
    result = machine.run("approve-certificates.sh")
    assert result.returncode == 0, result.stderr
    return "kubectl certificate approve csr-1" in machine.calls, result.stderr


def test_approver_approves_the_request_of_a_node_for_its_name_and_address(approver: Sandbox) -> None:
    assert decision(approver, signing_request(WORKER, ["10.0.0.2"]), WORKER) == (True, "")


@pytest.mark.parametrize(
    ("request_", "user", "reason"),
    [
        (
            signing_request(WORKER, ["10.0.0.1"]),
            WORKER,
            "it is for DNS:worker-1, IP Address:10.0.0.1, and worker-1 has",
        ),
        (signing_request(WORKER, ["10.0.0.2", "10.0.0.9"]), WORKER, "IP Address:10.0.0.9, and"),
        (signing_request(WORKER, ["10.0.0.2"], ["worker-1", "kubernetes"]), WORKER, "DNS:kubernetes"),
        (signing_request(WORKER, [], []), WORKER, "it is for , and"),
        (signing_request("system:node:plane", ["10.0.0.1"]), WORKER, "its subject is subject=CN=system:node:plane"),
        (signing_request(WORKER, ["10.0.0.2"], group="system:masters"), WORKER, "O=system:masters"),
        (signing_request(WORKER, ["10.0.0.2"]), "system:node:worker-9", "the cluster has no node worker-9"),
        (signing_request(WORKER, ["10.0.0.2"]), "worker-1", "worker-1 is no node"),
        (signing_request(WORKER, ["10.0.0.2"]), r"x\ncsr-2 y system:node:worker-1", "is no node"),
        (signing_request(WORKER, ["10.0.0.2"]), "system:node:../owner", "system:node:../owner is no node"),
        (base64.b64encode(b"no request").decode(), WORKER, "the request is invalid"),
    ],
    ids=[
        "address",
        "addresses",
        "name",
        "no-name",
        "subject",
        "group",
        "node",
        "user",
        "line-break",
        "path",
        "no-request",
    ],
)
def test_approver_leaves_other_requests_and_logs_the_reason(
    approver: Sandbox, request_: str, user: str, reason: str
) -> None:
    approved, log = decision(approver, request_, user)
    assert not approved
    assert "is not approved: " in log
    assert reason in log


def test_reset_removes_the_timer_and_the_login_of_the_registry(approver: Sandbox) -> None:
    machine = approver
    for name in ("kubeadm", "ipset", "ctr"):
        machine.program(name)
    for name in ("iptables-save", "ip6tables-save", "ip"):
        machine.program(name, "exit 1")
    theirs = [machine.write("etc/containerd/certs.d/example.com/hosts.toml", 'server = "https://example.com"')]
    settings = {"PAUSE": "registry.k8s.io/pause:3.10", "UPSTREAMS": "docker.io quay.io", "MIRROR": "10.0.0.9:5443"}
    result = machine.run("packages/mirrors.sh", "c2VjcmV0\nCERTIFICATE\n", **settings)
    assert result.returncode == 0, result.stderr
    login = machine.root / "etc/containerd/certs.d/quay.io/hosts.toml"
    assert "c2VjcmV0" in login.read_text()
    assert login.stat().st_mode & 0o077 == 0
    result = machine.run("reset.sh")
    assert result.returncode == 0, result.stderr
    left = [file for file in machine.root.glob("etc/containerd/certs.d/**/*") if file.is_file()]
    assert left == theirs
    assert "systemctl disable --now --quiet mlplatform-approve-certificates.timer" in machine.calls
    assert [*machine.root.glob("etc/systemd/system/mlplatform*"), *machine.root.glob("usr/local/sbin/*")] == []
