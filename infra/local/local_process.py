"""A service of a stack as a background process of this computer."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from infra.local.process_group import ProcessGroup
from infra.retry import poll
from tools.bootstrap.process import inherited_environment

HOST = "127.0.0.1"
PYTHON = str(Path(sys.prefix).resolve() / "bin" / "python")
"""The interpreter of the project's environment, by a path that does not depend on the calling program."""
START_SECONDS = 300
"""A busy computer starts MLflow in minutes. A process that ends fails at once."""
TAIL_LINES = 12
RECORD = ".process.json"
"""End of the names of the files that record the processes of a stack."""


class _ProcessProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        names = ("command", "environment", "revision", "port", "ready_path", "data", "retain", "setting")
        return DiffResult(changes=any_changed(_olds, _news, names))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["name"], props | _start(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Restart the process with the new inputs; if it is not ready, start it with the old inputs and fail."""
        port = int(_news["port"])
        if any_changed(_olds, _news, ("host", "port")) and not _predecessor(Path(_news["data"]), port):
            _require_free(_news["host"], port, _news["name"], _news["setting"])
        _process_group(Path(_olds["data"])).stop()
        try:
            return UpdateResult(_news | _start(_news))
        except UserError as error:
            raise UserError(f"{error}\n{_restore(_olds)}") from None

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the process as deleted if it has ended, or has other inputs: those of an `up` that was killed."""
        if _process_group(Path(props["data"])).runs(_digest(props)):
            return ReadResult(id_, props)
        return ReadResult("", {})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        data = Path(_props["data"])
        _process_group(data).stop()
        if not _props["retain"]:
            shutil.rmtree(data, ignore_errors=True)


class LocalProcess(Resource, module="infra", name="LocalProcess"):
    """A process that outlives `pulumi up`, listens on one port of one address and answers HTTP there.

    It is ready when `ready_path` returns a status below 500: a store that refuses an unsigned request is up. After a
    refresh has found it dead or with other inputs, the next `up` creates it again.

    Args:
        command: program and arguments. They show in the process list, so they must not contain secrets.
        environment: variables added to those of `pulumi`'s own environment; secrets belong here.
        revision: hash of the program's code; a changed program is restarted.
        port: the port to listen on; if it is taken, the error names the process that has it.
        setting: the setting that chooses the port, for that error.
        data: its working folder, created if missing; the log is `<data>.log`.
        host: the address of this computer to listen on.
        retain: keep the folder `data` when the resource is deleted.

    Raises (as a failed resource):
        UserError: the port is taken, or the process ended or did not answer within 300 s; with its last log lines.
            After an update, the process with the old inputs runs again, and so does a process of the stack that had
            the port before.
    """

    pid: pulumi.Output[int]
    url: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[pulumi.Input[str]],
        environment: Mapping[str, pulumi.Input[str]],
        revision: str,
        port: int,
        setting: str,
        ready_path: pulumi.Input[str],
        data: Path,
        host: str = HOST,
        retain: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "name": name,
            "command": list(command),
            "environment": dict(environment),
            "revision": revision,
            "host": host,
            "port": port,
            "setting": setting,
            "ready_path": ready_path,
            "data": str(data),
            "retain": retain,
            "pid": None,
            "url": None,
        }
        super().__init__(_ProcessProvider(), name, props, opts)


def _process_group(data: Path) -> ProcessGroup:
    return ProcessGroup(data.parent / f"{data.name}{RECORD}")


def _log(data: Path) -> Path:
    return data.parent / f"{data.name}.log"


def _digest(props: dict[str, Any]) -> str:
    """Return the digest of the inputs that the process has from its start. Its inherited environment is no input."""
    inputs = [props["command"], props["environment"], props["revision"]]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _start(props: dict[str, Any]) -> dict[str, Any]:
    data, port = Path(props["data"]), int(props["port"])
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)  # MLflow's database and files have no other protection here
    group = _process_group(data)
    group.stop()
    predecessor = _predecessor(data, port)
    resume = _suspend(predecessor, port) if predecessor else lambda: None
    url = f"http://{props['host']}:{port}"
    try:
        _require_free(props["host"], port, props["name"], props["setting"])
        environment = inherited_environment(props["environment"])
        process = group.start(props["command"], cwd=data, env=environment, log=_log(data), digest=_digest(props))
        _wait_until_ready(process, url + props["ready_path"], props["name"], _log(data))
    except BaseException:
        group.stop()
        resume()
        raise
    return {"pid": process.pid, "url": url}


def _predecessor(data: Path, port: int) -> Path | None:
    """Return the data folder of another process of the stack that listens on a port, None without one.

    Settings have each port once, so that process moves to another port or is deleted by the same `up`.
    """
    folders = (record.with_name(record.name.removesuffix(RECORD)) for record in data.parent.glob(f"*{RECORD}"))
    return next((each for each in folders if each != data and _process_group(each).listens(port)), None)


def _suspend(data: Path, port: int) -> Callable[[], None]:
    """Stop another process of the stack, and return a function that starts it again and waits until it listens."""
    group = _process_group(data)
    start = group.suspend(_log(data))

    def resume() -> None:
        start()
        poll(lambda: group.listens(port) or group.leader() is None or None, timeout=START_SECONDS, interval=0.1)

    return resume


def _restore(olds: dict[str, Any]) -> str:
    """Start the process with its old inputs and return a sentence about the result."""
    try:
        _start(olds)
    except UserError as error:
        return f"The process with the old settings did not start again: {error}"
    return f"{olds['name']} runs again with its old settings."


def _require_free(host: str, port: int, name: str, setting: str) -> None:
    with socket.socket() as probe:
        # Servers set this option too, so a connection that is still closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise UserError(
                f"{name} cannot listen on port {port} ({setting}): it is taken by {_port_owner(port)}. "
                f"Stop that process, or choose another port: pulumi config set --path '{setting}' <port>"
            ) from None


def _port_owner(port: int) -> str:
    """Return a description of the process that listens on the port, as far as this user may see it."""
    for process in psutil.process_iter(["name", "username", "cmdline"]):
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port for c in connections):
            command = " ".join(process.info["cmdline"] or [process.info["name"]])[:120]
            return f"process {process.pid} of {process.info['username']} ({command})"
    return "a process of another user"


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, name: str, log: Path) -> None:
    import requests

    last_response = "it did not respond"

    def ready() -> bool | None:
        nonlocal last_response
        if process.poll() is not None:
            raise UserError(f"{name} ended with code {process.returncode} at its start.{_tail(log)}")
        with suppress(requests.RequestException):
            response = requests.get(url, timeout=5)
            if response.status_code < 500:
                return True
            last_response = f"it returned {response.status_code}: {response.text[:300]}"
        return None

    if not poll(ready, timeout=START_SECONDS, interval=0.1):
        raise UserError(f"{name} was not ready within {START_SECONDS} s at {url}: {last_response}.{_tail(log)}")


def _tail(log: Path) -> str:
    last = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(["", f"The last lines of {log}:", *(f"  {line}" for line in last)])
