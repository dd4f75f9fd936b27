"""`kubectl`, `ssh` and `pages` of a stack, with what its outputs say."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airgap.bundle.index import INDEX
from tools.bootstrap import paths
from tools.cli.pulumi_command import Pulumi

INSIDE = ".svc"
"""The end of host names that only a cluster knows."""


class NotThere(Exception):
    """What is asked for is no part of the stack; the message says what is."""


def kubectl(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Run kubectl on the stack's cluster; returns its exit code.

    Raises:
        NotThere: the stack has no cluster, or this computer no kubectl.
    """
    kubeconfig = secret_outputs(pulumi).get("kubeconfig")
    if not kubeconfig:
        raise NotThere(f"the stack {pulumi.stack} has no cluster")
    with tempfile.TemporaryDirectory() as folder:
        file = _private_file(Path(folder) / "kubeconfig", kubeconfig)
        return subprocess.run([kubectl_program(), *arguments], env=os.environ | {"KUBECONFIG": str(file)}).returncode


def pages(pulumi: Pulumi, _arguments: Sequence[str]) -> int:
    """Bring services that only the cluster reaches to the loopback address, until interrupted; returns the exit code.

    Raises:
        NotThere: the stack has no such service, or this computer no kubectl.
    """
    outputs = secret_outputs(pulumi)
    inside = {
        name: address
        for name, url in outputs.items()
        if name.endswith("_url") and (address := urlsplit(url)).hostname and str(address.hostname).endswith(INSIDE)
    }
    if not inside:
        raise NotThere(f"the stack {pulumi.stack} has no service that only its cluster reaches; see `make status`")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as forwards:
        file = _private_file(Path(folder) / "kubeconfig", outputs["kubeconfig"])
        for name, address in inside.items():
            service, namespace = str(address.hostname).removesuffix(INSIDE).split(".")
            command = [kubectl_program(), "port-forward", "--namespace", namespace, f"service/{service}"]
            forward = subprocess.Popen(
                [*command, str(address.port)], env=os.environ | {"KUBECONFIG": str(file)}, stdout=subprocess.DEVNULL
            )
            forwards.callback(forward.terminate)
            print(f"{name.removesuffix('_url')}: http://127.0.0.1:{address.port}{address.path}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            return forward.wait()
    return 0


def ssh(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Log in to a node, the first argument, and run the rest there; returns the exit code.

    Raises:
        NotThere: the stack has no such machine.
    """
    machines = {machine["name"]: machine for machine in secret_outputs(pulumi).get("machines") or []}
    node, *command = arguments or [""]
    if node not in machines:
        raise NotThere(
            f"the stack {pulumi.stack} has no machine {node!r}; it has: {', '.join(machines) or 'none'}. "
            f"Name one: make ssh STACK={pulumi.stack} NODE=..."
        )
    machine = machines[node]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = _ssh_options(folder, machine)
        if bastion := machine["bastion"]:
            hop = ["ssh", *_ssh_options(folder, bastion | {"name": "bastion"}), "-W", "%h:%p", _login(bastion)]
            options += ["-o", f"ProxyCommand={shlex.join(hop)}"]
        return subprocess.run(["ssh", *options, _login(machine), *command]).returncode


def _ssh_options(folder: Path, machine: Mapping[str, Any]) -> list[str]:
    """With the stack's key, and only to a machine that has the host key that the stack knows."""
    host, port = machine["host"], int(machine["port"])
    key = _private_file(folder / f"{machine['name']}.key", machine["key"])
    place = host if port == 22 else f"[{host}]:{port}"
    known = _private_file(folder / f"{machine['name']}.known_hosts", f"{place} {machine['host_key']}\n")
    return [
        *("-i", str(key), "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={known}"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR", "-p", str(port)),
    ]


def _login(machine: Mapping[str, Any]) -> str:
    return f"{machine['user']}@{machine['host']}"


def secret_outputs(pulumi: Pulumi) -> dict[str, Any]:
    """The stack's outputs, secrets included."""
    outputs: dict[str, Any] = json.loads(pulumi.check("stack", "output", "--json", "--show-secrets"))
    return outputs


def _private_file(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content)
    return path


def kubectl_program() -> str:
    """The one on PATH, else the bundle's."""
    if found := shutil.which("kubectl"):
        return found
    index = paths.directory() / "bundle" / INDEX
    binaries = json.loads(index.read_text())["binaries"] if index.is_file() else {}
    if "kubernetes/kubectl" not in binaries:
        raise NotThere("there is no kubectl on PATH, and none in the bundle: install one, or run `make bundle`")
    return str(index.parent / binaries["kubernetes/kubectl"]["path"])
