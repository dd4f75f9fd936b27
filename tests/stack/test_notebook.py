"""`make notebook` with a real JupyterLab on a running stack; `make test-notebook` runs it, `make test` does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from infra.local.free_ports import free_port
from settings.paths import cache_directory
from tests.harness import Stack
from tests.waiting import until


@dataclass(frozen=True)
class Notebook:
    """A running JupyterLab with the notebooks in `directory`."""

    process: psutil.Process
    directory: Path
    url: str
    token: str

    def get(self, path: str, token: str = "") -> requests.Response:
        headers = {"Authorization": f"token {token}"} if token else {}
        return requests.get(self.url + path, headers=headers, allow_redirects=False, timeout=30)


@pytest.fixture(scope="module")
def notebook(running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    directory, log = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("log") / "log"
    options = ["--directory", str(directory), "--port", str(free_port())]
    command = [sys.executable, "-m", "tools.cli", "notebook", "--stack", running.name, *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=running.project,
            env=running.environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        found = until(lambda: process.poll() or re.search(r"(http://\S+)/lab\?token=(\S+)", log.read_text()))
        assert isinstance(found, re.Match), log.read_text()
        server = Notebook(psutil.Process(process.pid), directory, found[1], found[2])
        until(lambda: process.poll() is not None or _responds(server), what=log.read_text())
        assert process.poll() is None, log.read_text()
        environment = Path(server.process.cmdline()[0]).parents[1]
        yield server
    finally:
        process.terminate()
        process.wait(60)
    shutil.rmtree(environment)  # that of a temporary checkout


def _responds(server: Notebook) -> bool:
    try:
        return server.get("/api").status_code == 200
    except requests.ConnectionError:
        return False


def test_server_refuses_sign_in_without_its_token(notebook: Notebook) -> None:
    assert notebook.get("/api/contents").status_code == 403
    assert notebook.get("/api/contents", "guess").status_code == 403
    assert notebook.get("/lab").headers["Location"].startswith("/login")
    assert notebook.get("/lab", notebook.token).status_code == 200
    listed = notebook.get("/api/contents/examples", notebook.token).json()["content"]
    assert "champion.ipynb" in {each["name"] for each in listed}


def test_server_listens_on_loopback_only(notebook: Notebook) -> None:
    listening = [each for each in notebook.process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_example_loads_the_champion_and_runs_pipelines(notebook: Notebook, running: Stack) -> None:
    python = notebook.process.cmdline()[0]
    example = notebook.directory / "examples" / "champion.ipynb"
    command = [python, "-m", "nbconvert", "--to", "notebook", "--execute", "--output", "executed", str(example)]
    finished = subprocess.run(command, env=notebook.process.environ(), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    shown = _results(example.with_name("executed.ipynb"))
    assert any("setosa" in text for text in shown)
    (compared,) = [text for text in shown if "decision_tree_accuracy" in text]
    assert all(0.9 < float(number) <= 1 for number in re.findall(r"\d\.\d+", compared))
    assert "{'Output': 1." in shown[-1]
    from mlflow import MlflowClient

    client = MlflowClient(running.outputs()["tracking_url"])
    experiments = {each.experiment_id: each.name for each in client.search_experiments()}
    recorded = client.search_runs(list(experiments), "tags.started_in = 'notebook'")
    assert {experiments[each.info.experiment_id] for each in recorded} == {"iris-local", "mean-length"}
    assert {each.info.status for each in recorded} == {"FINISHED"}


def _results(file: Path) -> list[str]:
    """Return the results of the cells as text."""
    cells: list[dict[str, Any]] = json.loads(file.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    return ["".join(output["data"].get("text/plain", "")) for output in outputs]


def test_token_of_the_data_store_is_in_no_file(notebook: Notebook, running: Stack) -> None:
    secret = notebook.process.environ()["AZURE_STORAGE_SAS_TOKEN"].rpartition("sig=")[2]
    folders = [notebook.directory, cache_directory() / "jupyter", running.data / "notebook"]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert files
    assert [str(file) for file in files if secret in file.read_bytes().decode("latin-1")] == []
    assert not any(name.startswith("PULUMI_") for name in notebook.process.environ())
