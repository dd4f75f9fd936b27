"""Runs of programs by `pulumi` with the installed language host: the stand-in for a CLI that was built here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.waiting import until
from tools.bootstrap import paths, pulumi_cli

PROGRAM = """
from pathlib import Path

import pulumi
from thing import Thing

config = pulumi.Config()
thing = Thing("thing", {"seconds": config.get_float("seconds") or 0.0})
pulumi.export("names", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
pulumi.export("dry", pulumi.runtime.is_dry_run())
Path("dry").write_text(str(pulumi.runtime.is_dry_run()))
pulumi.export("secret", config.get_secret("secret"))
match config.get("fault"):
    case "plain":
        raise pulumi.RunError("the port is taken\\n  by another process")
    case "exception":
        {}["missing"]
    case "later":
        thing.id.apply(lambda _: 1 / 0)
"""

THING = """
import time
from pathlib import Path

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Provider(ResourceProvider):
    def create(self, props):
        Path("creating").touch()
        time.sleep(props["seconds"])
        return CreateResult("thing", props)


class Thing(Resource):
    def __init__(self, name, props):
        super().__init__(Provider(), name, props)
"""


class Project:
    """A Pulumi project with a stack `dev` and a separate state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / ".venv").symlink_to((paths.PROJECT / ".venv").resolve())
        (self.folder / "Pulumi.yaml").write_text((paths.PROJECT / "Pulumi.yaml").read_text())
        (self.folder / "__main__.py").write_text(PROGRAM)
        (self.folder / "thing.py").write_text(THING)
        (folder / "state").mkdir()
        tools = pulumi_cli.folder()
        assert tools is not None, "no Pulumi CLI is installed: run `make tools`"
        self.environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": f"file://{folder}/state",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "correct horse battery staple",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        self.pulumi("stack", "init", "dev")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pulumi", "--non-interactive", "--color=never", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=120)
        assert (process.returncode != 0) == fails, output
        return output

    def up(self, fails: bool = False) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", fails=fails)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("pulumi"))


def test_program_gets_stack_settings_and_secrets(project: Project) -> None:
    project.pulumi("config", "set", "--secret", "secret", "hush")
    project.up()
    outputs = project.pulumi("stack", "output", "--json")
    assert '"mlplatform",\n    "dev",\n    "organization"' in outputs
    assert '"dry": false' in outputs
    assert '"secret": "[secret]"' in outputs
    assert '"secret": "hush"' in project.pulumi("stack", "output", "--json", "--show-secrets")
    preview = project.pulumi("preview")
    assert (project.folder / "dry").read_text() == "True"
    assert "hush" not in preview


@pytest.mark.parametrize(
    ("fault", "message", "traceback"),
    [
        ("plain", "error: the port is taken\n      by another process", False),
        ("exception", "KeyError: 'missing'", True),
        ("later", "ZeroDivisionError: division by zero", True),
    ],
    ids=["plain", "exception", "later"],
)
def test_program_failing_is_reported_once(project: Project, fault: str, message: str, traceback: bool) -> None:
    project.pulumi("config", "set", "fault", fault)
    _, diagnostics = project.up(fails=True).split("Diagnostics:")
    project.pulumi("config", "rm", "fault")
    assert diagnostics.count(message) == 1
    assert diagnostics.count("Traceback") == traceback
    assert diagnostics.count("__main__.py") == traceback
    assert "site-packages" not in diagnostics


def test_up_killed_ends_all_its_processes(tmp_path: Path) -> None:
    tools = pulumi_cli.folder()
    if tools is None or (tools / "pulumi-resource-pulumi-python").resolve().parent != pulumi_cli.HOST_SOURCE:
        pytest.skip("the official provider of dynamic resources survives a killed CLI")
    project = Project(tmp_path)
    project.pulumi("config", "set", "seconds", "600")
    process = project.start("up", "--yes", "--skip-preview")
    until((project.folder / "creating").exists)
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 3  # language host, program, provider
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(started, timeout=15)
    assert alive == []
