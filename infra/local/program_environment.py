"""Environment variables of the programs that this project starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_PREFIX = "mlplatform-command-"


@contextmanager
def temporary_folder() -> Iterator[dict[str, str]]:
    """Yield the variable of a folder for temporary files, and delete the folder after the block.

    Pulumi's Kubernetes plugin writes the administrator's kubeconfig to a temporary file in each command. It never
    deletes that file.
    """
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder}


def inherited_environment() -> dict[str, str]:
    """Return this process's environment for a program that may run longer than the command of Pulumi.

    Pulumi's variables are missing: workloads must not read its passphrase. The folder of `temporary_folder` is
    replaced by the folder that contains it.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    folder = Path(environment.get("TMPDIR", ""))
    if folder.name.startswith(FOLDER_PREFIX):
        environment["TMPDIR"] = str(folder.parent)
    return environment
