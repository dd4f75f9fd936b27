"""Installation of containerd and runc: the real script in a folder, with the bundle's layer and fake programs."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from tests.sandbox import Sandbox

RUNTIME, OLD = "v2.4.2-runc-v1.5.3", "v2.4.1-runc-v1.5.3"
PROGRAMS = ("bin/containerd-shim-runc-v2", "sbin/runc", "bin/ctr", "bin/containerd")
RESTART = "systemctl restart containerd"
PACKAGES = """case "$*" in
  *Status*) printf 'installed installed ' ;;
  *) echo "containerd {version} runc 1.1.5" ;;
esac"""
"""Body of a fake dpkg-query that prints the state and the versions of the distribution's packages."""
RECORD = "var/lib/mlplatform/container-runtime"
PLUGINS = {
    "1.6.20": ("io.containerd.grpc.v1.cri", "sandbox_image"),
    "v2.4.2": ("io.containerd.cri.v1.images", "pinned_images"),
}
"""Versions of containerd, and the plugin and the key of its settings that have the pause image."""


def program(version: str) -> str:
    return f"#!{shutil.which('bash')}\necho containerd github.com/containerd/containerd {version}\n"


class Machine(Sandbox):
    """A machine without containerd, and a registry with the layer of RUNTIME."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("apt-get", "apt-mark", "systemctl"):
            self.program(name)
        self.program("timeout", 'shift; exec "$@"')
        self.program("systemd-detect-virt", "exit 1")
        self.program("dpkg-query", "exit 1")
        (self.root / "etc/systemd/system").mkdir(parents=True)
        self.serve_layer({f"usr/local/{path}": program("v2.4.2") for path in PROGRAMS})

    def has_packages(self, version: str = "1.6.20") -> None:
        """Install the distribution's packages."""
        self.write("usr/bin/containerd", program(version)).chmod(0o755)
        self.program("dpkg-query", PACKAGES.format(version=version))

    def is_node(self) -> None:
        self.write("etc/kubernetes/kubelet.conf")

    def runs(self, path: str) -> None:
        """Let systemd run the program that is installed there now."""
        self.program("systemctl", 'case "$1" in show) echo 123 ;; esac')
        running = self.root / "proc/123/exe"
        running.parent.mkdir(parents=True, exist_ok=True)
        running.unlink(missing_ok=True)
        running.hardlink_to(self.root / path)

    def install(self, runtime: str = RUNTIME, drained: bool = False) -> tuple[int, str]:
        """Run the script; return its exit code and output."""
        folders = ("fake-programs", "usr/local/sbin", "usr/local/bin", "usr/bin")
        variables = {"RUNTIME": runtime, "FROM": "registry.test/ml", "PAUSE": "registry.k8s.io/pause:3.10.1"}
        if drained:
            variables["DRAINED"] = "true"
        path = ":".join(str(self.root / folder) for folder in folders)
        result = self.run("packages/containerd.sh", "c2VjcmV0\nCERTIFICATE\n", PATH=path, **variables)
        return result.returncode, result.stdout + result.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_new_machine_gets_the_programs_and_a_unit_once(machine: Machine) -> None:
    code, output = machine.install()
    assert code == 0, output
    assert all((machine.root / "usr/local" / path).read_text() == program("v2.4.2") for path in PROGRAMS)
    assert "ExecStart=" in (machine.root / "etc/systemd/system/containerd.service").read_text()
    assert any("/v2/ml/mlplatform.internal/container-runtime/manifests/" in call for call in machine.calls)
    assert not [call for call in machine.calls if call.startswith("apt-get")]
    machine.runs("usr/local/bin/containerd")
    code, output = machine.install()
    assert code == 0, output
    assert machine.downloads == 1
    assert machine.calls.count(RESTART) == 1


def test_node_keeps_its_programs_until_it_is_drained(machine: Machine) -> None:
    machine.has_packages()
    machine.is_node()
    code, output = machine.install()
    assert code == 0, output
    assert machine.downloads == 0
    assert "pods use it here" in output
    assert not (machine.root / "usr/local/bin").exists()
    code, output = machine.install(drained=True)
    assert code == 0, output
    assert (machine.root / RECORD).read_text() == f"{RUNTIME}\n"
    assert "version = 3" in (machine.root / "etc/containerd/config.toml").read_text()
    assert RESTART in machine.calls


@pytest.mark.parametrize("broken", PROGRAMS)
def test_installation_of_a_program_that_does_not_start_fails_and_is_repeated(machine: Machine, broken: str) -> None:
    whole = {f"usr/local/{path}": program("v2.4.2") for path in PROGRAMS}
    machine.serve_layer(whole | {f"usr/local/{broken}": "truncated"})
    assert machine.install()[0] != 0
    assert not (machine.root / "usr/local" / broken).exists()
    machine.serve_layer(whole)
    code, output = machine.install()
    assert code == 0, output
    assert machine.downloads == 2
    assert (machine.root / RECORD).read_text() == f"{RUNTIME}\n"


def test_registry_without_the_versions_is_named(machine: Machine) -> None:
    machine.program("curl", "exit 22")
    code, output = machine.install()
    assert code != 0
    assert f"registry.test/ml has no mlplatform.internal/container-runtime:{RUNTIME}: push the bundle" in output


@pytest.mark.parametrize("drained", [False, True])
def test_other_versions_are_installed_if_no_pod_uses_the_old_ones(machine: Machine, drained: bool) -> None:
    machine.write(RECORD, OLD)
    if drained:
        machine.is_node()
    code, output = machine.install(drained=drained)
    assert code == 0, output
    assert (machine.root / RECORD).read_text() == f"{RUNTIME}\n"


def test_restart_that_was_missed_is_repeated(machine: Machine) -> None:
    assert machine.install()[0] == 0
    machine.has_packages()
    machine.runs("usr/bin/containerd")
    assert machine.install()[0] == 0
    assert machine.calls.count(RESTART) == 2


@pytest.mark.parametrize("version", PLUGINS)
def test_settings_have_the_format_of_the_installed_version(machine: Machine, version: str) -> None:
    machine.has_packages(version)
    code, output = machine.install("distribution")
    assert code == 0, output
    settings = tomllib.loads((machine.root / "etc/containerd/config.toml").read_text())
    plugin, key = PLUGINS[version]
    assert "registry.k8s.io/pause:3.10.1" in str(settings["plugins"][plugin][key])
    assert settings["version"] == (2 if version.startswith("1.") else 3)
    registries = [plugin["registry"]["config_path"] for plugin in settings["plugins"].values() if "registry" in plugin]
    assert [path.endswith("/etc/containerd/certs.d") for path in registries] == [True]


@pytest.mark.parametrize("state", ["exit 1", "echo config-files config-files"], ids=["missing", "removed"])
def test_distribution_installs_and_holds_missing_packages(machine: Machine, state: str) -> None:
    machine.program("dpkg-query", state)
    machine.write("usr/bin/containerd", program("1.6.20")).chmod(0o755)
    code, output = machine.install("distribution")
    assert code == 0, output
    assert any("install -y --no-remove --no-install-recommends containerd runc" in call for call in machine.calls)
    assert "apt-mark hold containerd runc" in machine.calls
    assert not (machine.root / RECORD).exists()


def test_distribution_does_not_replace_the_programs_of_a_bundle(machine: Machine) -> None:
    assert machine.install()[0] == 0
    code, output = machine.install("distribution", drained=True)
    assert code == 0, output
    assert f"the machine keeps {RUNTIME} of a bundle" in output
    assert not [call for call in machine.calls if call.startswith("apt-get")]


@pytest.mark.parametrize(
    ("apt", "logged"),
    [
        ('case "$*" in *"install"*containerd*) echo 1.6.36 >VERSION ;; esac', "updated to containerd 1.6.36"),
        ("true", ""),
        ('case "$*" in *Retries*) exit 100 ;; esac', "no newer package could be installed; it stays at containerd"),
    ],
    ids=["newer", "same", "offline"],
)
@pytest.mark.parametrize("drained", [False, True])
def test_distribution_is_updated_on_a_drained_node_only(machine: Machine, apt: str, logged: str, drained: bool) -> None:
    machine.has_packages()
    machine.is_node()
    version = machine.write("version", "1.6.20")
    machine.program("apt-get", apt.replace("VERSION", str(version)))
    machine.program("dpkg-query", PACKAGES.format(version=f"$(cat {version})"))
    code, output = machine.install("distribution", drained=drained)
    assert code == 0, output
    assert (logged in output) is (drained or not logged)
    assert any(call.startswith("apt-get") for call in machine.calls) is drained
    assert "apt-mark hold containerd runc" in machine.calls
