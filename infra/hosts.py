"""Your own machines, over SSH."""

from __future__ import annotations

from pathlib import Path

import pulumi

from infra.machine import Bastion, Machine
from settings.infra import HostsSettings


def hosts(settings: HostsSettings) -> list[Machine]:
    """The machines of the settings, as they are: nothing here makes or deletes them.

    Raises:
        RunError: the file of the private key is not there.
    """
    key = _private_key(settings)
    bastion = None
    if given := settings.bastion:
        bastion = Bastion(given.address, given.user or settings.user, key, given.host_key, given.port)
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
        raise pulumi.RunError(f"infra:hosts.private_key_file: there is no file {file}")
    return pulumi.Output.secret(file.read_text())
