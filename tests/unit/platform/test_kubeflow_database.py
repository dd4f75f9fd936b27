"""The first start of Kubeflow Pipelines' database, with MariaDB's own installation."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mlplatform.kubeflow.database import DATA, FIRST_START

FULL_DISK = """#!/bin/sh
for option; do case $option in --datadir=*) folder=${option#*=} ;; esac; done
mkdir -p "$folder/mysql"
echo half > "$folder/ibdata1"
exit 1
"""
NO_INSTALLATION = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def first_start(volume: Path, installation: str = "") -> int:
    """Run the script with a text in place of the program mariadb-install-db, if there is one."""
    programs = volume.parent / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "mariadb-install-db").write_text(installation)
    (programs / "mariadb-install-db").chmod(0o755 if installation else 0o600)
    script = FIRST_START.replace(DATA, str(volume))
    variables = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-ec", script], capture_output=True, env=variables).returncode


def test_interrupted_installation_begins_again(volume: Path) -> None:
    if not shutil.which("mariadb-install-db"):
        pytest.skip("MariaDB is not installed (apt-get install mariadb-server-core mariadb-client)")
    assert first_start(volume, FULL_DISK) != 0
    assert first_start(volume) == 0
    assert [file.name for file in volume.iterdir()] == ["data"]
    server = ["/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={volume}/data", "--bootstrap"]
    started = subprocess.run(server, input="SELECT User FROM mysql.global_priv;\n", capture_output=True, text=True)
    assert started.returncode == 0, started.stderr


def test_data_that_exist_are_kept(volume: Path) -> None:
    (volume / "data" / "mysql").mkdir(parents=True)
    (volume / "data" / "ibdata1").write_text("rows")
    assert first_start(volume, NO_INSTALLATION) == 0
    assert (volume / "data" / "ibdata1").read_text() == "rows"


def test_folder_without_a_database_is_used_if_it_is_empty(volume: Path) -> None:
    (volume / "data").mkdir()
    assert first_start(volume, FULL_DISK.replace("exit 1", "exit 0")) == 0
    assert (volume / "data" / "mysql").is_dir()
    shutil.rmtree(volume / "data" / "mysql")
    assert first_start(volume, FULL_DISK.replace("exit 1", "exit 0")) != 0
    assert [file.name for file in (volume / "data").iterdir()] == ["ibdata1"]
