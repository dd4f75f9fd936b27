"""`make notebook`: JupyterLab on this computer, with the libraries, MLflow and the data of a stack."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from infra.local.local_process import HOST
from tools.bootstrap import paths
from tools.bootstrap.environment import install_notebook_environment
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.process import inherited_environment
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi
from workloads.notebook import notebook_variables
from workloads.runs.step_credentials import s3_variables

EXAMPLES = paths.PROJECT / "examples" / "notebooks"
PORT = 8888
OPTIONS = (
    f"--ServerApp.ip={HOST}",
    "--ServerApp.port_retries=0",
    "--ServerApp.open_browser=False",
    "--ServerApp.allow_root=True",
    "--ServerApp.answer_yes=True",
    "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
)


def notebook(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Replace this process by JupyterLab; it ends with Ctrl-C.

    Raises:
        AccessError: the stack has a cluster, or it does not exist yet.
        SetupError: JupyterLab could not be installed.
    """
    parser = argparse.ArgumentParser(prog="make notebook", allow_abbrev=False)
    parser.add_argument("--directory", type=Path, default=paths.PROJECT / "notebooks", help="the folder of notebooks")
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    outputs = secret_outputs(pulumi)
    if "kubeconfig" in outputs:
        raise AccessError(
            f"make notebook: the stack {pulumi.stack} has a cluster; it is for stacks with infra:cluster: none, as dev"
        )
    if "tracking_url" not in outputs:
        raise AccessError(f"make notebook: the stack {pulumi.stack} does not run: run `make up`")
    cache = paths.cache_directory()
    with file_lock(cache / "bootstrap.lock", "Waiting for another bootstrap to finish."):
        environment = install_notebook_environment()
    copy_examples(options.directory / "examples")
    runs = cache / "stacks" / pulumi.name / "notebook"
    variables = notebook_variables(outputs["tracking_url"], outputs.get("data_access"), runs)
    if store := stack_settings(pulumi).platform.s3:
        variables |= s3_variables(store)
    token = secrets.token_urlsafe(32)
    print(f"JupyterLab: http://{HOST}:{options.port}/lab?token={token}\nPress Ctrl-C to stop.", flush=True)
    program = str(environment / "bin" / "python")
    command = ["-m", "jupyterlab", *OPTIONS, f"--ServerApp.port={options.port}"]
    root = f"--ServerApp.root_dir={options.directory.resolve()}"
    isolated = jupyter_variables(cache / "jupyter") | {"JUPYTER_TOKEN": token}
    # The installed packages have no `airgap`, whose durations the engine imports.
    isolated["PYTHONPATH"] = str(paths.PROJECT)
    os.execve(program, [program, *command, root], inherited_environment(variables | isolated))


def copy_examples(folder: Path) -> None:
    """Copy the examples that `folder` lacks; a file that exists belongs to the user."""
    folder.mkdir(parents=True, exist_ok=True)
    for example in sorted(EXAMPLES.iterdir()):
        if not (folder / example.name).exists():
            (folder / example.name).write_bytes(example.read_bytes())


def jupyter_variables(folder: Path) -> dict[str, str]:
    """Return variables that separate Jupyter from other installations and settings of this user.

    Settings of another installation could remove the token, or replace the kernel.

    Args:
        folder: the folder of Jupyter's files, which only this user may read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
