"""kubectl and ssh for a stack, with the credentials of its outputs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from airgap.bundle.index import INDEX
from tools.bootstrap import paths
from tools.cli.pulumi_command import Pulumi

ROLLOUT_SECONDS = 300
CLUSTER_DOMAIN = ".svc"
"""The suffix of host names that resolve inside a cluster only."""


class AccessError(Exception):
    """A cluster, service, node or program that a command needs and that does not exist."""


def kubectl(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Run kubectl on the stack's cluster and return its exit code.

    Raises:
        AccessError: The stack has no cluster, or this computer has no kubectl.
    """
    kubeconfig = secret_outputs(pulumi).get("kubeconfig")
    if not kubeconfig:
        raise AccessError(f"the stack {pulumi.stack} has no cluster")
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([kubectl_program(), *arguments], env=kubectl_environment(folder, kubeconfig)).returncode


def run_in_deployment(
    kubeconfig: str, namespace: str, deployment: str, command: Sequence[str], *, stdin: IO[bytes], stdout: IO[bytes]
) -> None:
    """Run a command in the pod of a Deployment, from one file to another.

    Raises:
        AccessError: the command failed, or this computer has no kubectl.
    """
    target = ("exec", "--stdin", "--namespace", namespace, f"deployment/{deployment}", "--")
    _kubectl_checked(kubeconfig, [*target, *command], stdin, stdout)


def apply_manifest(kubeconfig: str, manifest: Mapping[str, Any]) -> None:
    """Create an object of the cluster, or give it the fields of the manifest."""
    kubectl_output(kubeconfig, ["apply", "--filename", "-"], json.dumps(manifest))


def kubectl_output(kubeconfig: str, arguments: Sequence[str], stdin: str = "") -> str:
    """Run kubectl and return its output.

    Raises:
        AccessError: kubectl failed, or this computer has none.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(stdin.encode())
        source.seek(0)
        _kubectl_checked(kubeconfig, arguments, source, output)
        output.seek(0)
        return output.read().decode()


def restart_deployment(kubeconfig: str, namespace: str, deployment: str) -> None:
    """Replace the pods of a Deployment and return when the new ones are ready."""
    options = ("--namespace", namespace, f"deployment/{deployment}")
    for command in (["rollout", "restart"], ["rollout", "status", f"--timeout={ROLLOUT_SECONDS}s"]):
        _kubectl_checked(kubeconfig, [*command, *options], subprocess.DEVNULL, subprocess.DEVNULL)


def _kubectl_checked(
    kubeconfig: str, arguments: Sequence[str], stdin: IO[bytes] | int, stdout: IO[bytes] | int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command, environment = [kubectl_program(), *arguments], kubectl_environment(folder, kubeconfig)
        finished = subprocess.run(command, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    if finished.returncode:
        reason = finished.stderr.decode(errors="replace").strip()
        raise AccessError(f"`kubectl {' '.join(arguments)}` failed: {reason[-1000:]}")


def ssh(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Run ssh to a node and return its exit code.

    Args:
        pulumi: the stack.
        arguments: the node's name, then the command to run there, if any.

    Raises:
        AccessError: The stack has no such machine.
    """
    machines = {machine["name"]: machine for machine in secret_outputs(pulumi).get("machines") or []}
    node, *command = arguments or [""]
    if node not in machines:
        raise AccessError(
            f"the stack {pulumi.stack} has no machine {node!r}; its machines: {', '.join(machines) or 'none'}. "
            f"Choose one: make ssh STACK={pulumi.stack} NODE=..."
        )
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([*_ssh_command(Path(folder), machines[node]), *command]).returncode


def run_on_machine(machine: Mapping[str, Any], command: str, *, stdin: IO[bytes], stdout: IO[bytes]) -> None:
    """Run a command line on a machine of the output `machines`, from one file to another.

    Raises:
        AccessError: the command failed, or the machine cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*_ssh_command(Path(folder), machine), command]
        finished = subprocess.run(arguments, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    if finished.returncode:
        reason = finished.stderr.decode(errors="replace").strip()
        raise AccessError(f"`{command}` on {machine['name']} failed: {reason[-1000:]}")


def _ssh_command(folder: Path, machine: Mapping[str, Any]) -> list[str]:
    """Return the ssh command for a machine, through its bastion if it has one; its keys are written to `folder`."""
    options = _ssh_options(folder, machine)
    if bastion := machine["bastion"]:
        hop = ["ssh", *_ssh_options(folder, bastion | {"name": "bastion"}), "-W", "%h:%p", _login(bastion)]
        options += ["-o", f"ProxyCommand={shlex.join(hop)}"]
    return ["ssh", *options, _login(machine)]


def _ssh_options(folder: Path, machine: Mapping[str, Any]) -> list[str]:
    """Return options for the stack's private key and the machine's pinned host key."""
    host, port = machine["host"], int(machine["port"])
    key = _private_file(folder / f"{machine['name']}.key", machine["key"])
    pattern = host if port == 22 else f"[{host}]:{port}"
    known = _private_file(folder / f"{machine['name']}.known_hosts", f"{pattern} {machine['host_key']}\n")
    return [
        *("-i", str(key), "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={known}"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR", "-p", str(port)),
    ]


def _login(machine: Mapping[str, Any]) -> str:
    return f"{machine['user']}@{machine['host']}"


def secret_outputs(pulumi: Pulumi) -> dict[str, Any]:
    """Return the stack's outputs with decrypted secrets."""
    outputs: dict[str, Any] = json.loads(pulumi.output("stack", "output", "--json", "--show-secrets"))
    return outputs


def tracking_output(outputs: Mapping[str, Any], stack: str) -> dict[str, str]:
    """Return the output of a stack with the access to MLflow.

    Raises:
        AccessError: the stack is not up.
    """
    from workloads.model_transfer.model_transfer import ACCESS  # Pulumi's SDK takes a second to import

    access: dict[str, str] | None = outputs.get(ACCESS)
    if access is None:
        raise AccessError(f"the stack {stack} is not up: run `make up STACK={stack}`")
    return access


def public_outputs(pulumi: Pulumi) -> dict[str, Any]:
    """Return the stack's outputs with masked secrets."""
    outputs: dict[str, Any] = json.loads(pulumi.output("stack", "output", "--json"))
    return outputs


def kubectl_environment(folder: str, kubeconfig: str) -> dict[str, str]:
    """Write a kubeconfig into a folder; return the environment of kubectl, whose cache is in the cache folder."""
    file = _private_file(Path(folder) / "kubeconfig", kubeconfig)
    return os.environ | {"KUBECONFIG": str(file), "KUBECACHEDIR": str(paths.cache_directory() / "kubectl")}


def _private_file(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content)
    return path


def kubectl_program() -> str:
    """Return the path of the kubectl on PATH, else of the bundle's.

    Raises:
        AccessError: Neither exists.
    """
    if on_path := shutil.which("kubectl"):
        return on_path
    index = paths.cache_directory() / "bundle" / INDEX
    binaries = json.loads(index.read_text())["binaries"] if index.is_file() else {}
    if "kubernetes/kubectl" not in binaries:
        raise AccessError("kubectl is neither on PATH nor in the bundle: install it, or run `make bundle`")
    return str(index.parent / binaries["kubernetes/kubectl"]["path"])
