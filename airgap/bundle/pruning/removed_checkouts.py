"""Deletion of the Python environments of checkouts that no longer exist."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from tools.bootstrap import paths
from tools.bootstrap.console import log_message
from tools.bootstrap.environment import STAMP


def prune_environments(*, dry_run: bool) -> list[Path]:
    """Remove the environments of removed checkouts, unless a process uses them; return and log their folders.

    A model server of `dev` runs on after its checkout is moved, until the next `up`.
    """
    running = _programs_and_arguments()
    removed = [
        stamp.parent
        for stamp in sorted((paths.cache_directory() / "venvs").glob(f"*/{STAMP}"))
        if not Path(stamp.read_text().partition("\n")[0]).exists()
        and not any(str(folder) in running for folder in (stamp.parent, stamp.parent.resolve()))
    ]
    for folder in removed:
        log_message(f"venvs/{folder.name}")
        if not dry_run:
            shutil.rmtree(folder)
    log_message(f"{len(removed)} environments of removed checkouts {'would be ' if dry_run else ''}removed.")
    return removed


def _programs_and_arguments() -> str:
    """Return the program files and arguments of all processes of this user, as one text."""
    texts = []
    for process in psutil.process_iter():
        try:
            texts += [process.exe(), *process.cmdline()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return "\n".join(texts)
