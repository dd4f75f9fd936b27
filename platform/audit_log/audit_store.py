"""Entries of the audit log in a SQLite file: who did what, and when."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

FILE = "audit.sqlite"
MOST_ENTRIES = 2_000_000
"""Entries in the file, some 500 MB; the oldest are deleted first."""
MOST_IN_A_MINUTE = 200
"""Entries of one minute: a flood of requests with different paths must not push others out of the file."""
LONGEST_TEXT = 300
MOST_IDS = 200_000
"""Ids of the newest lines, by which a line that arrives again is known."""
DAY = 24 * 3600
LEFT_OUT = "more entries were left out"


@dataclass(frozen=True)
class AuditEntry:
    """An action.

    Args:
        time: its minute, or its second if it has a certain one, in seconds since 1970.
        user: the person, the token as `token.<id>`, or the user of a computer; "" if unknown.
        team: the teams of the user.
        address: the address of the caller.
        action: its name.
        target: the path or the name of its object.
        detail: further words.
    """

    time: int
    user: str
    action: str
    target: str
    team: str = ""
    address: str = ""
    detail: str = ""


@dataclass(frozen=True)
class DoorLine:
    """A line of the door's log: its id, and its entry; None for a line without any meaning for the audit log."""

    id: str
    entry: AuditEntry | None


@dataclass(frozen=True)
class AuditSearch:
    """A search for entries.

    Args:
        user: the name of the user, in upper or lower case; "" for all.
        since: the earliest time in seconds since 1970.
        contains: a text within any field.
        limit: the number of entries, the newest first.
    """

    user: str = ""
    since: float = 0
    contains: str = ""
    limit: int = 200


NAMES = [field.name for field in fields(AuditEntry)]
TABLE = f"""
CREATE TABLE IF NOT EXISTS entries ({", ".join(NAMES)}, count INTEGER, PRIMARY KEY ({", ".join(NAMES)})) WITHOUT ROWID
"""
IDS = "CREATE TABLE IF NOT EXISTS lines (id TEXT UNIQUE)"
INSERT = f"INSERT INTO entries VALUES ({', '.join('?' * len(NAMES))}, 1) ON CONFLICT DO "
ANYWHERE = " || ' ' || ".join(NAMES[1:])


class AuditStore:
    """Entries in a file, which is created if it does not exist."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(TABLE)
            connection.execute(IDS)

    def add(self, entries: Iterable[AuditEntry]) -> None:
        """Add entries; equal ones of the same minute are counted."""
        with self._connection() as connection:
            for entry in entries:
                _count(connection, entry)

    def add_lines(self, lines: Iterable[DoorLine]) -> None:
        """Add the entries of lines, each once, although a line may arrive again."""
        with self._connection() as connection:
            for line in lines:
                known = connection.execute("INSERT OR IGNORE INTO lines VALUES (?)", (line.id,)).rowcount == 0
                if line.entry and not known:
                    _count(connection, line.entry)
            connection.execute("DELETE FROM lines WHERE rowid <= (SELECT max(rowid) FROM lines) - ?", (MOST_IDS,))

    def add_once(self, entries: Iterable[AuditEntry]) -> None:
        """Add those entries that are not in the file yet."""
        with self._connection() as connection:
            connection.executemany(INSERT + "NOTHING", [_row(entry) for entry in entries])

    def rows(self) -> Iterator[list[Any]]:
        """Yield the entries as lists of values, the oldest first, as they are at one time."""
        with self._connection() as connection:
            for row in connection.execute("SELECT * FROM entries ORDER BY time"):
                yield list(row)

    def delete(self, rows: Iterable[list[Any]]) -> None:
        """Delete entries that `rows` returned; one that was counted again since then stays."""
        equal = " AND ".join(f"{name} = ?" for name in [*NAMES, "count"])
        with self._connection() as connection:
            connection.executemany(f"DELETE FROM entries WHERE {equal}", rows)

    def merge(self, rows: Iterable[list[Any]]) -> None:
        """Add entries that `rows` of another file returned; of equal entries, the greater count stays."""
        greater = "UPDATE SET count = max(count, excluded.count)"
        with self._connection() as connection:
            connection.executemany(f"{INSERT.replace(', 1)', ', ?)')}{greater}", rows)

    def search(self, search: AuditSearch) -> list[dict[str, Any]]:
        """Return entries with their `count`, the newest first."""
        query = "SELECT * FROM entries WHERE time >= ?"
        values: list[Any] = [search.since]
        if search.user:
            query, values = f"{query} AND lower(user) = lower(?)", [*values, search.user]
        if search.contains:
            query, values = f"{query} AND instr(lower({ANYWHERE}), lower(?))", [*values, search.contains]
        with self._connection() as connection:
            rows = connection.execute(f"{query} ORDER BY time DESC LIMIT ?", [*values, search.limit]).fetchall()
        return [dict(zip([*NAMES, "count"], row, strict=True)) for row in rows]

    def forget(self, days: int, now: float | None = None) -> None:
        """Delete entries that are older than so many days, and the oldest ones beyond `MOST_ENTRIES`."""
        with self._connection() as connection:
            connection.execute("DELETE FROM entries WHERE time < ?", ((now or time.time()) - days * DAY,))
            (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
            if count > MOST_ENTRIES:
                oldest = "SELECT time FROM entries ORDER BY time LIMIT 1 OFFSET ?"
                connection.execute(f"DELETE FROM entries WHERE time < ({oldest})", (count - MOST_ENTRIES,))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=30)) as connection, connection:
            yield connection


def parsed_entry(content: dict[str, Any]) -> AuditEntry:
    """Return the entry of a JSON object.

    Raises:
        KeyError, TypeError: a member is missing or unknown.
    """
    texts = {name: str(value) for name, value in content.items() if name != "time"}
    return AuditEntry(int(content["time"]), **texts)


def _count(connection: sqlite3.Connection, entry: AuditEntry) -> None:
    (known,) = connection.execute("SELECT count(*) FROM entries WHERE time = ?", (entry.time,)).fetchone()
    counted = AuditEntry(entry.time, "", LEFT_OUT, "") if known > MOST_IN_A_MINUTE else entry
    connection.execute(INSERT + "UPDATE SET count = count + 1", _row(counted))


def _row(entry: AuditEntry) -> list[Any]:
    return [value[:LONGEST_TEXT] if isinstance(value, str) else value for value in astuple(entry)]
