"""Live lines of long steps, and the times that the next run expects."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.bundle import progress
from airgap.bundle.durations import computer_durations, format_duration
from airgap.bundle.progress import Progress
from tests.waiting import until


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Yield the two ends of a terminal: that of the person, and that of the program."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def test_terminal_line_shows_activity_and_expected_time_until_the_result(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    person, program = terminal
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.01)
    computer_durations().record({"image etcd": 200})
    seen = ""

    def shown(text: str) -> bool:
        nonlocal seen
        seen += os.read(person, 1000).decode()
        return text in seen

    with os.fdopen(os.dup(program), "w") as output, Progress("[1/2] etcd", "image etcd", output) as step:
        step.show("compiling")
        until(lambda: shown("\r\033[K[1/2] etcd: compiling (0 s of about 3 min 20 s)"), what="the line")
        until(lambda: seen.count("compiling") > 2 or shown("\0"), what="a refreshed line")
        step.done("built")
        until(lambda: shown("\r\033[K[1/2] etcd: built, 0 s\r\n"), what="the result")


def test_line_in_a_pipe_is_plain_and_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    with Progress("etcd", "image etcd", output) as step:
        step.show("compiling")
        step.done("built")
    assert output.getvalue() == "etcd: built, 0 s\n"
    monkeypatch.setattr(progress, "LOG_INTERVAL_SECONDS", 0)
    with Progress("etcd", "image etcd", output) as step:
        step.show("linking")
    assert output.getvalue().endswith("\netcd: linking (0 s)\n")


def test_duration_is_recorded_by_success_only(cache: Path) -> None:
    with pytest.raises(OSError, match="no disk"), Progress("etcd", "image etcd", io.StringIO()):
        raise OSError("no disk")
    with Progress("a test", "a test", io.StringIO()) as step:
        step.done("failed", succeeded=False)
    durations = computer_durations()
    assert (durations.expected("image etcd"), durations.expected("a test")) == (None, None)
    durations.file.write_text("{")
    durations.record({"image etcd": 61.04})
    durations.record({"pause": 3})
    assert (durations.expected("image etcd"), durations.expected("pause")) == (61.0, 3)
    assert list(cache.iterdir()) == [durations.file]
    assert [format_duration(seconds) for seconds in (0.4, 59.4, 59.6, 182)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 02 s",
    ]
