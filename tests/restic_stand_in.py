#!/usr/bin/env python3
"""Stand-in for restic, which the machine of a test may lack: snapshots are folders, and the password is in clear."""

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(os.environ.get("RESTIC_REPOSITORY", "."))
PASSWORD = REPOSITORY / "password"
STALE_LOCK = REPOSITORY / "stale-lock"


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def save() -> None:
    folder = REPOSITORY / f"{len(list(REPOSITORY.glob('*/'))):08}"
    content = folder / "content"
    if "--stdin" in sys.argv:
        content.mkdir(parents=True)
        (content / option("--stdin-filename")).write_text(sys.stdin.read())
    else:
        shutil.copytree(".", content)
    snapshot = {"time": datetime.now(UTC).isoformat(), "hostname": option("--host"), "tags": [option("--tag")]}
    (folder / "snapshot.json").write_text(json.dumps(snapshot | {"id": folder.name}))
    files = [file.stat().st_size for file in content.rglob("*") if file.is_file()]
    print(json.dumps({"total_files_processed": len(files), "total_bytes_processed": sum(files), "data_added": 0}))


def main() -> None:
    command = sys.argv[1]
    if command == "version":
        print("restic 0.14.0 (stand-in)")
    elif command == "init":
        REPOSITORY.mkdir(parents=True, exist_ok=True)
        PASSWORD.write_text(os.environ["RESTIC_PASSWORD"])
    elif not PASSWORD.exists():
        sys.exit(
            "Fatal: unable to open config file: stat config: no such file or directory\n"
            "Is there a repository at the following location?"
        )
    elif PASSWORD.read_text() != os.environ["RESTIC_PASSWORD"]:
        sys.exit("Fatal: wrong password or no key found")
    elif command == "backup":
        save()
    elif command == "snapshots":
        print(json.dumps([json.loads(file.read_text()) for file in sorted(REPOSITORY.glob("*/snapshot.json"))]))
    elif command == "restore":
        shutil.copytree(REPOSITORY / sys.argv[2] / "content", option("--target"), dirs_exist_ok=True)
    elif command == "dump":
        print((REPOSITORY / sys.argv[2] / "content" / sys.argv[3]).read_text())
    elif command == "unlock":
        STALE_LOCK.unlink(missing_ok=True)
    elif command == "forget" and STALE_LOCK.exists():
        sys.exit("Fatal: unable to create lock in backend: repository is already locked by PID 1 on host by root")
    elif command == "forget":
        (REPOSITORY / "forgotten").write_text(" ".join(sys.argv[2:]))


main()
