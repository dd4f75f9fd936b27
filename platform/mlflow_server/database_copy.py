"""Copies of MLflow's databases between PostgreSQL and SQLite files, row by row with the types of MLflow's models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

ROWS_AT_ONCE = 1000


def copy_runs(source: str, target: str) -> None:
    """Replace the runs and models at the URL `target` by those at the URL `source`, which has the same schema."""
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models  # noqa: F401 - registers the tables
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry

    engine = create_sqlalchemy_engine_with_retry(target)  # type: ignore[no-untyped-call]
    _initialize_tables(engine)  # type: ignore[no-untyped-call]
    copy_tables(source, engine, Base.metadata.sorted_tables)


def copy_users(source: str, target: str) -> None:
    """Replace the users at the URL `target` by those at the URL `source`, which has the same schema."""
    from mlflow.server.auth.db.models import Base
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(target)  # type: ignore[no-untyped-call]
    copy_tables(source, store.engine, Base.metadata.sorted_tables)


def set_aside(url: str, name: str) -> None:
    """Rename the schema of a PostgreSQL database, so that its data stay there, and create an empty one."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f'alter schema public rename to "{name}"'))
        connection.execute(text("create schema public"))
    engine.dispose()


def count_runs(url: str) -> int:
    """Return the number of runs and registered models at a URL; 0 for an empty database."""
    from sqlalchemy import create_engine, inspect, text

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("runs"):
                return 0
            found = text("select (select count(*) from runs) + (select count(*) from registered_models)")
            return int(connection.execute(found).scalar_one())
    finally:
        engine.dispose()


def copy_tables(source: str, target: Any, tables: Iterable[Any]) -> None:
    """Replace all rows of the tables in `target`, an engine, by those at a URL.

    The tables are in the order of their references.
    """
    from sqlalchemy import create_engine, insert, select

    tables = list(tables)
    # All tables as of one point in time, while others write.
    options = {"isolation_level": "REPEATABLE READ"} if source.startswith("postgresql") else {}
    engine = create_engine(source, **options)
    with engine.connect() as reader, target.begin() as writer:
        for table in reversed(tables):
            writer.execute(table.delete())  # MLflow creates its first experiment with the table
        for table in tables:
            rows = reader.execution_options(yield_per=ROWS_AT_ONCE).execute(select(table))
            for chunk in rows.mappings().partitions():
                writer.execute(insert(table), [dict(row) for row in chunk])
            if target.dialect.name == "postgresql":
                _advance_sequences(writer, table)
    engine.dispose()
    target.dispose()


def _advance_sequences(connection: Any, table: Any) -> None:
    """Set the sequence of each numbered column behind the numbers of the rows."""
    from sqlalchemy import func, select

    for column in table.columns:
        sequence = connection.execute(select(func.pg_get_serial_sequence(table.name, column.name))).scalar()
        if sequence:
            highest = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
            connection.execute(select(func.setval(sequence, highest, False)))
