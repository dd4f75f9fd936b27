"""Start the provider from the checkout that this file is in, independent of the working directory."""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])
PROGRAM = "airgap.stand_ins.command.resource_command.command_server"
runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
