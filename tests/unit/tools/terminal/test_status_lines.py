"""Lines below Pulumi's tree, on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.resource_status import STATUS_VARIABLE, show_status_lines
from tests.waiting import until
from tools.cli.terminal.status_lines import LINES, status_lines


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Yield the two ends of a terminal of 24 rows and 40 columns: that of the person, and that of the program."""
    person, program = pty.openpty()
    termios.tcsetwinsize(program, (24, 40))
    yield person, program
    os.close(person)
    os.close(program)


def rows(terminal: int) -> int:
    return termios.tcgetwinsize(terminal)[0]


def test_lines_are_below_the_terminal_of_the_program_until_the_end(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    person, program = terminal
    seen = ""

    def shown(text: str) -> bool:
        nonlocal seen
        seen += os.read(person, 10_000).decode()
        return text in seen

    with status_lines(program) as variables:
        assert rows(program) == 24 - LINES
        monkeypatch.setenv(STATUS_VARIABLE, variables[STATUS_VARIABLE])
        show_status_lines("urn:run", ["iris train: 3 s of about 8 s", "iris " + 50 * "x"])
        until(lambda: shown(f"\033[22;1H\033[2Kiris {34 * 'x'}\033[23;1H"), what="the second line")
        assert "\033[1;20r" in seen
        assert "\033[21;1H\033[2Kiris train: 3 s of about 8 s" in seen
        show_status_lines("urn:other", [f"other step-{number}: 0 s" for number in range(3)])
        until(lambda: shown("\033[24;1H\033[2K2 more steps\0338"), what="the number of further steps")
        termios.tcsetwinsize(person, (30, 40))  # the person makes the window larger
        os.kill(os.getpid(), signal.SIGWINCH)
        until(lambda: rows(program) == 30 - LINES, what="the new size")
    assert rows(program) == 30
    until(lambda: shown("\033[r\0338"), what="the whole terminal")
    assert seen.endswith("\033[r\0338")


@pytest.mark.parametrize("size", [(0, 0), (10, 80)])
def test_terminal_that_is_small_or_of_unknown_size_has_no_lines(
    size: tuple[int, int], terminal: tuple[int, int]
) -> None:
    _, program = terminal
    termios.tcsetwinsize(program, size)
    with status_lines(program) as variables:
        assert variables == {}
        assert rows(program) == size[0]


def test_file_has_no_lines(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, status_lines(log.fileno()) as variables:
        assert variables == {}
