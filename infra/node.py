"""What takes two machines, the control plane and a node: `python -m infra.node join|leave|ready|reset`.

pulumi-command runs it on the computer that runs Pulumi. On standard input, which no list of processes shows, it reads
{"node": {...}, "control_plane": {...}, "version": "1.34.4", "from": ..., "credentials": ...}: the machines as
`Machine.properties`, the rest as `infra/scripts/kubernetes.sh` takes it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from infra.failure import Failure
from infra.scripts import command_line, standard_input
from infra.ssh import Shell, connected

KUBECTL = "sudo --non-interactive kubectl --kubeconfig /etc/kubernetes/admin.conf"
READY_SECONDS = 300
DRAIN_SECONDS = 120
CA_HASH = (
    'sudo --non-interactive bash -o pipefail -c "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | '
    "openssl pkey -pubin -outform der | openssl dgst -sha256 -hex | cut -d' ' -f2\""
)
"""As `kubeadm init` prints it, see its documentation of --discovery-token-ca-cert-hash."""

Order = Mapping[str, Any]


def join(order: Order) -> None:
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
            plane.run(f"sudo --non-interactive kubeadm token delete {token.partition('.')[0]}")


def leave(order: Order) -> None:
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


def ready(order: Order) -> None:
    """Bring a node to the wanted version if it has another one, and wait until it is Ready."""
    node, version = order["node"], f"v{order['version']}"
    with connected(order["control_plane"]) as plane:
        look = f"{KUBECTL} get node {node['name']} --output jsonpath='{{.status.nodeInfo.kubeletVersion}}'"
        found = plane.run(look).checked(f"asking for {node['name']}").strip()
        if found != version:
            _upgrade(order, plane, version)
        deadline = time.monotonic() + READY_SECONDS
        wait = f"{KUBECTL} wait --for=condition=Ready node/{node['name']} --timeout=10s"
        while (answer := plane.run(wait)).code:
            if time.monotonic() > deadline:
                why = plane.run(f"{KUBECTL} describe node {node['name']}").output
                conditions = why.partition("Conditions:")[2].partition("Addresses:")[0]
                raise Failure(
                    f"{node['name']} is not Ready after {READY_SECONDS} s: {answer.error.strip()}\n{conditions}"
                )
            time.sleep(1)
        # After a restart of its machine a node may still be cordoned by an upgrade that was killed.
        plane.run(f"{KUBECTL} uncordon {node['name']}").checked(f"uncordoning {node['name']}")
    print(f"{node['name']} is Ready, {version}")


def reset(order: Order) -> None:
    """Make the machine no node any more; one that cannot be reached is left as it is."""
    node = order["node"]
    try:
        with connected(node) as shell:
            print(shell.run(command_line("reset.sh", {}), standard_input("reset.sh")).checked(f"{node['name']}: reset"))
    except Failure as failure:
        print(f"Left as it is: {failure}", file=sys.stderr)


def _upgrade(order: Order, plane: Shell, version: str) -> None:
    """kubeadm's order: its own binary, the control plane's pods or the node's settings, then drained, kubelet."""
    node = order["node"]
    with connected(node) as shell:

        def install(what: str) -> None:
            environment = {"VERSION": version.removeprefix("v"), "FROM": order["from"], "WHAT": what}
            done = shell.run(
                command_line("kubernetes.sh", environment), standard_input("kubernetes.sh", order["credentials"])
            )
            print(done.checked(f"{node['name']}: {what} {version}"))

        install("kubeadm")
        step = f"apply {version} --yes" if node["role"] == "control-plane" else "node"
        print(shell.run(f"sudo --non-interactive kubeadm upgrade {step}").checked(f"{node['name']}: kubeadm upgrade"))
        plane.run(f"{KUBECTL} cordon {node['name']}").checked(f"cordoning {node['name']}")
        _drain(plane, node["name"])
        install("kubelet")


def _drain(plane: Shell, name: str) -> None:
    options = f"--ignore-daemonsets --delete-emptydir-data --force --timeout={DRAIN_SECONDS}s"
    drained = plane.run(f"{KUBECTL} drain {name} {options}")
    if drained.code:
        # A disruption budget that cannot be kept is no reason to keep the machine: its owner has decided.
        plane.run(f"{KUBECTL} drain {name} {options} --disable-eviction").checked(f"draining {name}")


ACTIONS: dict[str, Callable[[Order], None]] = {"join": join, "leave": leave, "ready": ready, "reset": reset}


def main() -> int:
    """Carry out one action; returns the exit code."""
    try:
        ACTIONS[sys.argv[1]](json.load(sys.stdin))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
