"""The stack of a drill or a rehearsal: what it may remove, and what it refuses."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from infra.errors import UserError
from tools.cli.pulumi_command import Pulumi
from tools.cli.rehearsal import temporary_lab, temporary_stack
from tools.cli.rehearsal.temporary_lab import write_settings

NAME = "dev-drill"


class Computer:
    """A project folder, a cache folder, and a backend with the names of its stacks."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / f"Pulumi.{NAME}.yaml"
        self.own_config = folder / ".stacks" / self.file.name
        self.data = folder / "cache" / "stacks" / NAME
        self.stacks: set[str] = set()
        self.destroyed: list[str] = []
        self.destroy_code = 0

    def output(self, pulumi: Pulumi, *command: str, stdin: str | None = None) -> str:
        if command == ("stack", "select", "--create"):
            self.stacks.add(pulumi.name)
        elif command == ("stack", "rm", "--yes"):
            self.stacks.remove(pulumi.name)
        return "{}"

    def execute(self, pulumi: Pulumi, *command: str) -> subprocess.CompletedProcess[str]:
        assert command == ("stack", "select")
        return subprocess.CompletedProcess(command, 0 if pulumi.name in self.stacks else 255)

    def down(self, pulumi: Pulumi) -> int:
        self.destroyed.append(pulumi.name)
        return self.destroy_code

    @property
    def is_clean(self) -> bool:
        return not (self.stacks or self.file.exists() or self.data.exists())


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    found = Computer(tmp_path)
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    for module in (temporary_lab, temporary_stack):
        monkeypatch.setattr(module, "PROJECT", tmp_path, raising=False)
    monkeypatch.setattr(Pulumi, "output", lambda *words, **options: found.output(*words, **options))
    monkeypatch.setattr(Pulumi, "execute", lambda *words: found.execute(*words))
    return found


def kill_one(computer: Computer) -> None:
    """Interrupt a drill when its stack is up, and once more when it removes the stack."""

    def interrupted(_stack: Pulumi) -> int:
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt), temporary_stack.temporary_stack(NAME, interrupted) as stack:
        computer.data.mkdir(parents=True)
        write_settings(stack, {"infra:cluster": "none"}, frozenset())
    assert computer.stacks == {NAME}


def write(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("config: {serving:port: 6005}\n")


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (lambda computer: write(computer.file), r"Pulumi\.dev-drill\.yaml"),
        (lambda computer: write(computer.own_config), r"\.stacks/Pulumi\.dev-drill\.yaml"),
        (lambda computer: computer.data.mkdir(parents=True), "stacks/dev-drill"),
        (lambda computer: computer.stacks.add(NAME), "a state of the stack dev-drill"),
    ],
    ids=["settings", "values", "data", "state"],
)
def test_stack_of_a_person_with_the_same_name_is_refused_and_kept(
    computer: Computer, present: Callable[[Computer], None], message: str
) -> None:
    present(computer)
    with pytest.raises(UserError, match=message), temporary_stack.temporary_stack(NAME, computer.down):
        pass
    assert computer.destroyed == []
    kept = [computer.own_config.exists(), computer.data.exists(), NAME in computer.stacks]
    assert [*kept, computer.file.exists() and "6005" in computer.file.read_text()].count(True) == 1


def test_stack_that_a_killed_command_left_is_removed_first(computer: Computer) -> None:
    kill_one(computer)
    with temporary_stack.temporary_stack(NAME, computer.down):
        assert computer.destroyed == [NAME]
        assert not computer.data.exists()
    assert computer.destroyed == [NAME, NAME]
    assert computer.is_clean


def test_stack_that_cannot_be_destroyed_stays_for_the_next_command(computer: Computer) -> None:
    kill_one(computer)
    computer.destroy_code = 1
    with pytest.raises(UserError, match="dev-drill of an earlier command could not be removed"):
        temporary_stack.temporary_stack(NAME, computer.down).__enter__()
    assert computer.data.exists()
    computer.destroy_code = 0
    with temporary_stack.temporary_stack(NAME, computer.down):
        computer.data.mkdir(parents=True)
        computer.destroy_code = 1
    assert computer.data.exists()
    computer.destroy_code = 0
    with temporary_stack.temporary_stack(NAME, computer.down):
        pass
    assert computer.is_clean


def test_settings_that_cannot_be_written_leave_the_mark(computer: Computer) -> None:
    """A stack without the mark would be that of a person, and no later drill could begin."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with temporary_stack.temporary_stack(NAME, computer.down) as stack:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk: files can be opened, not written
        try:
            with pytest.raises(OSError, match="File too large"):
                write_settings(stack, {"infra:cluster": "none"}, frozenset())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert computer.file.read_text().startswith(temporary_stack.MARK)
        assert list(computer.file.parent.glob(f".{computer.file.name}*")) == []


def test_second_drill_of_a_stack_at_the_same_time_is_refused(computer: Computer) -> None:
    """The second one would take the stack of the first for one that a killed command left."""
    with temporary_stack.temporary_stack(NAME, computer.down):
        with pytest.raises(UserError, match="another command uses the temporary stack dev-drill"):
            temporary_stack.temporary_stack(NAME, computer.down).__enter__()
        assert computer.destroyed == []
