"""A service of a stack as a background process of this computer."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pulumi
from pulumi.dynamic import CreateResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError
from infra.local.process_group import ProcessGroup, inherited_environment

HOST = "127.0.0.1"
PYTHON = str(Path(sys.prefix).resolve() / "bin" / "python")
"""The interpreter of the project's environment, by the same path whoever starts it."""
START_SECONDS = 90


class _ProcessProvider(DynamicProvider):
    compared = ("command", "environment", "revision", "port", "ready_path", "data", "retain", "setting")

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["name"], props | _start(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        _session(Path(_olds["data"])).stop()
        return UpdateResult(_news | _start(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        if _session(Path(props["data"])).leader() is None:
            return ReadResult("", {})
        return ReadResult(id_, props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        data = Path(_props["data"])
        _session(data).stop()
        if not _props["retain"]:
            shutil.rmtree(data, ignore_errors=True)


class LocalProcess(Resource, module="infra", name="LocalProcess"):
    """A process that outlives `pulumi up`, listens on one port of one address and answers HTTP there.

    It counts as started when `ready_path` answers with a status below 500 (a store that refuses an unsigned request is
    up), and as gone, to be created anew, when a refresh finds it dead.

    Args:
        command: program and arguments; they show in the process list, so nothing secret belongs there.
        environment: variables added to those of `pulumi`'s own environment; secrets belong here.
        revision: what tells one state of its program from another, so that a changed program is started anew.
        port: where it will listen; somebody else holding it is an error that says who.
        setting: the setting that chooses the port, for that error.
        data: its working folder, created for it; its log is `<data>.log` beside it.
        host: the address of this computer that it listens at.
        retain: keep that folder when the process is deleted.

    Raises (as a failed resource):
        UserError: the port is taken, or the process ended or did not answer within 90 seconds; with its last log lines.
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


def _session(data: Path) -> ProcessGroup:
    return ProcessGroup(data.parent / f"{data.name}.process.json")


def _start(props: dict[str, Any]) -> dict[str, Any]:
    data, port = Path(props["data"]), int(props["port"])
    data.mkdir(parents=True, exist_ok=True)
    session = _session(data)
    session.stop()
    _require_free(props["host"], port, props["name"], props["setting"])
    log = data.parent / f"{data.name}.log"
    process = session.start(props["command"], cwd=data, env=inherited_environment() | props["environment"], log=log)
    url = f"http://{props['host']}:{port}"
    try:
        _await_answer(process, url + props["ready_path"], props["name"], log)
    except BaseException:
        session.stop()
        raise
    return {"pid": process.pid, "url": url}


def _require_free(host: str, port: int, name: str, setting: str) -> None:
    with socket.socket() as probe:
        # As servers do: a connection that is still closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise UserError(
                f"{name} cannot listen on port {port} ({setting}): it is taken by {_holder(port)}. "
                f"Stop that process, or choose another port: pulumi config set --path '{setting}' <port>"
            ) from None


def _holder(port: int) -> str:
    """Who listens on the port, as far as this user may know."""
    for process in psutil.process_iter(["name", "username", "cmdline"]):
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        if any(c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port for c in connections):
            command = " ".join(process.info["cmdline"] or [process.info["name"]])[:120]
            return f"process {process.pid} of {process.info['username']} ({command})"
    return "a process of another user"


def _await_answer(process: subprocess.Popen[bytes], url: str, name: str, log: Path) -> None:
    import requests

    deadline = time.monotonic() + START_SECONDS
    answer = "it did not answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"{name} ended with code {process.returncode} at its start.{_tail(log)}")
        try:
            response = requests.get(url, timeout=5)
            if response.status_code < 500:
                return
            answer = f"it answered {response.status_code}: {response.text[:300]}"
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise UserError(f"{name} was not ready within {START_SECONDS} s at {url}: {answer}.{_tail(log)}")


def _tail(log: Path, lines: int = 12) -> str:
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(["", f"The last lines of {log}:", *(f"  {line}" for line in last)])
