"""Upgrade of MLflow's database to the schema of the installed MLflow.

MLflow itself refuses a database of an older release, or migrates it without a copy if a table is missing.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

MIGRATIONS = "store/db_migrations/versions"
REVISION = re.compile(r"^(revision|down_revision) = ['\"](\w+)['\"]", re.MULTILINE)
FILE_URL = "sqlite:///"


class UpgradeError(Exception):
    """The database was not upgraded; the message has the reason and the remedy."""


def upgrade_database(url: str, backed_up: bool) -> None:
    """Upgrade the database at `url` if its schema is older than that of the installed MLflow.

    A SQLite file is copied first, and the copy stays. Another database must be `backed_up`.

    Raises:
        UpgradeError: the upgrade failed, the schema is newer, or a backup is missing. The database is unchanged,
            unless a server other than SQLite failed during the upgrade.
    """
    file = Path(url.removeprefix(FILE_URL)) if url.startswith(FILE_URL) else None
    if file and not file.is_file():
        return
    revision = _revision(url)
    if revision is None or not _is_outdated(revision):
        return
    if file:
        _upgrade_file(file, revision)
        return
    if not backed_up:
        raise UpgradeError(
            f"the database of MLflow has the schema {revision} of an older release, and MLflow {version('mlflow')} "
            "needs to upgrade it. Back it up with pg_dump, then set platform:tracking.upgrade_database: true and run "
            "`make up` again"
        )
    _migrate(url, f"the database of MLflow could not be upgraded from the schema {revision}. Restore your backup")


def _revision(url: str) -> str | None:
    """Return the schema of a database, None for an empty database."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("select version_num from alembic_version")).scalar()
    except SQLAlchemyError as error:
        raise UpgradeError(f"the database of MLflow cannot be read: {getattr(error, 'orig', error)}") from None
    finally:
        engine.dispose()


def _is_outdated(revision: str) -> bool:
    """Return True if the installed MLflow has a migration from this schema. It is slow to import, so read its files."""
    found = find_spec("mlflow")
    assert found
    assert found.origin
    scripts = (Path(found.origin).parent / MIGRATIONS).glob("*.py")
    known = {match.groups() for script in scripts for match in REVISION.finditer(script.read_text())}
    if ("revision", revision) not in known:
        raise UpgradeError(
            f"the database of MLflow has the schema {revision}, which MLflow {version('mlflow')} does not know: a "
            "newer release used it. Install that release, or restore the database of before"
        )
    return ("down_revision", revision) in known


def _upgrade_file(file: Path, revision: str) -> None:
    """Upgrade a copy of a SQLite file, then replace the file, which stays as another copy."""
    kept, upgraded = (file.with_name(f"{file.name}.{suffix}") for suffix in (f"schema-{revision}", "upgrade"))
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(kept)) as target:
        source.backup(target)
    shutil.copyfile(kept, upgraded)
    _migrate(
        f"{FILE_URL}{upgraded}",
        f"the database of MLflow could not be upgraded from the schema {revision}. It is unchanged, and its copy is "
        f"{kept.resolve()}. Install the MLflow of before to use it",
    )
    upgraded.replace(file)
    print(f"the database of MLflow was upgraded to MLflow {version('mlflow')}; its copy of before is {kept.resolve()}")


def _migrate(url: str, failure: str) -> None:
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine_with_retry

    try:
        engine = create_sqlalchemy_engine_with_retry(url)  # type: ignore[no-untyped-call]
        _upgrade_db(engine)  # type: ignore[no-untyped-call]
        engine.dispose()
    except Exception as error:  # each migration has its own errors
        raise UpgradeError(f"{failure}. The reason: {error}") from error
