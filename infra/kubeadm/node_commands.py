"""Steps on the control plane and a node: `python -m infra.kubeadm.node_commands upgrade|join|leave|ready|reset`.

pulumi-command runs it on the computer that runs Pulumi. On standard input, which no list of processes shows, it reads
{"node": {...}, "control_plane": {...}, "version": "1.34.4", "from": ..., "credentials": ...}: the machines as
`Machine.properties`, the rest as `infra/kubeadm/scripts/kubernetes.sh` takes it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from infra.errors import UserError
from infra.kubeadm.scripts import command_line, standard_input
from infra.ssh import Shell, connected

KUBECTL = "sudo --non-interactive kubectl --kubeconfig /etc/kubernetes/admin.conf"
READY_SECONDS = 300
DRAIN_SECONDS = 120
STEADY_SECONDS = 30
CA_HASH = (
    'sudo --non-interactive bash -o pipefail -c "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | '
    "openssl pkey -pubin -outform der | openssl dgst -sha256 -hex | cut -d' ' -f2\""
)
"""As `kubeadm init` prints it, see its documentation of --discovery-token-ca-cert-hash."""

NodeRequest = Mapping[str, Any]


def join(order: NodeRequest) -> None:
    """Make the machine a worker of the cluster; one that is one is left as it is."""
    node = order["node"]
    with connected(node) as worker, connected(order["control_plane"]) as plane:
        joined = worker.run("sudo --non-interactive test -f /etc/kubernetes/kubelet.conf").code == 0
        look = plane.run(f"{KUBECTL} get node {node['name']} --ignore-not-found --output name")
        if look.checked(f"asking for {node['name']}") and joined:
            print(f"{node['name']} is a node already")
            return
        mint = f"sudo --non-interactive kubeadm token create --ttl 15m --description 'joins {node['name']}'"
        token = plane.run(mint).checked("minting a token").strip()
        try:
            authority = plane.run(CA_HASH).checked("reading the cluster's certificate").strip()
            environment = {
                "NODE": node["name"],
                "ADDRESS": node["address"],
                "ENDPOINT": f"{order['control_plane']['address']}:6443",
            }
            done = worker.run(
                command_line("join.sh", environment), standard_input("join.sh", f"{token} sha256:{authority}\n")
            )
            print(done.checked(f"{node['name']}: kubeadm join"))
        finally:
            # Where this fails, the token ends by itself.
            plane.run(f"sudo --non-interactive kubeadm token delete {token.partition('.')[0]}")


def leave(order: NodeRequest) -> None:
    """Move the pods of a worker elsewhere and take it out of the cluster; a dead machine is taken out as well."""
    name = order["node"]["name"]
    with connected(order["control_plane"]) as plane:
        look = plane.run(f"{KUBECTL} get node {name} --ignore-not-found --output name")
        if not look.checked(f"asking for {name}"):
            print(f"{name} is no node of the cluster any more")
            return
        ready = plane.run(f"{KUBECTL} wait --for=condition=Ready node/{name} --timeout=1s").code == 0
        plane.run(f"{KUBECTL} cordon {name}").checked(f"cordoning {name}")
        if ready:
            _drain(plane, name)
        plane.run(f"{KUBECTL} delete node {name} --wait=true").checked(f"removing {name}")
    print(f"{name} is out of the cluster")


def upgrade(order: NodeRequest) -> None:
    """Bring a control plane to the wanted version; one that has it is left as it is, though it may wait for a network.

    Raises:
        UserError: kubeadm does not go from the version that is there to the wanted one; nothing was changed.
    """
    node, wanted = order["node"], f"v{order['version']}"
    with connected(order["control_plane"]) as plane:
        # An upgrade that was killed may have brought its pods to that version already, and not kubelet.
        server = _server_version(plane)
        kubelet = _kubelet_version(plane, node["name"])
        if kubelet == server == wanted:
            print(f"{node['name']} has {wanted}")
            return
        if why := refusal(server, wanted):
            raise UserError(f"infra:kubernetes.version: {why}")
        _upgrade(order, plane, wanted)
        _await_steady(plane)
        _await_ready(plane, node["name"], wanted)
        _await_deployments(plane)
    print(f"{node['name']} was brought to {wanted}")


def ready(order: NodeRequest) -> None:
    """Bring a node to the wanted version if it has another one, and wait until it is Ready."""
    name, wanted = order["node"]["name"], f"v{order['version']}"
    with connected(order["control_plane"]) as plane:
        upgrades = _kubelet_version(plane, name) != wanted
        if upgrades:
            _upgrade(order, plane, wanted)
        _await_ready(plane, name, wanted)
        if upgrades:
            _await_deployments(plane)
        if order["node"]["role"] == "worker":
            _spread_coredns(plane)
    print(f"{name} is Ready, {wanted}")


def reset(order: NodeRequest) -> None:
    """Make the machine no node any more; one that cannot be reached is left as it is."""
    node = order["node"]
    try:
        with connected(node) as shell:
            print(shell.run(command_line("reset.sh", {}), standard_input("reset.sh")).checked(f"{node['name']}: reset"))
    except UserError as failure:
        print(f"Left as it is: {failure}", file=sys.stderr)


def refusal(there: str, wanted: str) -> str | None:
    """Why kubeadm would not bring a control plane from one version to another, if it would not."""
    (major, minor, patch), new = _numbers(there), _numbers(wanted)
    if new < (major, minor, patch):
        return f"the cluster has {there}, and kubeadm does not go back to {wanted}: set its own or a newer one"
    if new[:2] > (major, minor + 1):
        return f"kubeadm does not go from {there} to {wanted} past v{major}.{minor + 1}: set a version of that first"
    return None


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = re.findall(r"\d+", version)[:3]
    return int(major), int(minor), int(patch)


def _server_version(plane: Shell) -> str:
    """The API server's; one that starts, as those of upgrades that were killed do, is waited for."""
    deadline = time.monotonic() + READY_SECONDS
    while (answer := plane.run(f"{KUBECTL} get --raw /version")).code and time.monotonic() < deadline:
        time.sleep(1)
    return str(json.loads(answer.checked("asking for the API server's version"))["gitVersion"])


def _kubelet_version(plane: Shell, name: str) -> str:
    look = f"{KUBECTL} get node {name} --output jsonpath='{{.status.nodeInfo.kubeletVersion}}'"
    return plane.run(look).checked(f"asking for {name}").strip()


def _upgrade(order: NodeRequest, plane: Shell, version: str) -> None:
    """kubeadm's order: its own binary, the control plane's pods or the node's settings, then drained, kubelet."""
    node, number = order["node"], version.removeprefix("v")
    with connected(node) as shell:

        def install(what: str) -> None:
            environment = {"VERSION": number, "FROM": order["from"], "WHAT": what}
            done = shell.run(
                command_line("kubernetes.sh", environment), standard_input("kubernetes.sh", order["credentials"])
            )
            print(done.checked(f"{node['name']}: {what} {version}"))

        install("kubeadm")
        environment = {"VERSION": number, "ROLE": node["role"]}
        done = shell.run(command_line("upgrade.sh", environment), standard_input("upgrade.sh"))
        print(done.checked(f"{node['name']}: kubeadm upgrade"))
        plane.run(f"{KUBECTL} cordon {node['name']}").checked(f"cordoning {node['name']}")
        _drain(plane, node["name"])
        install("kubelet")


def _await_ready(plane: Shell, name: str, version: str) -> None:
    """Wait until kubelet of that version says that the node is Ready, and let pods onto it.

    What one of another version said last stands there until the new one speaks.

    Raises:
        UserError: it does not within five minutes; with the node's conditions.
    """
    deadline = time.monotonic() + READY_SECONDS
    state = '{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status} {.spec.unschedulable}'
    while True:
        answer = plane.run(f"{KUBECTL} get node {name} --output jsonpath='{state}'")
        match answer.output.split():
            case [there, "True"] if there == version:
                return
            case [there, "True", "true"] if there == version:
                # kubectl also ends well where it could not: the next look tells.
                plane.run(f"{KUBECTL} uncordon {name}")
        if time.monotonic() > deadline:
            why = plane.run(f"{KUBECTL} describe node {name}").output
            conditions = why.partition("Conditions:")[2].partition("Addresses:")[0]
            raise UserError(
                f"{name} is not Ready with {version} after {READY_SECONDS} s: "
                f"{(answer.output or answer.error).strip()}\n{conditions}"
            )
        time.sleep(1)


def _await_steady(plane: Shell) -> None:
    """Wait until the API server has been ready for a while: a new kubelet starts its pod anew soon after itself.

    Raises:
        UserError: it is not within five minutes.
    """
    begin = good_since = time.monotonic()
    while (now := time.monotonic()) - good_since < STEADY_SECONDS:
        answer = plane.run(f"{KUBECTL} get --raw /readyz --request-timeout=5s")
        if answer.code:
            good_since = time.monotonic()
            if now - begin > READY_SECONDS:
                answer.checked("waiting for the API server to stay ready")
        time.sleep(1)


def _await_deployments(plane: Shell) -> None:
    """Wait until what the drain stopped or moved runs again: the next node is not drained before.

    What does not within two minutes may never have run, so it is only told.
    """
    available = f"wait --for=condition=Available deployment --all --all-namespaces --timeout={DRAIN_SECONDS}s"
    answer = plane.run(f"{KUBECTL} {available}")
    if answer.code:
        print(f"Not everything runs again: {answer.error.strip()}", file=sys.stderr)


def _spread_coredns(plane: Shell) -> None:
    """Start one of CoreDNS' pods anew where all are on one node: kubeadm starts them when there is but one."""
    each = '{range .items[*]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}'
    look = plane.run(
        f"{KUBECTL} --namespace kube-system get pods --selector k8s-app=kube-dns --output jsonpath='{each}'"
    )
    pods = [line.split() for line in look.checked("asking for CoreDNS").splitlines()]
    nodes = {tuple(node) for _, *node in pods}
    # Pods that are on no node yet will not be where one of their kind is.
    if len(pods) > 1 and len(nodes) == 1 and nodes != {()}:
        delete = f"{KUBECTL} --namespace kube-system delete pod {pods[0][0]} --wait=false"
        plane.run(delete).checked("moving a pod of CoreDNS")


def _drain(plane: Shell, name: str) -> None:
    options = f"--ignore-daemonsets --delete-emptydir-data --force --timeout={DRAIN_SECONDS}s"
    drained = plane.run(f"{KUBECTL} drain {name} {options}")
    if drained.code:
        # A disruption budget that cannot be kept is no reason to keep the machine: its owner has decided.
        plane.run(f"{KUBECTL} drain {name} {options} --disable-eviction").checked(f"draining {name}")


ACTIONS: dict[str, Callable[[NodeRequest], None]] = {
    "upgrade": upgrade,
    "join": join,
    "leave": leave,
    "ready": ready,
    "reset": reset,
}


def main() -> int:
    """Carry out one action; returns the exit code."""
    try:
        ACTIONS[sys.argv[1]](json.load(sys.stdin))
    except UserError as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
