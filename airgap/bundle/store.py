"""The bundle's cache: each built thing in a folder named after the hash of all that went into it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.file_lock import file_lock

RECORD = "entry.json"
KEY_LENGTH = 16


def key_of(parts: object) -> str:
    """The key of what is built from `parts`, any JSON value."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Item:
    """One thing that is built or is there already: a folder that appears whole or not at all."""

    kind: str
    name: str
    key: str
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / self.kind / f"{self.name}-{self.key}"

    @property
    def log(self) -> Path:
        return self.root / "logs" / f"{self.kind}-{self.name}.log"

    @property
    def there(self) -> bool:
        return (self.folder / RECORD).is_file()

    def record(self) -> dict[str, Any]:
        """What was written down when it was built."""
        record: dict[str, Any] = json.loads((self.folder / RECORD).read_text())
        return record

    @contextmanager
    def building(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A folder to build it in, and a record to fill; both are kept when the block ends well, else nothing is."""
        start = time.monotonic()
        record: dict[str, Any] = {"name": self.name, "key": self.key}
        with atomic_install(self.folder) as partial:
            yield partial, record
            record["seconds"] = round(time.monotonic() - start)
            (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")


@dataclass(frozen=True)
class Store:
    """The folder that holds everything of the bundle."""

    root: Path

    @classmethod
    def default(cls) -> Store:
        return cls(paths.cache_directory() / "bundle")

    def item(self, kind: str, name: str, parts: object) -> Item:
        return Item(kind, name, key_of(parts), self.root)

    def locked(self) -> AbstractContextManager[None]:
        """Let one bundle be built at a time."""
        return file_lock(self.root / "lock", "Another bundle is being built; waiting for its end.")

    def prune(self, wanted: set[Path], kinds: tuple[str, ...]) -> list[Path]:
        """Remove the folders of those kinds that are not wanted: of other versions, and what a kill left half built."""
        unwanted = [
            folder
            for kind in kinds
            if (self.root / kind).is_dir()
            for folder in (self.root / kind).iterdir()
            if folder not in wanted
        ]
        for folder in unwanted:
            shutil.rmtree(folder)
        return unwanted
