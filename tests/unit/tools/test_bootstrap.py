"""Tests of the bootstrap: atomic installation, repeated runs and error messages."""

from __future__ import annotations

import ast
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tools.bootstrap import __main__, azurite, environment, go_toolchain, paths, pulumi_cli
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import SetupError, Unavailable, file_failure
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.process import run_visible


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty cache folder."""
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a folder and put it first on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin"


def program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


class TestAtomicInstall:
    def test_block_that_raises_leaves_no_folder(self, tmp_path: Path) -> None:
        def interrupted() -> None:
            with atomic_install(tmp_path / "tools" / "x-1") as partial:
                (partial / "half").touch()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert list((tmp_path / "tools").iterdir()) == []

    def test_leftover_of_a_killed_run_is_removed(self, tmp_path: Path) -> None:
        (tmp_path / ".x-1.partial").mkdir()
        (tmp_path / ".x-1.partial" / "stale").touch()
        with atomic_install(tmp_path / "x-1") as partial:
            (partial / "whole").touch()
        assert [file.name for file in (tmp_path / "x-1").iterdir()] == ["whole"]
        assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".x")] == []

    def test_old_folder_stays_until_the_new_one_is_complete(self, tmp_path: Path) -> None:
        (tmp_path / "x-1").mkdir()
        (tmp_path / "x-1" / "old").touch()
        with atomic_install(tmp_path / "x-1") as partial:
            (partial / "new").touch()
            assert (tmp_path / "x-1" / "old").exists()
        assert [file.name for file in (tmp_path / "x-1").iterdir()] == ["new"]

    def test_second_lock_waits_for_the_first(self, tmp_path: Path) -> None:
        lock = tmp_path / "lock"
        statement = f"with file_lock(Path({str(lock)!r}), 'waiting'): print('second')"
        code = f"from pathlib import Path\nfrom tools.bootstrap.file_lock import file_lock\n{statement}"
        with file_lock(lock, "waiting"):
            second = subprocess.Popen(
                [sys.executable, "-c", code], cwd=paths.PROJECT, stderr=subprocess.PIPE, text=True
            )
            assert second.stderr is not None
            assert "waiting" in second.stderr.readline()
            assert second.poll() is None
        assert second.wait(timeout=30) == 0


class TestEnvironment:
    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Create a checkout with the files that define the environment."""
        project = tmp_path / "project"
        project.mkdir()
        for name in ("pyproject.toml", "uv.lock"):
            (project / name).write_text("1")
        monkeypatch.setattr(environment, "PROJECT", project)
        monkeypatch.setattr(environment, "LINK", project / ".venv")
        return project

    @pytest.fixture
    def syncs(self, programs: Path) -> Path:
        """Put a `uv` on PATH and return the file to which it appends a line for each `uv sync`."""
        log = programs / "syncs"
        log.touch()
        program(
            programs / "uv",
            f'[ "$1" = --version ] && echo uv 99.1 && exit\n[ -e {programs}/broken ] && exit 3\necho "$@" >> {log}\n'
            'mkdir -p "$UV_PROJECT_ENVIRONMENT/bin" && touch "$UV_PROJECT_ENVIRONMENT/bin/python"',
        )
        return log

    def test_install_runs_once_and_again_after_a_change_of_the_lock(self, project: Path, syncs: Path) -> None:
        environment.install_environment()
        environment.install_environment()
        assert len(syncs.read_text().splitlines()) == 1
        assert (project / ".venv" / "bin" / "python").exists()
        (project / "uv.lock").write_text("2")
        environment.install_environment()
        assert len(syncs.read_text().splitlines()) == 2

    def test_install_of_the_notebook_leaves_the_environment_of_the_project(self, project: Path, syncs: Path) -> None:
        environment.install_environment()
        notebook = environment.install_notebook_environment()
        assert environment.install_notebook_environment() == notebook
        assert notebook != (project / ".venv").readlink()
        first, second = syncs.read_text().splitlines()
        assert "--group notebook" in second
        assert "--group" not in first

    def test_install_after_a_failure_runs_again(self, project: Path, syncs: Path, programs: Path) -> None:
        environment.install_environment()
        (project / "uv.lock").write_text("2")
        (programs / "broken").touch()
        with pytest.raises(SetupError, match="exit code 3"):
            environment.install_environment()
        (programs / "broken").unlink()
        (project / "uv.lock").write_text("1")
        environment.install_environment()
        assert len(syncs.read_text().splitlines()) == 2

    def test_install_with_a_folder_of_the_user_raises(self, project: Path, syncs: Path) -> None:
        (project / ".venv").mkdir()
        with pytest.raises(SetupError, match="move it away"):
            environment.install_environment()

    def test_uv_that_is_too_old_is_replaced_by_the_pinned_one(self, programs: Path, folder: Path) -> None:
        program(programs / "uv", "echo uv 0.1.0")
        pinned = program(paths.tool_directory("uv", paths.pinned_versions()["uv"]["version"]) / "bin" / "uv", "echo")
        assert environment.uv() == pinned

    def test_uv_without_pip_and_venv_raises_with_the_packages_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python3", "exit 1")))
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(SetupError, match="apt-get install python3-venv"):
            environment.uv()


class TestAzurite:
    @pytest.fixture
    def node(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(environment, "node_program", lambda: tmp_path / "node")
        return tmp_path / "node" / "bin" / "node"

    def test_install_runs_once_and_again_after_a_change_of_the_lock(self, node: Path, folder: Path) -> None:
        program(node, "mkdir node_modules; echo once >> ../calls")
        azurite.install_azurite()
        azurite.install_azurite()
        target = paths.tool_directory("azurite", paths.pinned_versions()["azurite"]["version"])
        assert (target / "node_modules").is_dir()
        (target / "package-lock.json").write_text("{}")
        azurite.install_azurite()
        assert (target.parent / "calls").read_text().split() == ["once", "once"]

    def test_install_that_fails_leaves_no_folder(self, node: Path, folder: Path) -> None:
        program(node, "mkdir node_modules; echo no such package >&2; exit 1")
        with pytest.raises(SetupError, match="no such package"):
            azurite.install_azurite()
        assert list((folder / "tools").iterdir()) == []


class TestGo:
    def test_toolchain_on_path_that_is_new_enough_is_used_with_all_checks(
        self, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOFLAGS", "-mod=mod -insecure")
        go = program(programs / "go", "echo go version go99.0.1 linux/amd64")
        used, variables = go_toolchain.toolchain(pulumi_cli.SOURCE, tmp_path)
        assert used == go
        assert variables["GOFLAGS"] == "-mod=readonly"
        assert variables["GOTOOLCHAIN"] == "local"

    def test_toolchain_on_path_that_is_too_old_is_replaced_by_the_wheel_with_temporary_caches(
        self, programs: Path, tmp_path: Path, folder: Path
    ) -> None:
        program(programs / "go", "echo go version go1.18 linux/amd64")
        wheel = program(
            paths.tool_directory("go", paths.pinned_versions()["go"]["version"]) / "go" / "bin" / "go", "echo"
        )
        used, variables = go_toolchain.toolchain(pulumi_cli.SOURCE, tmp_path)
        assert used == wheel
        assert Path(variables["GOPATH"]).is_relative_to(tmp_path)
        assert Path(variables["GOCACHE"]).is_relative_to(tmp_path)


class Download(NamedTuple):
    """The pinned properties of an archive, and the folder of its installation."""

    pinned: dict[str, Any]
    folder: Path


class TestPulumi:
    @pytest.fixture
    def download(self, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
        """Serve an archive from a file, with the correct checksum."""
        archive = tmp_path / "pulumi-v9.9.9.tar.gz"
        script = b"#!/bin/sh\necho v9.9.9\n"
        with tarfile.open(archive, "w:gz") as content:
            for name in ("pulumi", "pulumi-language-python"):
                member = tarfile.TarInfo(f"pulumi/{name}")
                member.size = len(script)
                content.addfile(member, io.BytesIO(script))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        pinned = {
            "version": "9.9.9",
            "url": f"file://{tmp_path}/pulumi-v{{version}}.tar.gz",
            "sha256": {pulumi_cli._platform(): digest},
        }
        versions = {"pulumi": {"minimum": "9.0.0", "built": "9.8.0", "download": pinned}}
        monkeypatch.setattr(paths, "pinned_versions", lambda: versions)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        return Download(pinned, folder / "tools" / "pulumi-9.9.9" / "bin")

    def test_download_is_used_and_not_repeated(self, download: Download, tmp_path: Path) -> None:
        pulumi_cli.install_pulumi_cli()
        assert pulumi_cli.folder() == download.folder
        assert os.access(download.folder / "pulumi-language-python", os.X_OK)
        (tmp_path / "pulumi-v9.9.9.tar.gz").unlink()
        pulumi_cli.install_pulumi_cli()

    @pytest.mark.parametrize("fault", ["checksum", "absent", "platform"])
    def test_download_that_fails_is_replaced_by_a_build(
        self, fault: str, download: Download, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        platform = pulumi_cli._platform()
        reason = {
            "checksum": f"SHA-256 {download.pinned['sha256'][platform]} instead of 0000",
            "absent": "No such file",
            "platform": f"no download exists for {platform}",
        }[fault]
        if fault == "checksum":
            download.pinned["sha256"][platform] = "0000"
        elif fault == "absent":
            download.pinned["version"] = "9.9.8"
        else:
            download.pinned["sha256"] = {}
        built = []
        monkeypatch.setattr(pulumi_cli, "_build", lambda: built.append(True))
        pulumi_cli.install_pulumi_cli()
        assert built == [True]
        output = capsys.readouterr().err
        assert reason in output
        assert len(output.splitlines()) == 1
        assert not download.folder.exists()

    def test_download_that_does_not_run_is_removed(self, download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pulumi_cli, "program_version", lambda *_: ())
        with pytest.raises(Unavailable, match="does not run"):
            pulumi_cli._download()
        assert not download.folder.exists()

    def test_cli_on_path_is_used_if_it_is_new_enough_and_has_its_language_host(
        self, download: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = program(tmp_path / "own" / "pulumi", "echo v9.0.0")
        monkeypatch.setenv("PATH", f"{own.parent}:/usr/bin:/bin")
        assert pulumi_cli.folder() is None, "it has no language host"
        program(own.with_name("pulumi-language-python"), "")
        assert pulumi_cli.folder() == own.parent
        program(own, "echo v8.9.9")
        assert pulumi_cli.folder() is None, "it is too old"

    def test_built_cli_gets_the_stand_ins_of_this_checkout(self, download: Download, folder: Path) -> None:
        built = program(folder / "tools" / "pulumi-9.8.0" / "bin" / "pulumi", "echo v9.8.0")
        pulumi_cli.install_pulumi_cli()
        linked = pulumi_cli.folder()
        assert linked is not None
        assert (linked / "pulumi").samefile(built)
        for name in pulumi_cli.LANGUAGE_PROGRAMS:
            assert (linked / name).resolve() == pulumi_cli.HOST_SOURCE / name

    def test_built_cli_of_another_checkout_keeps_its_stand_ins(
        self, download: Download, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(folder / "tools" / "pulumi-9.8.0" / "bin" / "pulumi", "echo v9.8.0")
        pulumi_cli.install_pulumi_cli()
        first = pulumi_cli.folder()
        monkeypatch.setattr(paths, "PROJECT", tmp_path / "another")
        assert pulumi_cli.folder() is None
        pulumi_cli.install_pulumi_cli()
        assert first is not None
        assert pulumi_cli.folder() not in (first, None)
        assert (first / pulumi_cli.LANGUAGE_HOST).exists()


def test_run_of_a_failing_program_raises_with_its_last_lines_and_its_log(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as error:
        run_visible(["sh", "-c", "seq 100; exit 4"], log=tmp_path / "logs" / "step.log")
    assert "exit code 4" in str(error.value)
    assert str(tmp_path / "logs" / "step.log") in str(error.value)
    assert str(error.value).endswith("  99\n  100")


def test_main_with_an_older_python_prints_the_requirement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 6))
    assert __main__.main() == 2
    assert "Python 3.11 or newer is needed" in capsys.readouterr().err


def test_files_that_older_pythons_read_use_their_syntax() -> None:
    for file in ("__init__.py", "bootstrap/__init__.py", "bootstrap/__main__.py"):
        compile_for = "import ast, json, sys; ast.parse(json.load(sys.stdin), feature_version=(3, 7))"
        source = json.dumps((paths.PROJECT / "tools" / file).read_text())
        subprocess.run([sys.executable, "-c", compile_for], input=source, text=True, check=True)


def test_bootstrap_imports_the_standard_library_only() -> None:
    allowed = {*sys.stdlib_module_names, "tools"}
    for file in (paths.PROJECT / "tools" / "bootstrap").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported = {str(node.module)}
            else:
                continue
            assert {name.partition(".")[0] for name in imported} <= allowed, file
            assert all(name.startswith("tools.bootstrap") for name in imported if name.startswith("tools")), file


def test_requirements_of_the_pinned_uv_exist() -> None:
    assert environment.UV_REQUIREMENTS.is_file()


def test_unknown_stack_is_rejected_before_the_installation(folder: Path) -> None:
    finished = subprocess.run(["make", "up", "STACK=devv"], cwd=paths.PROJECT, capture_output=True, text=True)
    assert finished.returncode != 0
    assert "no stack 'devv'. The stacks are: " in finished.stderr
    assert " dev," in finished.stderr
    assert not folder.exists()


def test_make_without_a_target_lists_every_target() -> None:
    output = subprocess.run(["make"], cwd=paths.PROJECT, capture_output=True, text=True, check=True).stdout
    rule = next(line for line in (paths.PROJECT / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    assert [target for target in rule.split()[1:] if f"make {target} " not in output] == []


def test_bootstrap_with_a_cache_folder_that_cannot_be_created_names_it() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tools.bootstrap"],
        cwd=paths.PROJECT,
        env=os.environ | {"MLPLATFORM_CACHE": "/dev/null/cache"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: a file cannot be read or written at /dev/null/cache: Not a directory.")
    assert "MLPLATFORM_CACHE" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_lost_connection_is_not_reported_as_a_file() -> None:
    with pytest.raises(ConnectionResetError):
        file_failure(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
