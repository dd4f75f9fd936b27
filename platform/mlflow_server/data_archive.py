"""Program that saves or loads the data of an MLflow server: `python -m mlplatform.mlflow_server.data_archive ACTION`.

It runs in the folder of the data. `save` writes a tar archive to standard output, with consistent copies of the
databases. `load` replaces the data by an archive from standard input, and moves the data of before aside. The server
has to be restarted afterwards. `count` prints the number of runs and registered models.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mlplatform.mlflow_server.store_archive import ARTIFACTS, DATABASE, USERS, StoreArchive

SAVE, LOAD, COUNT = "save", "load", "count"


def save() -> None:
    """Write the archive. A file is written before the database names it; therefore the databases come first."""
    with tempfile.TemporaryDirectory(dir=".") as scratch, tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        if stores := StoreArchive.of_environment():
            stores.save(archive, Path(scratch).resolve())
            return
        for name in (DATABASE, USERS):
            if Path(name).exists():
                copy = Path(scratch) / name
                with closing(sqlite3.connect(name)) as source, closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
                archive.add(copy, name)
        if Path(ARTIFACTS).exists():
            archive.add(ARTIFACTS)


def load() -> None:
    """Replace the data; a file that the archive lacks stays as it is."""
    before = Path(f"before-restore-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            # Python 3.11.2 of Debian 12 lacks the argument `filter`, and ignores this attribute.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            if stores := StoreArchive.of_environment():
                stores.load(archive, Path(scratch).resolve())
                return
            archive.extractall(scratch)
        for new in Path(scratch).iterdir():
            if Path(new.name).exists():
                before.mkdir(exist_ok=True)
                shutil.move(new.name, before)
            shutil.move(new, new.name)


def count() -> None:
    """Print the number of runs and registered models."""
    if stores := StoreArchive.of_environment():
        print(stores.count())
        return
    with closing(sqlite3.connect(DATABASE)) as database:
        found = database.execute("select (select count(*) from runs) + (select count(*) from registered_models)")
        print(found.fetchone()[0])


if __name__ == "__main__":
    {SAVE: save, LOAD: load, COUNT: count}[sys.argv[1]]()
