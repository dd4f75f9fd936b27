"""The SDK's provider of dynamic resources, with an exit when the CLI exits."""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path


def exit_at_end_of_input() -> None:
    """Exit when the CLI exits, also by `kill -9`: standard input is a pipe from the CLI.

    Otherwise an operation of a killed CLI would continue beside the next command.
    """
    while os.read(0, 4096):
        pass
    os._exit(1)


threading.Thread(target=exit_at_end_of_input, daemon=True).start()
sys.path[0] = str(Path.cwd())  # as with `python -m`: providers may be defined beside the program
runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
