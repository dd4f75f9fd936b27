"""`make preview` of whole stacks in Azure, on a computer without an Azure account and without internet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.harness import isolated_environment


def preview(project: Path, scratch: Path, stack: str) -> tuple[int, str]:
    """Return exit code and preview report of a stack, with its committed settings."""
    no_login = {name: "" for name in os.environ if name.startswith(("ARM_", "AZURE_"))}
    result = subprocess.run(
        [sys.executable, "-m", "tools.cli", "preview", "--stack", stack],
        cwd=project,
        env=isolated_environment(scratch) | no_login,
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


def test_first_preview_lists_network_machines_cluster_and_platform(project: Path, tmp_path: Path) -> None:
    code, output = preview(project, tmp_path, "azure")
    assert code == 0, output
    assert "- compute:VirtualMachine: `control-plane`, `worker-1`, `worker-2`\n" in output
    for planned in (
        "- network:VirtualNetwork: `network`",
        "- network:NetworkSecurityGroup: `rules`",
        "- mlplatform:infra:Kubeadm: `azure`",
        "`worker-2-join`",
        "- storage.k8s.io/v1:StorageClass: `openebs-hostpath`",
        "- storage:StorageAccount: `datasets`",
        "- platform:Blob: `blob-iris.csv`",
        "- workloads:PipelineRun: `batch-predict-run`, `iris-external-run`, `iris-local-run`",
        "Azure receives no requests",
    ):
        assert planned in output
    assert " a month" not in output


def test_first_preview_of_a_managed_cluster_lists_cluster_and_platform(project: Path, tmp_path: Path) -> None:
    code, output = preview(project, tmp_path, "managed")
    assert code == 0, output
    for planned in (
        "- containerservice:ManagedCluster: `cluster`",
        "- containerregistry:Registry: `registry`",
        "- platform:Image: `model-server-image`, `python-libraries-image`, `python-workloads-image`",
        "- platform:Blob: `blob-iris.csv`",
        "`iris-server`",
        "- workloads:PipelineRun: `batch-predict-run`, `iris-external-run`, `iris-local-run`",
    ):
        assert planned in output
    # The vendor provides these.
    for vendor_part in ("metrics-server", "openebs", "metallb", "weave", "Kubeadm"):
        assert vendor_part not in output


def test_preview_with_a_policy_violation_fails(project: Path, tmp_path: Path) -> None:
    network = project / "infra" / "azure" / "virtual_network.py"
    original = network.read_text()
    network.write_text(original.replace("= [str(settings.operator)]", '= ["0.0.0.0/0"]'))
    try:
        code, output = preview(project, tmp_path, "azure")
    finally:
        network.write_text(original)
    assert code != 0
    assert "mandatory `no-world-open-ssh`, `rules`: ssh opens SSH to 0.0.0.0/0" in output
