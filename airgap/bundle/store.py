"""The bundle's cache: each artifact is in a folder named after the hash of its inputs."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import defaultdict
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
SECONDS_OF_A_DAY = 86_400
VERSION = re.compile(rf"(?P<name>[^.].*)-[0-9a-f]{{{KEY_LENGTH}}}")
"""Name of the folder of a complete artifact."""
PARTIAL = ""
"""Name of all incomplete artifacts."""


def key_of(parts: object) -> str:
    """Return the key of an artifact that is built from `parts`, a JSON value."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A built or planned artifact; its folder appears complete or not at all."""

    kind: str
    name: str
    key: str
    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the artifact."""
        return self.root / self.kind / f"{self.name}-{self.key}"

    @property
    def log(self) -> Path:
        """The log of the build."""
        return self.root / "logs" / f"{self.kind}-{self.name}.log"

    @property
    def exists(self) -> bool:
        """True once the artifact is complete."""
        return (self.folder / RECORD).is_file()

    def record(self) -> dict[str, Any]:
        """Return the record of the build."""
        record: dict[str, Any] = json.loads((self.folder / RECORD).read_text())
        return record

    @contextmanager
    def building(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a folder to build in, and a record to fill; keep both only if the block succeeds."""
        start = time.monotonic()
        record: dict[str, Any] = {"name": self.name, "key": self.key}
        with atomic_install(self.folder) as partial:
            yield partial, record
            record["seconds"] = round(time.monotonic() - start)
            (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")


@dataclass(frozen=True)
class StoreRule:
    """Artifacts of other versions to keep: those used within a number of days, and the newest ones of each name."""

    days: float
    newest: int


@dataclass(frozen=True)
class Store:
    """The cache folder of the bundle."""

    root: Path

    @classmethod
    def default(cls) -> Store:
        """Return the store in the project's cache folder."""
        return cls(paths.cache_directory() / "bundle")

    def artifact(self, kind: str, name: str, parts: object) -> Artifact:
        """Return the artifact of a kind and name that is built from `parts`, a JSON value."""
        return Artifact(kind, name, key_of(parts), self.root)

    def locked(self) -> AbstractContextManager[None]:
        """Lock the store, so that one process builds at a time."""
        return file_lock(self.root / "lock", "Another process is building the bundle; waiting for it.")

    def outdated(self, wanted: set[Path], kinds: tuple[str, ...], rule: StoreRule, now: float) -> list[Path]:
        """Return the folders of the kinds that are neither wanted nor kept by the rule.

        A partial build of a killed process has no record -> its age is that of its folder.
        """
        outdated = []
        for kind in kinds:
            versions: defaultdict[str, list[tuple[float, Path]]] = defaultdict(list)
            for folder in sorted((self.root / kind).glob("*/")):
                if folder not in wanted:
                    complete = VERSION.fullmatch(folder.name)
                    used = (folder / RECORD if complete else folder).stat().st_mtime
                    versions[complete["name"] if complete else PARTIAL].append((used, folder))
            for name, others in versions.items():
                beyond = sorted(others, reverse=True)[0 if name == PARTIAL else rule.newest :]
                outdated += [folder for used, folder in beyond if now - used > rule.days * SECONDS_OF_A_DAY]
        return outdated
