"""kubectl on a control plane, for steps that wait for or change nodes."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from infra.errors import UserError
from infra.kubeadm.owner import OtherOwnerError, check_owner
from infra.kubeadm.step import NodeRequest
from infra.machine import ResolvedMachine
from infra.retry import poll
from infra.ssh import CommandResult, Shell, connected, file_exists

KUBECTL = "sudo --non-interactive kubectl --kubeconfig /etc/kubernetes/admin.conf"
APPROVER = "mlplatform-approve-certificates.service"
"""The unit that `scripts/approver.sh` installs."""
READY_SECONDS = 300
ANSWER_SECONDS = 15
"""Time for which requests about one node are repeated while the API server refuses them."""
DRAIN_SECONDS = 120
STABLE_SECONDS = 30
POLL_SECONDS = 1
NODE_STATES = ("True", "False", "Unknown")
BLOCKED = ("global timeout reached", "context deadline exceeded")
"""Errors of `kubectl drain` after its timeout: of an eviction that a budget forbids, and of a pod that does not end."""


class Kubectl:
    """kubectl with the administrator's kubeconfig, run on a control plane over `shell`.

    With several control planes, `local_server` is true: requests go to the API server of that machine.
    All methods raise UserError when kubectl fails, with its message.
    """

    def __init__(self, shell: Shell, machine: ResolvedMachine, *, local_server: bool) -> None:
        self.shell, self.machine = shell, machine
        self._server = f" --server https://{machine.address}:6443" if local_server else ""

    def unready_reason(self) -> str | None:
        """Return why the machine's API server cannot be used, None if it is ready."""
        if not file_exists(self.shell, self.machine.name, "/etc/kubernetes/admin.conf"):
            return f"{self.machine.name} is no control plane yet"
        result = self.run("get --raw /readyz --request-timeout=5s")
        return f"the API server of {self.machine.name} is not ready: {result.error.strip()}" if result.code else None

    def node_exists(self, node: str) -> bool:
        """Return True if the cluster has that node."""
        result = self.run(f"get node {node} --ignore-not-found --output name")
        return bool(result.checked(f"reading node {node}"))

    def kubelet_version(self, node: str) -> str:
        """Return the version that the node's kubelet reported last, such as v1.34.4."""
        result = self.run(f"get node {node} --output jsonpath='{{.status.nodeInfo.kubeletVersion}}'")
        return result.checked(f"reading node {node}").strip()

    def server_version(self) -> str:
        """Return the API server's version, such as v1.34.4. Wait while the API server starts."""
        response: CommandResult | None = None

        def respond() -> CommandResult | None:
            nonlocal response
            response = self.run("get --raw /version")
            return None if response.code else response

        poll(respond, timeout=READY_SECONDS, interval=POLL_SECONDS)
        assert response is not None
        return str(json.loads(response.checked("reading the API server's version"))["gitVersion"])

    def cordon(self, node: str) -> None:
        """Mark the node as unschedulable."""
        self.run(f"cordon {node}").checked(f"cordoning {node}")

    def drain(self, node: str) -> None:
        """Evict the node's pods; after a timeout, delete those whose disruption budget forbids the eviction.

        The user has decided to upgrade or remove the machine, so a disruption budget only delays that.
        """
        drain = f"drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout={DRAIN_SECONDS}s"
        result = CommandResult(0, "", "")

        def decided() -> bool | None:
            nonlocal result
            result = self.run(drain)
            return True if result.code == 0 or any(error in result.error for error in BLOCKED) else None

        if poll(decided, timeout=ANSWER_SECONDS, interval=POLL_SECONDS) and result.code:
            result = self.run(f"{drain} --disable-eviction")
        result.checked(f"draining {node}")

    def is_ready(self, node: str) -> bool:
        """Return True if the node is Ready, as it is for up to a minute after its machine has died.

        Raises:
            UserError: the API server does not report it, so that the machine may be alive.
        """
        arguments = f"""get node {node} --output jsonpath='{{.status.conditions[?(@.type=="Ready")].status}}'"""
        result = CommandResult(0, "", "")

        def status() -> str | None:
            nonlocal result
            result = self.run(arguments)
            return result.output.strip() if result.code == 0 and result.output.strip() in NODE_STATES else None

        found = poll(status, timeout=ANSWER_SECONDS, interval=POLL_SECONDS)
        if found is None:
            action = f"reading whether node {node} is Ready"
            condition = result.checked(action).strip()
            raise UserError(f"{action} failed: its condition Ready is {condition!r}; expected {', '.join(NODE_STATES)}")
        return found == "True"

    def drain_if_ready(self, node: str) -> None:
        """Mark the node as unschedulable, and evict its pods unless its machine is dead."""
        ready = self.is_ready(node)
        self.cordon(node)
        if not ready:
            return
        try:
            self.drain(node)
        except UserError:
            if self.is_ready(node):
                raise

    def delete_node(self, node: str) -> None:
        """Remove the node from the cluster."""
        self.run(f"delete node {node} --wait=true").checked(f"removing node {node}")

    def forget_lost_machine(self, machine: ResolvedMachine) -> None:
        """Remove the node with the name and address of a machine that is about to join.

        It is that of a lost machine, or of an unfinished join. Kubernetes reports it as Ready for up to a minute, and
        kubeadm refuses the name of a Ready node. A node with another address may be another machine: kubeadm decides.
        """
        addresses = f"get node {machine.name} --ignore-not-found --output jsonpath="
        addresses += """'{.status.addresses[?(@.type=="InternalIP")].address}'"""
        if machine.address in self.run(addresses).checked(f"reading node {machine.name}").split():
            self.delete_node(machine.name)

    def delete_static_pods(self, node: str) -> None:
        """Delete the mirrors of the control plane's static pods on the node. A kubelet that runs creates them again."""
        selectors = f"--selector tier=control-plane --field-selector spec.nodeName={node}"
        delete = f"--namespace kube-system delete pods {selectors} --force --grace-period=0 --ignore-not-found"
        self.run(delete).checked(f"deleting the static pods of {node}")

    def wait_for_node(self, node: str, version: str) -> None:
        """Wait until the kubelet of that version reports the node as Ready, and uncordon the node.

        The status of an older kubelet stays in place until the new kubelet reports.

        Raises:
            UserError: the node is not Ready within five minutes; with its conditions.
        """
        fields = (
            '{.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status} {.spec.unschedulable}'
        )
        result = CommandResult(0, "", "")

        def ready() -> bool | None:
            nonlocal result
            result = self.run(f"get node {node} --output jsonpath='{fields}'")
            match result.output.split():
                case [current, "True"] if current == version:
                    return True
                case [current, "True", "true"] if current == version:
                    # kubectl reports success even if the node stays cordoned, so the next attempt checks again.
                    self.run(f"uncordon {node}")
            return None

        if not poll(ready, timeout=READY_SECONDS, interval=POLL_SECONDS):
            description = self.run(f"describe node {node}").output
            conditions = description.partition("Conditions:")[2].partition("Addresses:")[0]
            raise UserError(
                f"{node} is not Ready with {version} after {READY_SECONDS} s: "
                f"{(result.output or result.error).strip()}\n{conditions}"
            )

    def wait_for_serving_certificate(self, node: str) -> None:
        """Wait until the kubelet serves a certificate that the API server accepts; have its request approved at once.

        Raises:
            UserError: it does not within five minutes; with the API server's error.
        """
        result = CommandResult(0, "", "")

        def accepted() -> bool | None:
            nonlocal result
            self.shell.run(f"sudo --non-interactive systemctl start {APPROVER}")
            result = self.run(f"get --raw /api/v1/nodes/{node}/proxy/healthz")
            return True if result.code == 0 else None

        if not poll(accepted, timeout=READY_SECONDS, interval=POLL_SECONDS):
            raise UserError(
                f"the API server cannot connect to the kubelet of {node} after {READY_SECONDS} s: "
                f"{result.error.strip()}\nOn the control plane, `sudo journalctl --unit {APPROVER}` shows which "
                "requests for certificates were not approved"
            )

    def wait_for_stable_api_server(self) -> None:
        """Wait until the API server has been ready for 30 s: a new kubelet restarts it shortly after its own start.

        Raises:
            UserError: it is not within five minutes.
        """
        started = ready_since = time.monotonic()

        def stable() -> bool | None:
            nonlocal ready_since
            response = self.run("get --raw /readyz --request-timeout=5s")
            now = time.monotonic()
            if response.code:
                ready_since = now
                if now - started > READY_SECONDS:
                    response.checked("waiting for the API server to stay ready")
            return True if now - ready_since >= STABLE_SECONDS else None

        poll(stable, timeout=math.inf, interval=POLL_SECONDS)

    def wait_for_deployments(self) -> None:
        """Wait up to two minutes until all Deployments are available, and log a warning if some are not.

        A drain stops pods, and the next node must not be drained before they run again. A Deployment that stays
        unavailable may have been so before the drain, so the upgrade continues.
        """
        result = self.run(
            f"wait --for=condition=Available deployment --all --all-namespaces --timeout={DRAIN_SECONDS}s"
        )
        if result.code:
            print(f"Not all Deployments are available: {result.error.strip()}", file=sys.stderr)

    def spread_coredns(self) -> None:
        """Delete one CoreDNS pod if all of them run on one node. kubeadm starts them while there is one node only."""
        line = '{range .items[*]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}'
        result = self.run(f"--namespace kube-system get pods --selector k8s-app=kube-dns --output jsonpath='{line}'")
        pods = [fields.split() for fields in result.checked("reading the pods of CoreDNS").splitlines()]
        nodes = {tuple(node) for _, *node in pods}
        # Pods without a node are still unscheduled; the scheduler spreads them.
        if len(pods) > 1 and len(nodes) == 1 and nodes != {()}:
            delete = f"--namespace kube-system delete pod {pods[0][0]} --wait=false"
            self.run(delete).checked("deleting a pod of CoreDNS")

    def run(self, arguments: str) -> CommandResult:
        """Run kubectl with these arguments."""
        return self.shell.run(f"{KUBECTL}{self._server} {arguments}")


@contextmanager
def kubectl_on(request: NodeRequest, machines: Sequence[ResolvedMachine] = ()) -> Iterator[Kubectl]:
    """Connect to the control plane, or to the first of several whose API server is ready.

    Args:
        request: of the step.
        machines: the control planes to try; default is all.

    Raises:
        OtherOwnerError: another stack has them now.
        UserError: none of them can be reached, or no API server is ready within five minutes.
    """
    if not request.other_control_planes:
        with connected(request.control_plane) as shell:
            check_owner(shell, request.control_plane.name, request.owner)
            yield Kubectl(shell, request.control_plane, local_server=False)
        return
    with ExitStack() as stack:
        errors: list[UserError] = []

        def first_ready() -> Kubectl | None:
            errors.clear()
            for machine in machines or request.control_planes:
                with ExitStack() as attempt:
                    try:
                        shell = attempt.enter_context(connected(machine))
                        check_owner(shell, machine.name, request.owner)
                        kubectl = Kubectl(shell, machine, local_server=True)
                        if reason := kubectl.unready_reason():
                            raise UserError(reason)
                    except UserError as error:
                        errors.append(error)
                        continue
                    stack.enter_context(attempt.pop_all())
                    return kubectl
            return None

        kubectl = poll(first_ready, timeout=READY_SECONDS, interval=POLL_SECONDS)
        if kubectl is None:
            kind = OtherOwnerError if all(isinstance(error, OtherOwnerError) for error in errors) else UserError
            raise kind("no control plane can be used:\n" + "\n".join(map(str, errors)))
        yield kubectl
