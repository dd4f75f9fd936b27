"""Identity of a stack, which its snapshots have: the stacks of two persons may have one name and one target."""

from __future__ import annotations

import secrets

from settings.stack import StackSettings
from tools.cli.backup.errors import BackupError
from tools.cli.backup.restic_repository import NO_IDENTITY, BackupRepository, SavedStack
from tools.cli.pulumi_command import Pulumi

SETTING = "platform:backup_identity"


def saved_stack(pulumi: Pulumi, settings: StackSettings, repository: BackupRepository) -> SavedStack:
    """Return a stack with its identity; the first backup makes one and writes it to the settings.

    Raises:
        BackupError: the stack has no identity, and another one with its name has.
    """
    identity = settings.platform.backup_identity
    if identity is None:
        if others := sorted(repository.identities(pulumi.name) - {NO_IDENTITY}):
            raise BackupError(
                f"{repository.address} has backups of a stack with the name {pulumi.name} already, with the identity "
                f"{' or '.join(others)}. If they are those of this stack, run `pulumi config set {SETTING} {others[0]} "
                f"--stack {pulumi.stack}`. If they are not, set any other name in the same way"
            )
        identity = f"id-{secrets.token_hex(8)}"
        pulumi.output("config", "set", SETTING, identity)
    return SavedStack(pulumi.name, identity)
