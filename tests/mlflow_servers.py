"""MLflow servers for tests, started with the command that the platform uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from mlplatform.mlflow import DISABLED_FEATURES
from mlplatform.mlflow_pod import SERVER, TEAMS, auth_configuration, team_variables
from mlplatform.mlflow_server.users import PASSWORDS

from infra.local.free_ports import free_port
from tools.bootstrap.file_lock import file_lock

START_SECONDS = 300


@contextmanager
def mlflow_server(
    folder: Path,
    password: str = "",
    users: bool = False,
    teams: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run an empty MLflow server with its files in `folder` and yield its address.

    With a password, the server requires a login; its user is admin, or with `users` those of a cluster, and `teams`
    own what `mlplatform.team_rights` lists. `variables` are further variables of its environment.
    """
    server, url = _start(folder, password, users, teams, variables)
    try:
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@contextmanager
def shared_mlflow_server(folder: Path) -> Iterator[str]:
    """Yield the address of an empty MLflow server that all processes with this folder share.

    The first process starts the server, and the last one stops it.
    """
    record, users = folder / "server.json", folder / "users"
    users.mkdir(parents=True, exist_ok=True)
    user = users / str(os.getpid())
    with file_lock(folder / "lock", "Waiting for the start of MLflow in another process"):
        if not record.exists():
            server, url = _start(folder)
            record.write_text(json.dumps({"pid": server.pid, "url": url}))
        user.touch()
    running = json.loads(record.read_text())
    try:
        yield running["url"]
    finally:
        with file_lock(folder / "lock", "Waiting for another process"):
            user.unlink()
            if not any(psutil.pid_exists(int(each.name)) for each in users.iterdir()):
                with suppress(ProcessLookupError):
                    os.killpg(running["pid"], signal.SIGKILL)
                record.unlink()


def _start(
    folder: Path,
    password: str = "",
    users: bool = False,
    teams: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    log = folder / "server.log"
    command = [sys.executable, *SERVER, "--host", "127.0.0.1", "--port", str(port)]
    environment = (
        os.environ
        | DISABLED_FEATURES
        | {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": f"{folder}/artifacts",
        }
        | dict(variables or {})
    )
    if password:
        prepare = [sys.executable, "-m", "mlplatform.mlflow_server.prepare"] if users else []
        command = [*prepare, *command, "--app-name", "basic-auth"]
        configuration = auth_configuration(teams=bool(teams))
        (folder / "auth.ini").write_text(configuration.replace("/data/", f"{folder}/"))
        if teams:
            (folder / TEAMS).write_text(json.dumps(teams))
            environment |= team_variables(str(folder))
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            **dict.fromkeys(PASSWORDS.values(), password),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": password,
        }
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    try:
        # Wait for the log line: a response at the port could come from another server.
        while "Uvicorn running on" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    except BaseException:
        os.killpg(server.pid, signal.SIGKILL)
        raise
    return server, f"http://127.0.0.1:{port}"
