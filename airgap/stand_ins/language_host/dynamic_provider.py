"""The SDK's provider of dynamic resources, ended with the CLI even when that was killed."""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path


def exit_at_end_of_input() -> None:
    """Standard input is a pipe from the CLI. What a killed CLI had begun must not go on beside the next one's work."""
    while os.read(0, 4096):
        pass
    os._exit(1)


threading.Thread(target=exit_at_end_of_input, daemon=True).start()
sys.path[0] = str(Path.cwd())  # as `python -m` has it: providers may live beside the program
runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
