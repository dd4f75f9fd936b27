"""The entry point of the plugin's process."""

from __future__ import annotations

from airgap.stand_ins.azure_native.resource_azure_native.azure_provider import PreviewProvider
from airgap.stand_ins.protocol.plugin_process import engine_address, serve

if __name__ == "__main__":
    # Calls are short and load modules of the SDK -> one thread, no locks.
    serve(PreviewProvider(engine_address()), threads=1)
