"""Driving Pulumi: whose backend and passphrase, a killed run's lock, exit codes, and what a person gets to read."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from tests.stand_ins import Answering, answering
from tests.waiting import until
from tools.bootstrap import paths
from tools.cli import backend
from tools.cli.pulumi_command import Pulumi
from tools.cli.stale_locks import PROJECT_NAME, StackBusy, remove_stale_locks
from tools.cli.summary import summary

DRIVER = [sys.executable, str(paths.PROJECT / "tools" / "cli")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet: no Pulumi, no login, no cache."""
    for name in list(os.environ):
        if name.startswith("PULUMI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "it's a cache"))
    return tmp_path / "home"


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pulumi of the user's own that notes what it is asked, and does what the file beside it says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "does").write_text("")
    for name in ("pulumi", "pulumi-language-python"):
        script = (
            f'#!/bin/sh\n[ "$1" = version ] && echo v99.0.0 && exit\necho "$@" >> {folder}/asked\n. {folder}/does\n'
        )
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def drive(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DRIVER, *arguments], capture_output=True, text=True)


class TestBackend:
    def test_without_a_choice_it_is_a_folder_of_the_cache(self) -> None:
        variables = backend.variables({})
        url = variables["PULUMI_BACKEND_URL"]
        assert url.endswith("/state?metadata=skip")
        state = backend.Backend(url).directory
        assert state == paths.directory() / "state"
        assert state.is_dir()
        assert Path(variables["PULUMI_HOME"]).is_relative_to(paths.directory())

    def test_the_passphrase_is_made_once_for_this_user_alone(self) -> None:
        file = Path(backend.variables({})["PULUMI_CONFIG_PASSPHRASE_FILE"])
        made = file.read_text()
        assert len(made) >= 32
        assert file.stat().st_mode & 0o777 == 0o600
        assert backend.variables({})["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(file)
        assert file.read_text() == made
        assert [entry.name for entry in file.parent.iterdir() if entry.name.startswith(".pass")] == []

    @pytest.mark.parametrize("name", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"])
    def test_a_passphrase_of_the_users_stays(self, name: str) -> None:
        assert (
            backend.variables({name: ""}).keys() & {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}
            == set()
        )
        assert not (paths.directory() / "passphrase").exists()

    def test_a_named_backend_stays_and_gets_a_passphrase(self) -> None:
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
    @pytest.mark.parametrize("place", ["HOME", "PULUMI_HOME"])
    def test_a_user_who_is_logged_in_stays_so(
        self, credentials: dict[str, Any], place: str, home: Path, tmp_path: Path
    ) -> None:
        folder = home / ".pulumi" if place == "HOME" else tmp_path / "elsewhere"
        folder.mkdir(parents=True)
        (folder / "credentials.json").write_text(json.dumps(credentials))
        variables = backend.variables({} if place == "HOME" else {"PULUMI_HOME": str(folder)})
        assert variables.keys() & {"PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE"} == set()

    def test_who_has_logged_out_is_not_logged_in(self, home: Path) -> None:
        (home / ".pulumi").mkdir(parents=True)
        (home / ".pulumi" / "credentials.json").write_text('{"accounts": {}}')
        assert "PULUMI_BACKEND_URL" in backend.variables({})

    def test_a_token_means_the_service_it_is_for(self) -> None:
        assert backend.variables({"PULUMI_ACCESS_TOKEN": "x"}).keys() & {"PULUMI_BACKEND_URL", "PULUMI_HOME"} == set()

    def test_env_can_be_evaluated_by_a_shell_whatever_the_paths(self) -> None:
        lines = drive("env", "--stack", "nobody-has-this").stdout
        shown = subprocess.run(
            ["sh", "-c", f'eval "$(cat)"; {shlex.quote(sys.executable)} -c "import os; print(dict(os.environ))"'],
            input=lines,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert repr(str(paths.directory() / "passphrase")) in shown
        assert "%27s%20a%20cache/state" in shown


class TestLocks:
    @pytest.fixture
    def locks(self, pulumi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder of the locks of the stack `dev`."""
        monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
        folder = tmp_path / ".pulumi" / "locks" / "organization" / PROJECT_NAME / "dev"
        folder.mkdir(parents=True)
        return folder

    @staticmethod
    def lock(folder: Path, pid: int, host: str = "") -> None:
        content = {
            "pid": pid,
            "username": "me",
            "hostname": host or socket.gethostname(),
            "timestamp": "2026-01-01T00:00:00Z",
        }
        (folder / "1.json").write_text(json.dumps(content))

    def test_of_a_killed_process_is_removed(
        self, locks: Path, pulumi: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        killed = subprocess.Popen(["sleep", "60"])
        self.lock(locks, killed.pid)
        killed.kill()  # not waited for: as where the parent still has to notice
        until(lambda: psutil.Process(killed.pid).status() == psutil.STATUS_ZOMBIE)
        remove_stale_locks(Pulumi("dev"))
        killed.wait()
        assert (pulumi / "asked").read_text() == "cancel --yes --stack dev\n"
        assert f"killed (process {killed.pid})" in capsys.readouterr().err

    def test_of_a_running_process_names_it(self, locks: Path) -> None:
        with subprocess.Popen(["sleep", "60"]) as running:
            self.lock(locks, running.pid)
            with pytest.raises(StackBusy, match=f"process {running.pid} of me"):
                remove_stale_locks(Pulumi("dev"))
            running.kill()

    def test_whose_number_has_gone_to_another_process_is_removed(self, locks: Path, pulumi: Path) -> None:
        with subprocess.Popen(["sleep", "60"]) as later:
            self.lock(locks, later.pid)
            os.utime(locks / "1.json", (0, 0))
            remove_stale_locks(Pulumi("dev"))
            later.kill()
        assert (pulumi / "asked").exists()

    def test_of_another_computer_is_left_to_its_user(self, locks: Path, pulumi: Path) -> None:
        self.lock(locks, 1 << 22, "elsewhere")
        with pytest.raises(StackBusy, match="on elsewhere"):
            remove_stale_locks(Pulumi("dev"))
        assert not (pulumi / "asked").exists()


class TestCommands:
    def test_up_selects_the_stack_brings_it_up_and_tells_what_there_is(self, pulumi: Path) -> None:
        (pulumi / "does").write_text(
            '[ "$2" = output ] && echo \'{"score": {"state": "SUCCEEDED", "rows": 3}}\' || true'
        )
        finished = drive("up", "--stack", "dev", "--target", "urn")
        assert finished.returncode == 0, finished.stderr
        assert "pipeline score: SUCCEEDED, rows 3" in finished.stdout
        select, up, output = (pulumi / "asked").read_text().splitlines()
        assert select == "stack select --create --stack dev"
        assert up.startswith("up --yes --skip-preview ")
        assert "--target urn" in up
        assert output == "stack output --json --stack dev"

    @pytest.mark.parametrize("command", ["up", "refresh", "down"])
    def test_the_exit_code_is_pulumis(self, command: str, pulumi: Path) -> None:
        (pulumi / "does").write_text('[ "$1" = stack ] || exit 7')
        finished = drive(command, "--stack", "dev")
        assert finished.returncode == 7
        assert finished.stdout == ""

    def test_a_preview_is_held_against_the_policies_and_told_as_a_page(self, pulumi: Path) -> None:
        (pulumi / "does").write_text('[ "$1" = stack ] || { echo \'{"changeSummary": {"same": 3}}\'; exit 7; }')
        finished = drive("preview", "--stack", "dev", "--target", "urn")
        assert finished.returncode == 7
        assert finished.stdout == "## Preview of stack `dev`\n\nNothing changes; 3 stay as they are\n"
        _, asked = (pulumi / "asked").read_text().splitlines()
        assert asked.startswith("preview --json --policy-pack ")
        assert asked.endswith(" --target urn --stack dev")

    @pytest.mark.parametrize("failing", ["stack", "preview"])
    def test_a_preview_that_pulumi_refuses_is_a_page_too(self, failing: str, pulumi: Path) -> None:
        (pulumi / "does").write_text(
            f'[ "$1" != {failing} ] || {{ echo "error: incorrect passphrase" >&2; exit 255; }}'
        )
        finished = drive("preview", "--stack", "dev")
        assert finished.returncode == 1
        assert finished.stdout.startswith("## Preview of stack `dev`\n\n**It fails**")
        assert "failed: incorrect passphrase; " in finished.stdout

    def test_outputs_are_json_and_nothing_else(self, pulumi: Path) -> None:
        (pulumi / "does").write_text("echo '{\"a\": 1}'")
        finished = drive("outputs", "--stack", "dev")
        assert json.loads(finished.stdout) == {"a": 1}

    def test_what_pulumi_complains_of_is_shown_with_what_to_do(self, pulumi: Path) -> None:
        (pulumi / "does").write_text("echo \"error: no stack named 'dev' found\" >&2; exit 255")
        finished = drive("down", "--stack", "dev")
        assert finished.returncode == 1
        assert (
            "no stack named 'dev' found; it has not been up here; `make up STACK=dev` brings it up" in finished.stderr
        )

    def test_an_interrupt_is_pulumis_to_answer(self, pulumi: Path) -> None:
        trap = (
            f'[ "$1" = up ] || exit 0\ntrap "sleep 1; exit 9" INT\ntouch {pulumi}/at-work\nwhile :; do sleep 0.1; done'
        )
        (pulumi / "does").write_text(trap)
        driver = subprocess.Popen([*DRIVER, "up", "--stack", "dev"], start_new_session=True, stderr=subprocess.PIPE)
        until(lambda: (pulumi / "at-work").exists() or driver.poll() is not None)
        assert driver.poll() is None
        os.killpg(driver.pid, signal.SIGINT)
        _, said = driver.communicate(timeout=30)
        assert driver.returncode == 9
        assert b"Traceback" not in said


SHA256 = "0123456789abcdef" * 4
MODEL = MappingProxyType({"name": "iris", "version": "3", "alias": "champion", "sha256": SHA256, "accuracy": 0.96667})


class TestSummary:
    @pytest.fixture
    def server(self) -> Iterator[str]:
        """A model server that describes itself; its /score."""

        class Description(Answering):
            def do_GET(self) -> None:
                body = {"requestBody": {"content": {"application/json": {"example": {"it's": 1.5}}}}}
                self.answer(200, {"paths": {"/score": {"post": body}}})

        with answering(Description) as url:
            yield f"{url}/score"

    def test_tells_accuracies_decisions_model_and_addresses(self) -> None:
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
            "Go on: make outputs (as JSON), make status (this page), make down (ends it all)",
        ]

    def test_the_line_to_paste_scores_the_models_own_example(self, server: str) -> None:
        told = summary("dev", {"model": MODEL, "score_url": server})
        line = next(line for line in told.splitlines() if "curl" in line)
        curl, _, url, _, header, _, body = shlex.split(line)
        assert (curl, url, header) == ("curl", server, "Content-Type: application/json")
        assert json.loads(body) == {"it's": 1.5}

    def test_a_second_service_is_told_too(self) -> None:
        told = summary(
            "lab", {"wine_service": {"model": MODEL | {"name": "wine"}, "score_url": "http://127.0.0.1:1/score"}}
        )
        assert "model wine: version 3" in told
        assert "page: http://127.0.0.1:1/\n" in told
        assert "make down STACK=lab" in told

    def test_a_model_that_never_passed_its_gate_is_said_to_be_missing(self) -> None:
        nothing = {"name": "iris", "version": "", "alias": "champion", "sha256": "", "accuracy": 0}
        assert "model iris: no version has passed its gate yet" in summary("dev", {"model": nothing})
