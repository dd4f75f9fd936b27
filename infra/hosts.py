"""Existing machines of the user, reached over SSH."""

from __future__ import annotations

from pathlib import Path

import pulumi

from infra.machine import Bastion, Machine
from settings.infra import HostsSettings


def hosts(settings: HostsSettings) -> list[Machine]:
    """Return the machines of the settings. They exist already, so this creates no resources.

    Raises:
        RunError: the file of the private key does not exist.
    """
    key = _private_key(settings)
    bastion = None
    if (jump := settings.bastion) is not None:
        bastion = Bastion(jump.address, jump.user or settings.user, key, jump.host_key, jump.port)
    return [
        Machine(
            name=host.name,
            role=host.role,
            public_address=host.address,
            private_address=host.private_address or host.address,
            user=settings.user,
            key=key,
            host_key=host.host_key,
            port=host.port,
            bastion=bastion,
        )
        for host in settings.machines
    ]


def _private_key(settings: HostsSettings) -> pulumi.Output[str]:
    if settings.private_key:
        return pulumi.Output.secret(settings.private_key.get_secret_value())
    file = Path(str(settings.private_key_file)).expanduser()
    if not file.is_file():
        raise pulumi.RunError(f"infra:hosts.private_key_file: the file {file} does not exist")
    return pulumi.Output.secret(file.read_text())
