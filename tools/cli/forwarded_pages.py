"""`make pages`: the services of a cluster at the loopback address of this computer."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from queue import Queue
from threading import Thread
from urllib.parse import SplitResult, urlsplit

from tools.cli.cluster_access import (
    CLUSTER_DOMAIN,
    AccessError,
    kubectl_environment,
    kubectl_program,
    secret_outputs,
)
from tools.cli.pulumi_command import Pulumi

FORWARDING, UNABLE_TO_LISTEN = "Forwarding from ", "unable to listen on"
"""Begin of the line of `kubectl port-forward` when it listens, and a part of its error if the port is taken."""
PORT_SETTINGS = {
    "tracking_url": "platform:tracking.port",
    "monitoring_url": "platform:monitoring.port",
    "ui_url": "platform:kubeflow.port",
    "score_url": "serving:port",
}
"""Settings of the ports of services, by output."""


def pages(pulumi: Pulumi, _arguments: Sequence[str]) -> int:
    """Forward the cluster's services to the loopback address until Ctrl-C, and return the exit code.

    Raises:
        AccessError: The stack has no such service, this computer has no kubectl, or a forward failed.
    """
    outputs = secret_outputs(pulumi)
    services = {
        name: url
        for name, value in outputs.items()
        if name.endswith("_url") and (url := urlsplit(value)).hostname and str(url.hostname).endswith(CLUSTER_DOMAIN)
    }
    if not services:
        raise AccessError(f"the stack {pulumi.stack} has no service that only its cluster can reach; see `make status`")
    lines: Queue[tuple[str, str]] = Queue()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as forwards:
        environment = kubectl_environment(folder, outputs["kubeconfig"])
        for name, url in services.items():
            forwards.enter_context(_forward(environment, name, url, lines))
        with contextlib.suppress(KeyboardInterrupt):
            _watch(services, lines)
    return 0


@contextlib.contextmanager
def _forward(
    environment: Mapping[str, str], name: str, url: SplitResult, lines: Queue[tuple[str, str]]
) -> Iterator[None]:
    """Run kubectl to forward a service. Its output arrives in `lines` with the name, and "" when it has ended."""
    service, namespace = str(url.hostname).removesuffix(CLUSTER_DOMAIN).split(".")
    # Without an address, kubectl goes on with that of IPv6 where the other one is taken.
    options = ["--address", "127.0.0.1", "--namespace", namespace, f"service/{service}", str(url.port)]
    forward = subprocess.Popen(
        [kubectl_program(), "port-forward", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def read() -> None:
        for line in forward.stdout or ():
            lines.put((name, line))
        lines.put((name, ""))

    Thread(target=read, daemon=True).start()
    try:
        yield
    finally:
        forward.terminate()
        forward.wait()


def _watch(services: Mapping[str, SplitResult], lines: Queue[tuple[str, str]]) -> None:
    """Print the addresses once kubectl listens for all services, then what it reports, until a forward ends.

    Raises:
        AccessError: a forward ended.
    """
    waiting, said = set(services), dict.fromkeys(services, "")
    while True:
        name, line = lines.get()
        if not line:
            raise AccessError(_fault(name, services[name].port, said[name], began=name not in waiting))
        if name in waiting and line.startswith(FORWARDING):
            waiting.discard(name)
            if not waiting:
                for each, url in services.items():
                    print(f"{each.removesuffix('_url')}: http://127.0.0.1:{url.port}{url.path}", flush=True)
                print("Press Ctrl-C to stop.", flush=True)
        elif not line.startswith("Handling connection"):
            said[name] = f"{said[name]}{line}"[-1000:]
            if name not in waiting:
                print(line, end="", file=sys.stderr, flush=True)


def _fault(name: str, port: int | None, said: str, *, began: bool) -> str:
    """Return the error of a forward that ended, which may have begun before."""
    if began:
        return f"the forward of {name} ended; run `make pages` again: {said.strip()}"
    if UNABLE_TO_LISTEN in said.lower():
        setting = PORT_SETTINGS.get(name, "port of this service")
        return (
            f"{name}: port {port} of this computer is taken; end the program that uses it, or set another {setting} "
            "and run `make up`"
        )
    return f"{name} cannot be forwarded: {said.strip()}"
