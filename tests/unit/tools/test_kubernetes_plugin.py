"""The check for Pulumi's Kubernetes plugin before a command on a stack with a cluster."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.stand_ins import Answering, answering
from tools.cli import kubernetes_plugin, written_settings
from tools.cli.kubernetes_plugin import PLUGIN, require_kubernetes_plugin
from tools.cli.pulumi_command import Pulumi, PulumiError

VERSION = version("pulumi-kubernetes")
UNREACHABLE = "http://127.0.0.1:9"
"""No service listens on the port of the discard protocol."""


@pytest.fixture(autouse=True)
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a computer without plugins and internet, with a CLI and stacks `with` and `without`."""
    for name, cluster in (("with", "kubeadm"), ("without", "none")):
        (tmp_path / f"Pulumi.{name}.yaml").write_text(f"config:\n  infra:cluster: {cluster}\n")
    executable(tmp_path / "bin" / "pulumi")
    monkeypatch.setattr(written_settings, "PROJECT", tmp_path)
    monkeypatch.setattr(kubernetes_plugin, "DOWNLOAD_SITES", (UNREACHABLE,))
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PULUMI_PLUGIN_DOWNLOAD_URL_OVERRIDES", raising=False)
    return tmp_path


def executable(file: Path) -> None:
    """Create an executable file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o755)


def override(computer: Path, stack: str, cluster: str) -> None:
    """Set the cluster as `pulumi config set` does."""
    (computer / ".stacks").mkdir()
    (computer / ".stacks" / f"Pulumi.{stack}.yaml").write_text(f"config:\n  infra:cluster: {cluster}\n")


def test_require_plugin_missing_fails_with_make_bundle() -> None:
    with pytest.raises(PulumiError, match=f"stack with has a cluster, .* plugin {VERSION} .*; run `make bundle`$"):
        require_kubernetes_plugin(Pulumi("with"))


def test_require_plugin_without_cluster_succeeds() -> None:
    require_kubernetes_plugin(Pulumi("without"))


def test_require_plugin_stack_with_organization_and_project_reads_its_file() -> None:
    with pytest.raises(PulumiError):
        require_kubernetes_plugin(Pulumi("organization/mlplatform/with"))


def test_require_plugin_overridden_cluster_wins(computer: Path) -> None:
    override(computer, "without", "existing")
    with pytest.raises(PulumiError):
        require_kubernetes_plugin(Pulumi("without"))


def test_require_plugin_overridden_none_succeeds(computer: Path) -> None:
    override(computer, "with", "none")
    require_kubernetes_plugin(Pulumi("with"))


@pytest.mark.parametrize("folder", ["bin", f"home/plugins/resource-kubernetes-v{VERSION}"])
def test_require_plugin_installed_succeeds(computer: Path, folder: str) -> None:
    executable(computer / folder / PLUGIN)
    require_kubernetes_plugin(Pulumi("with"))


def test_require_plugin_beside_the_linked_cli_succeeds(computer: Path) -> None:
    executable(computer / "pulumi" / "pulumi")
    executable(computer / "pulumi" / PLUGIN)
    (computer / "bin" / "pulumi").unlink()
    (computer / "bin" / "pulumi").symlink_to(computer / "pulumi" / "pulumi")
    require_kubernetes_plugin(Pulumi("with"))


def test_require_plugin_of_another_version_fails(computer: Path) -> None:
    executable(computer / "home" / "plugins" / "resource-kubernetes-v1.0.0" / PLUGIN)
    with pytest.raises(PulumiError):
        require_kubernetes_plugin(Pulumi("with"))


def test_require_plugin_with_mirror_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_PLUGIN_DOWNLOAD_URL_OVERRIDES", "^github://.*=https://mirror.test")
    require_kubernetes_plugin(Pulumi("with"))


@pytest.mark.parametrize("status", [200, 403])
def test_require_plugin_reachable_site_succeeds(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Site(Answering):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

    with answering(Site) as url:
        monkeypatch.setattr(kubernetes_plugin, "DOWNLOAD_SITES", (UNREACHABLE, url))
        require_kubernetes_plugin(Pulumi("with"))


def test_require_plugin_in_the_bundle_names_its_file(computer: Path) -> None:
    bundle = computer / "cache" / "bundle"
    bundle.mkdir(parents=True)
    binaries = {f"pulumi-kubernetes/{PLUGIN}": {"path": f"binaries/pulumi-kubernetes-1/{PLUGIN}"}}
    (bundle / "bundle.json").write_text(json.dumps({"binaries": binaries}))
    with pytest.raises(PulumiError, match=f"resource kubernetes {VERSION} --file {bundle}/binaries/.*/{PLUGIN}`$"):
        require_kubernetes_plugin(Pulumi("with"))
