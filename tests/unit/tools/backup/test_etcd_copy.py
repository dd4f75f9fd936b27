"""Copies of etcd, with an ssh that knows which machines are on."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import CHECKOUT
from tools.cli.backup.contents.etcd_copy import ETCD, SCRIPT, SNAPSHOT, copy_etcd
from tools.cli.cluster_access import AccessError

SSH = """#!/bin/sh
for last in "$@"; do :; done
case "$*" in
  *@10.0.0.2*) cat > {folder}/script; echo "$last" > {folder}/command; cat {folder}/archive ;;
  *) echo "Connection refused" >&2; exit 255 ;;
esac
"""


def machine(number: int, role: str = "control-plane") -> dict[str, Any]:
    login = {"host": f"10.0.0.{number}", "port": 22, "user": "admin", "key": "key", "host_key": "ssh-ed25519 AAAA"}
    return {"name": f"machine-{number}", "role": role, "bastion": None, **login}


@pytest.fixture
def ssh(tmp_path: Path, install_program: Callable[[str, str], None]) -> Path:
    """Return a folder with an ssh that reaches 10.0.0.2 alone, which sends an archive."""
    install_program("ssh", SSH.format(folder=tmp_path))
    with tarfile.open(tmp_path / "archive", "w") as archive:
        member = tarfile.TarInfo(SNAPSHOT)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"etcd"))
    return tmp_path


def test_copy_of_etcd_comes_from_a_control_plane_that_responds(ssh: Path) -> None:
    copy_etcd([machine(2, "worker"), machine(1), machine(2)], ssh)
    assert (ssh / ETCD / SNAPSHOT).read_bytes() == b"etcd"
    assert (ssh / "command").read_text().startswith("sudo --non-interactive env NODE=machine-2 bash")
    assert "snapshot save" in (ssh / "script").read_text()


def test_snapshot_is_that_of_the_pod_of_the_node_whatever_the_host_name_is(
    tmp_path: Path, install_program: Callable[[str, str], None]
) -> None:
    install_program("kubectl", f'#!/bin/sh\necho "$@" > {tmp_path}/arguments; exit 1\n')
    (tmp_path / "bin" / "hostname").write_text("#!/bin/sh\necho other.example.com\n")
    (tmp_path / "bin" / "hostname").chmod(0o755)
    command = ["bash", str(CHECKOUT / "infra/kubeadm/scripts" / SCRIPT)]
    subprocess.run(command, env=os.environ | {"NODE": "cp1"}, stdin=subprocess.DEVNULL, check=False)
    assert " exec etcd-cp1 -- etcdctl " in (tmp_path / "arguments").read_text()


def test_copy_of_etcd_without_a_control_plane_that_responds_names_each(ssh: Path) -> None:
    with pytest.raises(AccessError, match=r"machine-1 failed: Connection refused; .*machine-3 failed"):
        copy_etcd([machine(1), machine(3)], ssh)
    assert not (ssh / ETCD).exists()


def test_copy_of_etcd_of_a_stack_without_machines_is_empty(ssh: Path) -> None:
    copy_etcd([], ssh)
    assert not (ssh / ETCD).exists()
