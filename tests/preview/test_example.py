"""examples/three-hosts: a separate program that uses one component of this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.kubeadm import KubeadmCluster
from infra.machine import Machine
from infra.secrets import key_pair
from settings.infra import KubernetesSettings
from tests.harness import CHECKOUT, copy_of_checkout, isolated_environment

from .graph import run

EXAMPLE = Path("examples/three-hosts")
FOLDERS = ("infra", "platform", "settings", "workloads", "model_server")
SOURCES = ("README.md", "requirements.txt", ".proto")
"""Files of these folders that only people and builds read."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the package's wheel, and nothing else of this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(wheel)!r})"
    checkout = copy_of_checkout(tmp_path_factory.mktemp("checkout"))
    subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True)
    with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the example outside of this checkout, with the stack `mine` of its README."""
    folder = tmp_path_factory.mktemp("example") / "three-hosts"
    folder.mkdir()
    for file in (CHECKOUT / EXAMPLE).iterdir():
        if file.is_file():
            (folder / file.name).write_text(file.read_text())
    (folder / ".venv").symlink_to((CHECKOUT / ".venv").resolve())
    key = folder.parent / "key"
    key.write_text(key_pair()[0])
    settings = yaml.safe_load((folder / "Pulumi.example.yaml").read_text())
    settings["config"]["three-hosts:hosts"]["private_key_file"] = str(key)
    (folder / "Pulumi.mine.yaml").write_text(yaml.safe_dump(settings))
    return folder


def pulumi(example: Path, installed: Path, *arguments: str) -> tuple[int, str]:
    """Return exit code and output of a command on the stack `mine`, with the package of that folder."""
    environment = isolated_environment(example.parent)
    result = subprocess.run(
        ["pulumi", *arguments, "--stack", "mine", "--non-interactive", "--color=never"],
        cwd=example,
        env=environment | {"PYTHONPATH": str(installed)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


def test_wheel_contains_modules_versions_and_scripts(installed: Path, tmp_path: Path) -> None:
    program = (
        "import infra.kubeadm, mlplatform.addons.pod_network, settings.paths; "
        "print(infra.__file__, settings.paths.VERSIONS['kubernetes'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith(str(installed))
    assert "version" in result.stdout


@pytest.fixture(scope="module")
def planned(example: Path, installed: Path) -> dict[str, dict[str, Any]]:
    """Return the planned state of each resource by URN."""
    assert pulumi(example, installed, "stack", "init")[0] == 0
    code, output = pulumi(example, installed, "preview", "--json")
    assert code == 0, output
    return {step["urn"]: step["newState"] for step in json.loads(output[output.index("{") :])["steps"]}


def test_package_has_all_modules_and_the_files_that_they_read(installed: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *FOLDERS], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    files = {file for file in tracked.stdout.splitlines() if not file.endswith(SOURCES)}
    expected = {file.replace("platform/", "mlplatform/", 1) if file.startswith("platform/") else file for file in files}
    assert sorted(file for file in expected if not (installed / file).is_file()) == []


def test_preview_plans_a_cluster_without_the_platform(planned: dict[str, dict[str, Any]]) -> None:
    urns = "\n".join(planned)
    for expected in ("control-plane-init", "worker-1-join", "worker-2-ready", "weave-net", "mlplatform:infra:Kubeadm"):
        assert expected in urns
    for platform_resource in ("mlflow", "openebs", "Image", "metallb"):
        assert platform_resource not in urns


def test_upgrade_starts_with_the_control_plane_and_then_takes_one_worker_at_a_time(
    planned: dict[str, dict[str, Any]],
) -> None:
    commands = {urn.rpartition("::")[2]: urn for urn in planned if ":Command::" in urn or ":DaemonSet::" in urn}

    def waits_for(name: str) -> set[str]:
        dependencies: set[str] = set()
        pending = [commands[name]]
        while pending:
            new = set(planned[pending.pop()].get("dependencies", [])) - dependencies
            dependencies |= new
            pending += new
        return {name for name, urn in commands.items() if urn in dependencies}

    for later in ("kubeconfig", "certificates-expire", "weave-net", "worker-1-join", "worker-2-join"):
        assert "control-plane-upgrade" in waits_for(later), later
    assert "worker-1-ready" in waits_for("worker-2-ready")
    # An upgrade renews the certificates that these commands read.
    for read in ("kubeconfig", "certificates-expire"):
        assert KubernetesSettings().version in planned[commands[read]]["inputs"]["triggers"], read


def test_example_has_at_most_thirty_lines() -> None:
    assert len((CHECKOUT / EXAMPLE / "__main__.py").read_text().splitlines()) <= 30


def test_cluster_without_control_plane_or_required_registry_raises() -> None:
    def program() -> Any:
        worker = {"role": "worker", "public_address": "10.0.0.2", "private_address": "10.0.0.2", "user": "me"}
        machine = Machine(name="worker-1", key="key", host_key="ssh-ed25519 AAAA", **worker)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="machines: 0 have role: control-plane"):
            KubeadmCluster("none", machines=[machine], settings=KubernetesSettings())
        plane = Machine(name="plane", key="key", host_key="ssh-ed25519 AAAA", **worker | {"role": "control-plane"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="packages: bundle takes them from a registry"):
            KubeadmCluster("bundle", machines=[plane], settings=KubernetesSettings(packages="bundle"))

    run(program)
