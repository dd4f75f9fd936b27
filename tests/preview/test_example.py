"""examples/three-hosts: a program of somebody else's that takes one component of this package."""

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

from infra.kubeadm.kubeadm_cluster import KubeadmCluster
from infra.machine import Machine
from infra.secrets import key_pair
from settings.infra import KubernetesSettings
from tests.harness import CHECKOUT, copy_of_checkout, isolated_environment

from .graph import run

EXAMPLE = Path("examples/three-hosts")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip puts it there: no link to this checkout, and nothing that is not packaged."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(wheel)!r})"
    checkout = copy_of_checkout(tmp_path_factory.mktemp("checkout"))
    subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True)
    with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example outside of this checkout, with the stack `mine` as its README says."""
    folder = tmp_path / "three-hosts"
    folder.mkdir()
    for file in (CHECKOUT / EXAMPLE).iterdir():
        if file.is_file():
            (folder / file.name).write_text(file.read_text())
    (folder / ".venv").symlink_to((CHECKOUT / ".venv").resolve())
    key = tmp_path / "key"
    key.write_text(key_pair()[0])
    settings = yaml.safe_load((folder / "Pulumi.example.yaml").read_text())
    settings["config"]["three-hosts:hosts"]["private_key_file"] = str(key)
    (folder / "Pulumi.mine.yaml").write_text(yaml.safe_dump(settings))
    return folder


def pulumi(example: Path, installed: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command on the stack `mine`, with the package of that folder."""
    environment = isolated_environment(example.parent)
    done = subprocess.run(
        ["pulumi", *arguments, "--stack", "mine", "--non-interactive", "--color=never"],
        cwd=example,
        env=environment | {"PYTHONPATH": str(installed)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_installed_package_is_whole(installed: Path, tmp_path: Path) -> None:
    program = (
        "import infra.kubeadm.kubeadm_cluster, mlplatform.addons.pod_network, settings.paths; "
        "print(infra.__file__, settings.paths.VERSIONS['kubernetes'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(str(installed))
    assert "version" in done.stdout
    assert list((installed / "infra" / "kubeadm" / "scripts").glob("*.sh"))


def test_its_preview_plans_a_cluster_and_nothing_else(example: Path, installed: Path) -> None:
    assert pulumi(example, installed, "stack", "init")[0] == 0
    code, said = pulumi(example, installed, "preview")
    assert code == 0, said
    for planned in ("control-plane-init", "worker-1-join", "worker-2-ready", "weave-net", "mlplatform:infra:Kubeadm"):
        assert planned in said
    for of_the_platform in ("mlflow", "openebs", "Image", "metallb"):
        assert of_the_platform not in said


def test_an_upgrade_begins_with_the_control_plane_and_goes_from_worker_to_worker(
    example: Path, installed: Path
) -> None:
    assert pulumi(example, installed, "stack", "init")[0] == 0
    code, said = pulumi(example, installed, "preview", "--json")
    assert code == 0, said
    planned = {step["urn"]: step["newState"] for step in json.loads(said[said.index("{") :])["steps"]}
    commands = {urn.rpartition("::")[2]: urn for urn in planned if ":Command::" in urn or ":DaemonSet::" in urn}

    def waits_for(name: str) -> set[str]:
        found: set[str] = set()
        ahead = [commands[name]]
        while ahead:
            new = set(planned[ahead.pop()].get("dependencies", [])) - found
            found |= new
            ahead += new
        return {name for name, urn in commands.items() if urn in found}

    for later in ("kubeconfig", "certificates-expire", "weave-net", "worker-1-join", "worker-2-join"):
        assert "control-plane-upgrade" in waits_for(later), later
    assert "worker-1-ready" in waits_for("worker-2-ready")
    # An upgrade renews what these read.
    for read in ("kubeconfig", "certificates-expire"):
        assert KubernetesSettings().version in planned[commands[read]]["inputs"]["triggers"], read


def test_it_is_short() -> None:
    assert len((CHECKOUT / EXAMPLE / "__main__.py").read_text().splitlines()) <= 30


def test_a_cluster_without_a_control_plane_or_a_registry_that_it_needs_is_refused() -> None:
    def program() -> Any:
        worker = {"role": "worker", "public_address": "10.0.0.2", "private_address": "10.0.0.2", "user": "me"}
        machine = Machine(name="worker-1", key="key", host_key="ssh-ed25519 AAAA", **worker)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one machine has to be the control plane, found 0"):
            KubeadmCluster("none", machines=[machine], settings=KubernetesSettings())
        plane = Machine(name="plane", key="key", host_key="ssh-ed25519 AAAA", **worker | {"role": "control-plane"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="packages: bundle takes them from a registry"):
            KubeadmCluster("bundle", machines=[plane], settings=KubernetesSettings(packages="bundle"))

    run(program)
