"""Output of commands in a pipe."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import subprocess
from tools.cli.terminal.pipe_output import tolerate_lost_readers
tolerate_lost_readers()
print("first")
subprocess.run(["echo", "second"])
print("third")
"""


def test_lines_in_a_pipe_are_in_the_order_in_which_programs_write_them() -> None:
    written = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert written.split() == ["first", "second", "third"]
