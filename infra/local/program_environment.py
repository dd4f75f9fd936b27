"""Environment variables of the programs that this project starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FOLDER_PREFIX = "mlplatform-command-"
OTHER_LOGINS = frozenset(
    {"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}
)
"""Variables of the user that clients of S3 would combine with the keys of another store."""


@contextmanager
def temporary_folder() -> Iterator[dict[str, str]]:
    """Yield the variable of a folder for temporary files, and delete the folder after the block.

    Pulumi's Kubernetes plugin writes the administrator's kubeconfig to a temporary file in each command. It never
    deletes that file.
    """
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder}


def inherited_environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment for a program that may run longer than the command of Pulumi.

    Pulumi's variables are missing: workloads must not read its passphrase. The folder of `temporary_folder` is
    replaced by the folder that contains it.

    Args:
        added: further variables. With the keys of an S3 store, the variables of `OTHER_LOGINS` are missing.
    """
    added = added or {}
    left_out = OTHER_LOGINS if "AWS_ACCESS_KEY_ID" in added else frozenset()
    environment = {
        key: value for key, value in os.environ.items() if key not in left_out and not key.startswith("PULUMI_")
    }
    folder = Path(environment.get("TMPDIR", ""))
    if folder.name.startswith(FOLDER_PREFIX):
        environment["TMPDIR"] = str(folder.parent)
    return {**environment, **added}
