"""Tests of `python -m tools.cli`: backend and passphrase, stale locks, exit codes and the summary."""

from __future__ import annotations

import errno
import json
import os
import pty
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar
from unittest.mock import Mock

import psutil
import pytest

from settings.errors import SettingsError
from tests.stand_ins import Answering, answering
from tests.waiting import until
from tools.bootstrap import paths
from tools.cli import backend, stale_locks, written_settings
from tools.cli.__main__ import COMMANDS, FAILURES, main
from tools.cli.stale_locks import PROJECT_NAME, StackBusy, recorded, remove_stale_locks
from tools.cli.summary import WIDTH, summary

CLI = [sys.executable, "-m", "tools.cli"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up a new user: no login, no cache, an empty home."""
    for name in list(os.environ):
        if name.startswith("PULUMI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "it's a cache"))
    return tmp_path / "home"


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `pulumi` on PATH that appends its arguments to `calls` and runs the script `behavior`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "behavior").write_text("")
    for name in ("pulumi", "pulumi-language-python"):
        script = (
            f'#!/bin/sh\n[ "$1" = version ] && echo v99.0.0 && exit\necho "$@" >> {folder}/calls\n. {folder}/behavior\n'
        )
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *arguments], cwd=paths.PROJECT, capture_output=True, text=True)


class TestBackend:
    def test_variables_without_a_backend_name_a_folder_of_the_cache(self) -> None:
        variables = backend.variables({})
        url = variables["PULUMI_BACKEND_URL"]
        assert url.endswith("/state?metadata=skip")
        state = backend.Backend(url).directory
        assert state == paths.cache_directory() / "state"
        assert state.is_dir()
        assert Path(variables["PULUMI_HOME"]).is_relative_to(paths.cache_directory())

    def test_passphrase_is_created_once_and_readable_by_its_user_only(self) -> None:
        file = Path(backend.variables({})["PULUMI_CONFIG_PASSPHRASE_FILE"])
        passphrase = file.read_text()
        assert len(passphrase) >= 32
        assert file.stat().st_mode & 0o777 == 0o600
        assert backend.variables({})["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(file)
        assert file.read_text() == passphrase
        assert [entry.name for entry in file.parent.iterdir() if entry.name.startswith(".pass")] == []

    @pytest.mark.parametrize("name", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
    def test_passphrase_of_the_user_is_kept(self, name: str) -> None:
        assert (
            backend.variables({name: ""}).keys() & {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}
            == set()
        )
        assert not (paths.cache_directory() / "passphrase").exists()

    def test_backend_of_the_user_is_kept_and_gets_a_passphrase(self) -> None:
        variables = backend.variables({"PULUMI_BACKEND_URL": "s3://bucket"})
        assert variables.keys() & {"PULUMI_BACKEND_URL", "PULUMI_HOME"} == set()
        assert "PULUMI_CONFIG_PASSPHRASE_FILE" in variables

    @pytest.mark.parametrize(
        "credentials",
        [
            {"current": "https://api.pulumi.com", "accounts": {}},
            {"$pulumiSecureStore": 1, "backend": "keyring", "data": "..."},
        ],
    )
    @pytest.mark.parametrize("variable", ["HOME", "PULUMI_HOME"])
    def test_login_of_the_user_is_kept(
        self, credentials: dict[str, Any], variable: str, home: Path, tmp_path: Path
    ) -> None:
        folder = home / ".pulumi" if variable == "HOME" else tmp_path / "elsewhere"
        folder.mkdir(parents=True)
        (folder / "credentials.json").write_text(json.dumps(credentials))
        variables = backend.variables({} if variable == "HOME" else {"PULUMI_HOME": str(folder)})
        assert variables.keys() & {"PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE"} == set()

    def test_credentials_without_a_login_are_ignored(self, home: Path) -> None:
        (home / ".pulumi").mkdir(parents=True)
        (home / ".pulumi" / "credentials.json").write_text('{"accounts": {}}')
        assert "PULUMI_BACKEND_URL" in backend.variables({})

    def test_access_token_selects_the_pulumi_service(self) -> None:
        assert backend.variables({"PULUMI_ACCESS_TOKEN": "x"}).keys() & {"PULUMI_BACKEND_URL", "PULUMI_HOME"} == set()

    @pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
    def test_proxy_of_the_user_is_not_used_for_loopback(self, proxy: str) -> None:
        variables = backend.variables({proxy: "http://proxy:3128", "NO_PROXY": "example.com, localhost"})
        assert variables["NO_PROXY"] == "example.com,localhost,127.0.0.1,::1"
        assert variables["no_proxy"] == variables["NO_PROXY"]
        assert "no_grpc_proxy" not in variables

    def test_proxy_exceptions_of_the_user_are_kept(self) -> None:
        proxy = {"http_proxy": "http://proxy:3128"}
        assert backend.proxy_exceptions(proxy | {"no_proxy": "*"}) == {"NO_PROXY": "*", "no_proxy": "*"}
        different = {"NO_PROXY": "a", "no_proxy": "b", "no_grpc_proxy": "c"}
        assert backend.proxy_exceptions(proxy | different) == {
            name: f"{host},127.0.0.1,localhost,::1" for name, host in different.items()
        }

    def test_environment_without_a_proxy_gets_no_exceptions(self) -> None:
        assert backend.proxy_exceptions({"no_proxy": "example.com", "http_proxy": ""}) == {}

    def test_env_is_evaluated_by_a_shell_with_special_characters_in_paths(self) -> None:
        lines = run_cli("env", "--stack", "no-such-stack").stdout
        environment = subprocess.run(
            ["sh", "-c", f'eval "$(cat)"; {shlex.quote(sys.executable)} -c "import os; print(dict(os.environ))"'],
            input=lines,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert repr(str(paths.cache_directory() / "passphrase")) in environment
        assert "%27s%20a%20cache/state" in environment


class TestLocks:
    @pytest.fixture
    def locks(self, tmp_path: Path) -> Path:
        """Create the folder of the locks of the stack `dev` in a backend at `tmp_path`."""
        folder = tmp_path / ".pulumi" / "locks" / "organization" / PROJECT_NAME / "dev"
        folder.mkdir(parents=True)
        return folder

    @pytest.fixture
    def program(self, tmp_path: Path) -> Path:
        """Create a program named `pulumi` that sleeps."""
        return Path(shutil.copy(str(shutil.which("sleep")), tmp_path / "pulumi"))

    @staticmethod
    def lock(folder: Path, pid: int, host: str = "", name: str = "1.json") -> Path:
        content = {
            "pid": pid,
            "username": "me",
            "hostname": host or socket.gethostname(),
            "timestamp": "2026-01-01T00:00:00Z",
        }
        (folder / name).write_text(json.dumps(content))
        return folder / name

    @staticmethod
    def ended() -> int:
        """Return the ID of a process that has ended."""
        process = subprocess.Popen(["true"])
        process.wait()
        return process.pid

    def test_lock_of_a_killed_process_is_removed(
        self, locks: Path, tmp_path: Path, program: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        killed = subprocess.Popen([program, "60"])
        lock = self.lock(locks, killed.pid)
        killed.kill()  # the process stays a zombie until its parent waits for it
        until(lambda: psutil.Process(killed.pid).status() == psutil.STATUS_ZOMBIE)
        remove_stale_locks(tmp_path, "dev")
        killed.wait()
        assert not lock.exists()
        assert f"killed (process {killed.pid})" in capsys.readouterr().err

    def test_lock_of_a_running_process_raises_with_its_id(self, locks: Path, tmp_path: Path, program: Path) -> None:
        with subprocess.Popen([program, "60"]) as running:
            lock = self.lock(locks, running.pid)
            with pytest.raises(StackBusy, match=f"process {running.pid} of me"):
                remove_stale_locks(tmp_path, "dev")
            running.kill()
        assert lock.exists()

    def test_lock_of_a_running_process_is_kept_after_the_clock_was_set_forward(
        self, locks: Path, tmp_path: Path, program: Path
    ) -> None:
        with subprocess.Popen([program, "60"]) as running:
            lock = self.lock(locks, running.pid)
            os.utime(lock, (0, 0))
            with pytest.raises(StackBusy):
                remove_stale_locks(tmp_path, "dev")
            running.kill()
        assert lock.exists()

    def test_lock_whose_process_id_was_reused_is_removed(self, locks: Path, tmp_path: Path) -> None:
        with subprocess.Popen(["sleep", "60"]) as later:
            lock = self.lock(locks, later.pid)
            remove_stale_locks(tmp_path, "dev")
            later.kill()
        assert not lock.exists()

    def test_lock_of_another_computer_is_kept(self, locks: Path, tmp_path: Path) -> None:
        lock = self.lock(locks, 1 << 22, "elsewhere")
        with pytest.raises(StackBusy, match="on elsewhere"):
            remove_stale_locks(tmp_path, "dev")
        assert lock.exists()

    def test_stale_lock_beside_one_of_a_running_process_raises(
        self, locks: Path, tmp_path: Path, program: Path
    ) -> None:
        self.lock(locks, self.ended(), name="0.json")
        with subprocess.Popen([program, "60"]) as running:
            lock = self.lock(locks, running.pid)
            with pytest.raises(StackBusy, match=f"process {running.pid}"):
                remove_stale_locks(tmp_path, "dev")
            running.kill()
        assert lock.exists()

    def test_lock_that_is_taken_during_the_removal_is_kept(
        self, locks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stale = self.lock(locks, self.ended())
        monkeypatch.setattr(stale_locks.Lock, "is_stale", lambda _: self.lock(locks, os.getpid(), name="2.json"))
        remove_stale_locks(tmp_path, "dev")
        assert not stale.exists()
        assert (locks / "2.json").exists()

    def test_lock_that_cannot_be_read_raises_with_its_file(self, locks: Path, tmp_path: Path) -> None:
        (locks / "1.json").write_text("")
        with pytest.raises(StackBusy, match=r"1\.json cannot be read"):
            remove_stale_locks(tmp_path, "dev")

    def test_lock_in_a_container_is_removed_only_with_a_record_of_its_process(
        self, locks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stale_locks, "_pid_namespace", lambda: 4026532000)
        killed, other = self.ended(), self.ended()
        recorded(killed).__enter__()  # a killed run does not leave the block
        with recorded(other):
            pass
        lock = self.lock(locks, other)
        with pytest.raises(StackBusy, match="killed in another container"):
            remove_stale_locks(tmp_path, "dev")
        lock = self.lock(locks, killed)
        remove_stale_locks(tmp_path, "dev")
        assert not lock.exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_lock_of_a_running_process_in_a_container_with_the_same_host_name_is_kept(
        self, locks: Path, tmp_path: Path, program: Path
    ) -> None:
        with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", program, "60"]) as container:
            until(lambda: [child.name() for child in psutil.Process(container.pid).children()] == ["pulumi"])
            lock = self.lock(locks, 1)
            with pytest.raises(StackBusy):
                remove_stale_locks(tmp_path, "dev")
            container.kill()
        assert lock.exists()


class TestCommands:
    def test_up_selects_the_stack_and_prints_a_summary(self, pulumi: Path) -> None:
        (pulumi / "behavior").write_text(
            '[ "$2" = output ] && echo \'{"score": {"state": "SUCCEEDED", "rows": 3}}\' || true'
        )
        finished = run_cli("up", "--stack", "dev", "--target", "urn")
        assert finished.returncode == 0, finished.stderr
        assert "pipeline score: SUCCEEDED, rows 3" in finished.stdout
        select, up, output = (pulumi / "calls").read_text().splitlines()
        assert select == "stack select --create --stack dev"
        assert up.startswith("up --yes --skip-preview ")
        assert "--target urn" in up
        assert output == "stack output --json --stack dev"

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_progress_is_shown_on_a_terminal_only(self, is_terminal: bool, pulumi: Path) -> None:
        controller, terminal = pty.openpty()
        subprocess.run(
            [*CLI, "refresh", "--stack", "dev"],
            cwd=paths.PROJECT,
            stdout=terminal if is_terminal else subprocess.PIPE,
            check=True,
        )
        os.close(terminal)
        os.close(controller)
        _, refresh = (pulumi / "calls").read_text().splitlines()
        assert ("--suppress-progress" in refresh) == (not is_terminal)

    def test_stack_with_organization_and_project_is_passed_to_pulumi(self, pulumi: Path) -> None:
        (pulumi / "behavior").write_text("echo '{}'")
        assert run_cli("status", "--stack", "organization/mlplatform/dev").returncode == 0
        assert run_cli("status", "--stack", "organization/mlplatform/devv").returncode == 1
        assert (pulumi / "calls").read_text() == "stack output --json --stack organization/mlplatform/dev\n"

    @pytest.mark.parametrize("command", ["up", "refresh", "down"])
    def test_exit_code_is_that_of_pulumi(self, command: str, pulumi: Path) -> None:
        (pulumi / "behavior").write_text('[ "$1" = stack ] || exit 7')
        finished = run_cli(command, "--stack", "dev")
        assert finished.returncode == 7
        assert finished.stdout == ""

    @pytest.mark.parametrize("command", ["up", "preview", "down", "outputs"])
    def test_temporary_files_of_plugins_are_deleted(self, command: str, pulumi: Path) -> None:
        (pulumi / "behavior").write_text(f"mktemp >> {pulumi}/files; echo '{{}}'")
        run_cli(command, "--stack", "dev")
        files = (pulumi / "files").read_text().split()
        assert files
        assert not [file for file in files if Path(file).exists()]

    @pytest.mark.usefixtures("pulumi")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_after_a_command_of_pulumi_has_its_meaning_of_before(self, number: signal.Signals) -> None:
        """A restore and a drill go on for minutes after their first `up`."""
        program = (
            "import os, signal, sys\nfrom tools.cli.pulumi_command import Pulumi\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it\n"
            f"assert Pulumi('dev').run('up') == 0\nos.kill(os.getpid(), {int(number)})\nsys.exit('it goes on')"
        )
        finished = subprocess.run([sys.executable, "-c", program], cwd=paths.PROJECT, capture_output=True, text=True)
        assert finished.returncode == -number
        assert "it goes on" not in finished.stderr

    def test_preview_checks_the_policies_and_prints_a_report(self, pulumi: Path) -> None:
        (pulumi / "behavior").write_text('[ "$1" = stack ] || { echo \'{"changeSummary": {"same": 3}}\'; exit 7; }')
        finished = run_cli("preview", "--stack", "dev", "--target", "urn")
        assert finished.returncode == 7
        assert finished.stdout == "## Preview of stack `dev`\n\nNothing changes; 3 unchanged\n"
        _, call = (pulumi / "calls").read_text().splitlines()
        assert call.startswith("preview --json --policy-pack ")
        assert call.endswith(" --target urn --stack dev")

    @pytest.mark.parametrize("failing", ["stack", "preview"])
    def test_preview_that_pulumi_rejects_prints_a_report(self, failing: str, pulumi: Path) -> None:
        (pulumi / "behavior").write_text(
            f'[ "$1" != {failing} ] || {{ echo "error: incorrect passphrase" >&2; exit 255; }}'
        )
        finished = run_cli("preview", "--stack", "dev")
        assert finished.returncode == 1
        assert finished.stdout.startswith("## Preview of stack `dev`\n\n**It fails**")
        assert "failed: incorrect passphrase; " in finished.stdout

    def test_outputs_prints_json_only(self, pulumi: Path) -> None:
        (pulumi / "behavior").write_text("echo '{\"a\": 1}'")
        finished = run_cli("outputs", "--stack", "dev")
        assert json.loads(finished.stdout) == {"a": 1}

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_command_whose_reader_has_ended_keeps_its_exit_code(self, stream: str, pulumi: Path) -> None:
        (pulumi / "behavior").write_text("seq 99999; [ $2 = output ]")  # more than a pipe holds
        reader, writer = os.pipe()
        os.close(reader)
        command, stdout, stderr = {
            "stdout": ("outputs", writer, subprocess.PIPE),
            "stderr": ("picture", subprocess.PIPE, writer),
        }[stream]
        finished = subprocess.run([*CLI, command, "--stack", "dev"], cwd=paths.PROJECT, stdout=stdout, stderr=stderr)
        os.close(writer)
        assert finished.returncode == (0 if stream == "stdout" else 1)
        assert not finished.stderr
        assert not finished.stdout

    def test_error_of_pulumi_is_printed_with_advice(self, pulumi: Path) -> None:
        (pulumi / "behavior").write_text("echo \"error: no stack named 'dev' found\" >&2; exit 255")
        finished = run_cli("down", "--stack", "dev")
        assert finished.returncode == 1
        assert "no stack named 'dev' found; it was never brought up here; run `make up STACK=dev`" in finished.stderr

    @pytest.mark.parametrize(
        ("text", "place"), [("config:\n\tplatform:x: 1\n", "see line 2, column 1"), ("\xff", "a chara")]
    )
    def test_stack_file_that_is_no_yaml_is_an_error_with_its_place(
        self, text: str, place: str, pulumi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(written_settings, "PROJECT", tmp_path)
        (tmp_path / "Pulumi.dev.yaml").write_bytes(text.encode("latin-1"))
        with pytest.raises(SettingsError, match=rf"^Pulumi\.dev\.yaml is not YAML: {place}"):
            written_settings.written_setting("dev", "infra:cluster")
        assert SettingsError in FAILURES

    @pytest.mark.parametrize("page", [None, "# No diagram\n"])
    def test_picture_for_a_page_without_a_diagram_names_it(
        self, page: str | None, pulumi: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "page.md"
        if page:
            file.write_text(page)
        finished = run_cli("picture", "--stack", "dev", "--page", str(file))
        assert finished.returncode == 2
        assert f"--page {file} is no Markdown page with a Mermaid diagram" in finished.stderr
        assert "Traceback" not in finished.stderr

    @pytest.mark.parametrize("command", ["status", "env", "tokens", "trust", "pages"])
    def test_command_without_arguments_rejects_one(self, command: str, pulumi: Path) -> None:
        finished = run_cli(command, "--stack", "dev", "--jsn")
        assert finished.returncode == 2
        assert "unrecognized arguments: --jsn" in finished.stderr

    def test_interrupt_of_a_command_that_is_not_pulumis_ends_it_with_one_line(self, pulumi: Path) -> None:
        (pulumi / "behavior").write_text("sleep 60")
        command = subprocess.Popen(
            [*CLI, "history", "--stack", "dev"],
            cwd=paths.PROJECT,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until((pulumi / "calls").exists)
        os.killpg(command.pid, signal.SIGINT)
        _, output = command.communicate(timeout=60)
        assert command.returncode == 130
        assert output.strip() == "Interrupted. Run the same command again to continue."

    @pytest.mark.parametrize("file", [None, "/some/file"])
    def test_full_disk_is_an_error_with_the_folder_to_free(
        self, file: str | None, pulumi: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        full = OSError(errno.ENOSPC, "No space left on device", *([file] if file else []))
        monkeypatch.setitem(COMMANDS, "status", Mock(side_effect=full))
        assert main(["status", "--stack", "dev"]) == 1
        where = f" at {file}" if file else ""
        message = f"Error: a file cannot be read or written{where}: No space left on device. The data are in "
        assert capsys.readouterr().err.startswith(f"{message}{paths.cache_directory()}")

    def test_interrupt_is_handled_by_pulumi(self, pulumi: Path) -> None:
        trap = (
            f'[ "$1" = up ] || exit 0\ntrap "sleep 1; exit 9" INT\ntouch {pulumi}/started\nwhile :; do sleep 0.1; done'
        )
        (pulumi / "behavior").write_text(trap)
        cli = subprocess.Popen(
            [*CLI, "up", "--stack", "dev"], cwd=paths.PROJECT, start_new_session=True, stderr=subprocess.PIPE
        )
        until(lambda: (pulumi / "started").exists() or cli.poll() is not None)
        assert cli.poll() is None
        os.killpg(cli.pid, signal.SIGINT)
        _, errors = cli.communicate(timeout=30)
        assert cli.returncode == 9
        assert b"Traceback" not in errors


SHA256 = "0123456789abcdef" * 4
MODEL = MappingProxyType({"name": "iris", "version": "3", "alias": "champion", "sha256": SHA256, "accuracy": 0.96667})


class Description(Answering):
    """Stand-in for the OpenAPI description of a model server."""

    example: ClassVar[dict[str, float]] = {}

    def do_GET(self) -> None:
        body = {"requestBody": {"content": {"application/json": {"example": self.example}}}}
        self.answer(200, {"paths": {"/score": {"post": body}}})


class TestSummary:
    @pytest.fixture
    def server(self) -> Iterator[str]:
        """Serve an OpenAPI description, and return the URL of /score."""
        with answering(Description) as url:
            yield f"{url}/score"

    def test_summary_has_accuracies_decisions_models_and_addresses(self) -> None:
        outputs = {
            "iris_local": {"state": "SUCCEEDED", "decision_tree_accuracy": 0.93333, "run_id": "r1", "log": "/l"},
            "iris_external": {"state": "SUCCEEDED", "deployed": True, "decision": "accuracy 0.967 > 0.7", "log": "/l"},
            "batch_predict": {"state": "SKIPPED", "log": "/the/log"},
            "model": MODEL,
            "tracking_url": "http://127.0.0.1:5050",
        }
        assert summary("dev", outputs).splitlines() == [
            "Stack dev",
            "  pipeline iris-local: SUCCEEDED, decision tree accuracy 0.933",
            "  pipeline iris-external: SUCCEEDED",
            "    accuracy 0.967 > 0.7",
            "  pipeline batch-predict: SKIPPED",
            "    log: /the/log",
            "  model iris: version 3 (champion), accuracy 0.967, SHA-256 0123456789ab",
            "  runs and models: http://127.0.0.1:5050/#/experiments?workflowType=machine_learning",
            "Next",
            "  make status   this summary",
            "  make outputs  all outputs as JSON",
            "  make preview  changes of the next `make up`",
            "  make down     destroy the stack",
        ]

    @pytest.mark.parametrize("features", [1, 40])
    def test_curl_command_scores_the_example_of_the_model(self, features: int, server: str) -> None:
        Description.example = {f"it's {number}": 1.5 for number in range(features)}
        lines = summary("dev", {"model": MODEL, "score_url": server}).splitlines()
        assert max(map(len, lines)) <= WIDTH
        first = next(number for number, line in enumerate(lines) if "curl" in line)
        command = "\n".join(lines[first : lines.index("Next")])
        printed = subprocess.run(
            ["sh"], input=f'curl() {{ printf "%s\\0" "$@"; }}\n{command}', capture_output=True, text=True, check=True
        ).stdout
        silent, url, _, header, _, body, _ = printed.split("\0")
        assert (silent, url, header) == ("-s", server, "Content-Type: application/json")
        assert json.loads(body) == Description.example

    def test_long_lines_are_wrapped_and_locations_are_left_to_the_outputs(self) -> None:
        values = {f"accuracy_of_model_{number}": 0.5 for number in range(20)}
        uri = "minio://bucket/a-folder"
        outputs = {"batch_predict": {"state": "SUCCEEDED", "predictions": uri, "log": "/l", **values}}
        text = summary("lab", outputs)
        assert max(map(len, text.splitlines())) <= WIDTH
        assert "accuracy of model 19 0.500" in text
        assert uri not in text
        assert "    predictions: make outputs STACK=lab ARGS=batch_predict\n" in text

    def test_log_in_the_home_folder_is_shortened(self, home: Path) -> None:
        text = summary("dev", {"score": {"state": "FAILED", "log": f"{home}/run.log"}})
        assert "    log: ~/run.log\n" in text

    def test_summary_has_a_second_service(self) -> None:
        text = summary(
            "lab", {"wine_service": {"model": MODEL | {"name": "wine"}, "score_url": "http://127.0.0.1:1/score"}}
        )
        assert "model wine: version 3" in text
        assert "page: http://127.0.0.1:1/\n" in text
        assert "make down STACK=lab" in text

    def test_summary_has_the_gate_and_the_score_of_a_regression(self) -> None:
        gate = "rmse below 3.5 and better than the champion, latency below 0.5"
        decision = "rmse 3.7 > baseline 3.5: not below it; latency 0.6 > baseline 0.5: not below it, so wine keeps v"
        model = {"name": "wine", "version": "3", "alias": "champion", "sha256": "0" * 64, "rmse": 3.41}
        run = {"state": "SUCCEEDED", "rmse": 3.7, "deployed": False, "version": "", "gate": gate, "decision": decision}
        text = summary("dev", {"wine": run, "model": model})
        assert f"  pipeline wine: SUCCEEDED, rmse 3.700\n    gate: {gate}\n    rmse 3.7 > baseline 3.5" in text
        assert "  model wine: version 3 (champion), rmse 3.410, SHA-256 000000000000" in text
        assert max(map(len, text.splitlines())) <= WIDTH

    def test_summary_of_a_model_without_a_version_names_the_gate(self) -> None:
        model = {"name": "iris", "version": "", "alias": "champion", "sha256": "", "accuracy": 0}
        assert "model iris: no version has passed its gate yet" in summary("dev", {"model": model})
