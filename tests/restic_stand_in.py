#!/usr/bin/env python3
"""Stand-in for restic, which the machine of a test may lack: snapshots are folders, and the password is in clear."""

import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

REPOSITORY = Path(os.environ.get("RESTIC_REPOSITORY", "."))
PASSWORD = REPOSITORY / "password"
STALE_LOCK = REPOSITORY / "stale-lock"
LIVE_LOCK = REPOSITORY / "live-lock"
"""File with the number of commands that another restic still lets fail."""
LOCKED = "Fatal: unable to create lock in backend: repository is already locked by PID 1 on host by root"


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def options(name: str) -> list[str]:
    return [value for word, value in pairwise(sys.argv) if word == name]


def snapshots() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(REPOSITORY.glob("*/snapshot.json"))]


def save() -> None:
    folder = REPOSITORY / f"{time.time_ns():020}"
    content = folder / "content"
    if "--stdin" in sys.argv:
        content.mkdir(parents=True)
        (content / option("--stdin-filename")).write_text(sys.stdin.read())
    else:
        shutil.copytree(".", content)
    snapshot = {"time": datetime.now(UTC).isoformat(), "hostname": option("--host"), "tags": options("--tag")}
    (folder / "snapshot.json").write_text(json.dumps(snapshot | {"id": folder.name}))
    files = [file.stat().st_size for file in content.rglob("*") if file.is_file()]
    print(json.dumps({"total_files_processed": len(files), "total_bytes_processed": sum(files), "data_added": 0}))


def forget() -> None:
    """Delete all snapshots of the host with the tag, except the newest ones of each part."""
    (REPOSITORY / "forgotten").write_text(" ".join(sys.argv[2:]))
    (keep,) = (int(word.removeprefix("--keep-last=")) for word in sys.argv if word.startswith("--keep-last="))
    groups: dict[tuple[str, ...], list[str]] = {}
    for each in snapshots():
        if each["hostname"] == option("--host") and option("--tag") in each["tags"]:
            groups.setdefault(tuple(each["tags"]), []).append(each["id"])
    for name in [name for group in groups.values() for name in group[:-keep]]:
        shutil.rmtree(REPOSITORY / name)


def is_locked(command: str) -> bool:
    """Return True if another restic uses the repository; `forget` also fails with the lock of a killed one."""
    if LIVE_LOCK.exists() and (left := int(LIVE_LOCK.read_text())):
        LIVE_LOCK.write_text(str(left - 1))
        return True
    return command == "forget" and STALE_LOCK.exists()


def main() -> None:
    command = sys.argv[1]
    if command == "version":
        print("restic 0.14.0 (stand-in)")
    elif command == "init":
        REPOSITORY.mkdir(parents=True, exist_ok=True)
        PASSWORD.write_text(os.environ["RESTIC_PASSWORD"])
        (REPOSITORY / "config").write_text(json.dumps({"version": 2, "id": os.urandom(16).hex()}))
    elif not PASSWORD.exists():
        sys.exit(
            "Fatal: unable to open config file: stat config: no such file or directory\n"
            "Is there a repository at the following location?"
        )
    elif PASSWORD.read_text() != os.environ["RESTIC_PASSWORD"]:
        sys.exit("Fatal: wrong password or no key found")
    elif command == "unlock":
        STALE_LOCK.unlink(missing_ok=True)
    elif is_locked(command):
        sys.exit(LOCKED)
    elif command == "cat":
        print((REPOSITORY / "config").read_text())
    elif command == "backup":
        save()
    elif command == "snapshots":
        print(json.dumps(snapshots()))
    elif command == "restore":
        shutil.copytree(REPOSITORY / sys.argv[2] / "content", option("--target"), dirs_exist_ok=True)
    elif command == "dump":
        print((REPOSITORY / sys.argv[2] / "content" / sys.argv[3]).read_text())
    elif command == "forget":
        forget()


main()
