"""Start the provider from the checkout that this file is in, independent of the working directory."""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])
runpy.run_module(
    "airgap.stand_ins.azure_native.resource_azure_native.azure_server", run_name="__main__", alter_sys=True
)
