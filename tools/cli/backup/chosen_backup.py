"""The backup that a command restores: its repository, its stack and its time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from settings.services.backup_settings import TARGET, TARGET_FORMS
from tools.cli.backup.backup import required_repository
from tools.cli.backup.errors import BackupError
from tools.cli.backup.restic_repository import BackupRepository, SavedStack
from tools.cli.backup.stack_state import stack_settings
from tools.cli.model_history import utc_time
from tools.cli.pulumi_command import Pulumi


def add_source_options(parser: argparse.ArgumentParser, stack: str) -> None:
    """Add the options that choose a backup; without them, it is the newest one of `stack`."""
    parser.add_argument("--from", dest="source", default=stack, help="a stack, or the address of its backups")
    parser.add_argument("--of", help="stack whose backup is restored, if FROM is an address; default: STACK")
    parser.add_argument("--identity", help="identity of the stack, if the address has several of this name")
    add_time_option(parser)


def add_time_option(parser: argparse.ArgumentParser) -> None:
    """Add the option with the time of a backup."""
    parser.add_argument(
        "--at", type=utc_time, help="take the newest backup that is not later than this minute (UTC): 2026-11-28T20:15"
    )


def chosen_repository(pulumi: Pulumi, options: argparse.Namespace) -> tuple[BackupRepository, SavedStack]:
    """Return the repository that FROM names, and the stack whose backup is restored.

    FROM is a stack of this checkout, or an address whose password is in RESTIC_PASSWORD.

    Raises:
        BackupError: FROM is neither, its password is missing, or no backup has the identity of the options.
    """
    repository, original = _named_repository(pulumi, options)
    if options.identity:
        _require_identity(repository, original)
    return repository, original


def backup_list(repository: BackupRepository, name: str) -> Iterator[str]:
    """Yield a line for each backup of the stacks with a name, the oldest first: its time, part and identity.

    Raises:
        BackupError: the repository cannot be read, or it has none.
    """
    found = repository.snapshots(name)
    if not found:
        raise BackupError(f"{repository.address} has no backups of stack {name}")
    for each in found:
        yield f"{each.time:%Y-%m-%dT%H:%M}  {each.part:5}  identity {each.identity}"


def _named_repository(pulumi: Pulumi, options: argparse.Namespace) -> tuple[BackupRepository, SavedStack]:
    source: str = options.source
    if not TARGET.fullmatch(source):
        if ":" in source:
            raise BackupError(f"FROM={source} is neither a stack nor an address: write a stack, {TARGET_FORMS}")
        settings, name = stack_settings(Pulumi(source)), Pulumi(source).name
        known = settings.platform.backup_identity if options.of in (None, name) else None
        original = SavedStack(options.of or name, options.identity or known)
        return required_repository(source, settings), original
    if not os.environ.keys() & {"RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE"}:
        raise BackupError(
            f"FROM={source} is an address: set RESTIC_PASSWORD to its password (platform:backup.password)"
        )
    return BackupRepository(source, {}), SavedStack(options.of or pulumi.name, options.identity)


def _require_identity(repository: BackupRepository, original: SavedStack) -> None:
    """Require backups with the identity of the option: other commands also take those without an identity."""
    known = repository.identities(original.name)
    if known and original.identity not in known:
        raise BackupError(
            f"--identity {original.identity}: {repository.address} has backups of {original.name} with these "
            f"identities: {', '.join(sorted(known))}; write one of them"
        )
