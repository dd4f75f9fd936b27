"""`make preview` of a whole stack in Azure, on a computer without an Azure account and without internet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import copy_of_checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


def preview(checkout: Path, scratch: Path, azure: dict[str, Any]) -> tuple[int, str]:
    """The exit code and the page of a stack with these settings of `infra:azure`."""
    config = {
        "infra:machines": "azure",
        "infra:cluster": "kubeadm",
        "infra:azure": {"operator": "192.0.2.1", "registry": True} | azure,
        "platform:pipelines": "job",
    }
    (checkout / "Pulumi.cloud.yaml").write_text(yaml.safe_dump({"config": config}))
    (scratch / "state").mkdir(exist_ok=True)
    own = {
        "PULUMI_BACKEND_URL": f"file://{scratch / 'state'}",
        "PULUMI_HOME": str(scratch / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "correct horse battery staple",
        # Nobody is logged in to Azure.
        **{name: "" for name in os.environ if name.startswith(("ARM_", "AZURE_"))},
    }
    finished = subprocess.run(
        [sys.executable, "tools/stack.py", "preview", "--stack", "cloud"],
        cwd=checkout,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )
    return finished.returncode, finished.stdout + finished.stderr


def test_a_first_preview_lists_network_machines_cluster_and_platform(checkout: Path, tmp_path: Path) -> None:
    code, said = preview(checkout, tmp_path, {})
    assert code == 0, said
    assert "- compute:VirtualMachine: `control-plane`, `worker-1`, `worker-2`\n" in said
    for planned in (
        "- network:VirtualNetwork: `network`",
        "- network:NetworkSecurityGroup: `rules`",
        "- mlplatform:infra:Kubeadm: `cloud`",
        "`worker-2-join`",
        "- storage.k8s.io/v1:StorageClass: `openebs-hostpath`",
        "- about $381 a month",
        "Azure is not asked anything",
    ):
        assert planned in said


def test_a_policy_that_is_broken_fails_it(checkout: Path, tmp_path: Path) -> None:
    network = checkout / "infra" / "azure_network.py"
    good = network.read_text()
    network.write_text(good.replace("operator = [str(settings.operator)]", 'operator = ["0.0.0.0/0"]'))
    try:
        code, said = preview(checkout, tmp_path, {})
    finally:
        network.write_text(good)
    assert code != 0
    assert "mandatory `no-world-open-ssh`, `rules`: ssh opens SSH to 0.0.0.0/0" in said
