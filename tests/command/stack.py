"""A temporary stack of a temporary program, run by the real Pulumi CLI with the real SDK."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.bootstrap import pulumi_cli
from tools.bootstrap.process import start_piped

from .plugin import EXECUTABLE

SECONDS = 120
_SETTINGS = "name: commands\nruntime: {name: python, options: {virtualenv: .venv}}\n"


def search_path() -> str:
    """Return the search path for the CLI: the folder of `make tools` for this checkout, if it has one, then PATH."""
    folder = pulumi_cli.folder()
    return os.pathsep.join([*([str(folder)] if folder else []), os.environ.get("PATH", "")])


class Stack:
    """A stack of the program text `program`, run with the variables in `environment`."""

    def __init__(self, folder: Path, program: str, **environment: str) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        (folder / "state").mkdir()
        (self.project / "Pulumi.yaml").write_text(_SETTINGS)
        (self.project / "__main__.py").write_text(program)
        (self.project / ".venv").symlink_to(sys.prefix)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
        self.environment = variables | {
            "PATH": f"{EXECUTABLE.parent}{os.pathsep}{search_path()}",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "passphrase",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            **environment,
        }
        self.run("stack", "init", "test")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        program = shutil.which("pulumi", path=search_path()) or "pulumi"
        return start_piped([program, *arguments, "--non-interactive"], cwd=self.project, env=self.environment)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run the CLI and return its output; fail unless it exits with `code`."""
        with self.start(*arguments) as process:
            output = process.communicate(timeout=SECONDS)[0]
        assert process.returncode == code, output
        return output

    def up(self, *arguments: str, code: int = 0) -> str:
        return self.run("up", "--yes", "--skip-preview", *arguments, code=code)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs, secrets in clear."""
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets"))
        return outputs

    def state(self) -> dict[str, dict[str, Any]]:
        """Return the resources of the stored state by name."""
        text = (self.folder / "state/.pulumi/stacks/commands/test.json").read_text()
        resources = json.loads(text)["checkpoint"]["latest"].get("resources", [])
        return {resource["urn"].split("::")[-1]: resource for resource in resources}
