"""The entry point of the plugin's process."""

from __future__ import annotations

import os

from airgap.stand_ins.command.resource_command.command_provider import CommandProvider
from airgap.stand_ins.command.resource_command.engine import EngineClient
from airgap.stand_ins.command.resource_command.operation import Operations
from airgap.stand_ins.protocol.plugin_process import engine_address, serve

_THREADS = 1024
"""Threads of the server: a running command holds a thread, and a cancel request needs a free one."""


def main() -> None:
    """Serve the provider until the engine exits; kill all running commands then."""
    operations = Operations()
    serve(CommandProvider(EngineClient(engine_address()), operations), _THREADS, on_exit=operations.cancel)
    os._exit(0)  # a blocked thread would keep the process alive


if __name__ == "__main__":
    main()
