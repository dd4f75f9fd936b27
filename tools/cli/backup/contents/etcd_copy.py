"""etcd of a stack's cluster, with the keys of its Secrets, copied from a control plane over SSH."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.kubeadm.scripts import command_line, standard_input
from tools.cli.cluster_access import AccessError, run_on_machine

SCRIPT = "control-plane/etcd-snapshot.sh"
SNAPSHOT = "snapshot.db"
ETCD = "etcd"
"""Folder of a backup with a snapshot of etcd and the keys of the cluster."""


def copy_etcd(machines: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Copy etcd and the keys into a folder, from the first control plane that can give them.

    Args:
        machines: the stack's output `machines`; without a control plane among them, nothing is copied.
        folder: the folder of the backup.

    Raises:
        AccessError: no control plane could give them.
    """
    faults = []
    for machine in machines:
        if machine["role"] != "control-plane":
            continue
        try:
            _copy_from(machine, folder)
            return
        except AccessError as error:
            faults.append(str(error))
    if faults:
        raise AccessError("; ".join(faults))


def _copy_from(machine: Mapping[str, Any], folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as archive, tempfile.TemporaryFile() as script:
        script.write(standard_input(SCRIPT).encode())
        script.seek(0)
        run_on_machine(machine, command_line(SCRIPT, {"NODE": machine["name"]}), stdin=script, stdout=archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as content:
            content.extractall(folder / ETCD, filter="data")
