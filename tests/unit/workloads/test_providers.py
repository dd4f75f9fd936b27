"""Dynamic providers share one process, and each operation has a thread of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings.paths import PROJECT

LAYERS = ("infra", "platform", "workloads")
OTHER_PROCESSES = (
    "platform/audit_log/",
    "platform/mlflow_server",
    "workloads/components",
    "workloads/engines/kfp_runner.py",
    "workloads/engines/pod_entrypoint.py",
    "workloads/ml",
    "workloads/pipelines",
    "workloads/runs/compiler.py",
)
"""Programs of these layers, and code of steps, which run in other processes."""
PROCESS_WIDE = {
    "chdir",
    "environ.clear",
    "environ.pop",
    "environ.setdefault",
    "environ.update",
    "putenv",
    "redirect_stderr",
    "redirect_stdout",
    "setdefaulttimeout",
    "setlocale",
    "signal.signal",
    "simplefilter",
    "umask",
}
"""Calls that change what all threads of a process share."""
SIDE_BY_SIDE = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from infra.local.local_process import _ProcessProvider
from infra.secrets import _PasswordProvider, _SshKeyProvider
from mlplatform.blob_store import _AccountKeyProvider
from infra.local.free_ports import free_ports
from workloads.runs.pipeline_sources import local_image
from workloads.runs.resources import _CompiledPipelineProvider, _PipelineVersionProvider

SERVER = "import sys; from http.server import *; "
SERVER += "HTTPServer(('127.0.0.1', int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()"

def package(name):
    provider = _CompiledPipelineProvider()
    props = {"pipeline": name, "image": local_image(), "retries": 0.0, "sources": ""}
    outs = provider.create(props).outs
    assert not provider.diff(name, outs, props).changes
    return outs["sha256"], version(name, outs)

def version(name, package):
    props = {"engine": {"kind": "embedded", "directory": folder + "/engine"}, "secrets": [], "timeout_minutes": 1.0}
    created = _PipelineVersionProvider().create({**package, **props, "pipeline": name})
    text = Path(created.outs["version_id"]).read_text()
    return text == package["ir"]

def process(name):
    provider, port = _ProcessProvider(), ports[name]
    props = {"name": name, "command": [sys.executable, "-c", SERVER, str(port)], "environment": {},
             "revision": "1", "host": "127.0.0.1", "port": port, "setting": "a:port", "ready_path": "/",
             "data": f"{folder}/{name}", "retain": False}
    (Path(folder) / name).mkdir(exist_ok=True)
    (Path(folder) / name / "name").write_text(name)
    state = provider.create(props).outs
    state = provider.update(name, state, props | {"environment": {"A": "b"}}).outs
    text = requests.get(state["url"] + "/name", timeout=60).text
    provider.delete(name, state)
    return text

def secret(provider):
    created = provider().create({})
    return created.id, [len(value) for value in created.outs.values()]

folder = sys.argv[1]
ports = dict(zip(("one", "two"), free_ports(2)))
calls = [(package, "iris-local"), (process, "one"), (secret, _SshKeyProvider), (process, "two"),
         (secret, _PasswordProvider), (package, "smoke-test"), (secret, _AccountKeyProvider)]
shared = dict(os.environ), os.getcwd()
serial = [function(argument) for function, argument in calls]
with ThreadPoolExecutor(len(calls)) as threads:
    assert list(threads.map(lambda call: call[0](call[1]), calls)) == serial
assert (dict(os.environ), os.getcwd()) == shared
assert [text for function, text in zip([call[0] for call in calls], serial) if function is process] == ["one", "two"]
"""


def _called(node: ast.AST) -> str:
    """Return the dotted name of a call or of an assigned variable of the environment, "" for other nodes."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func)
    if isinstance(node, ast.Assign | ast.Delete):
        targets = [target for target in node.targets if isinstance(target, ast.Subscript)]
        return "".join("environ.update" for target in targets if ast.unparse(target.value).endswith("environ"))
    return ""


def _process_wide(source: str) -> Iterator[int]:
    """Yield the lines that change what all threads share."""
    for node in ast.walk(ast.parse(source)):
        name = _called(node)
        if any(name == each or name.endswith(f".{each}") for each in PROCESS_WIDE):
            yield node.lineno  # type: ignore[attr-defined]


def test_code_of_providers_changes_nothing_that_their_threads_share() -> None:
    found = []
    for layer in LAYERS:
        for file in sorted((PROJECT / layer).rglob("*.py")):
            name = file.relative_to(PROJECT).as_posix()
            if not name.startswith(OTHER_PROCESSES):
                found += [f"{name}:{line}" for line in _process_wide(file.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "source", ["os.chdir('a')", "os.environ['A'] = 'b'", "del os.environ['A']", "signal.signal(1, f)"]
)
def test_search_for_shared_changes_finds_them(source: str) -> None:
    assert list(_process_wide(source)) == [1]


def test_methods_of_providers_side_by_side_equal_those_one_after_the_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIDE_BY_SIDE, str(tmp_path)]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=900)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
