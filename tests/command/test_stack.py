"""A stack of local and remote commands and copies, with the real CLI and SDK, from preview to destroy."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import until

from .sshd import Sshd
from .stack import Stack, search_path
from .waiting import runs

pytestmark = pytest.mark.skipif(
    shutil.which("pulumi", path=search_path()) is None, reason="no Pulumi CLI here: `make tools` brings one"
)


class Program:
    """A stack of program.py. Its commands write files to `folder`; most of them contain the word."""

    secret = "s3cret-value"

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        self.folder = folder / "made"
        self.folder.mkdir()
        connection = sshd.connection(dialErrorLimit=None, perDialTimeout=None)
        names = {"privateKey": "private_key", "hostKey": "host_key"}
        self.parameters = {
            "folder": str(self.folder),
            "secret": self.secret,
            "connection": {names.get(name, name): value for name, value in connection.items()},
        }
        self.stack = Stack(folder, Path(__file__).with_name("program.py").read_text())
        (self.stack.project / "tree").mkdir()
        (self.stack.project / "tree/leaf").write_text("leaf")
        self.set_word("one")

    def set_word(self, word: str) -> None:
        self.stack.environment["PARAMETERS"] = json.dumps(self.parameters | {"word": word})


@pytest.fixture
def program(tmp_path: Path, sshd: Sshd) -> Program:
    return Program(tmp_path, sshd)


@dataclass(frozen=True)
class Created:
    """A stack after its first `up`, which the tests leave as it is, and the output of the command."""

    program: Program
    output: str


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Created:
    program = Program(tmp_path_factory.mktemp("program"), sshd)
    return Created(program, program.stack.up())


def test_first_preview_plans_all_resources_and_runs_no_command(program: Program) -> None:
    preview = json.loads(program.stack.run("preview", "--json"))
    assert preview["changeSummary"] == {"create": 10}
    assert list(program.folder.iterdir()) == []


def test_up_runs_all_commands(created: Created) -> None:
    program = created.program
    files = [path for path in program.folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(program.folder)): path.read_text() for path in files} == {
        "plain": "line\n",
        "made": "one\n",
        "there": "one\n",
        "copied/text": "one",
        "copied/tree/leaf": "leaf",
    }
    outputs = program.stack.outputs()
    assert outputs.pop("triggered").isdigit()
    assert outputs == {"hidden": program.secret, "updated": "created", "there": "there one", "ran": "one"}
    assert "there one" in created.output  # logged while it ran
    assert program.secret not in created.output


def test_state_encrypts_secrets(created: Created) -> None:
    program = created.program
    stored = "\n".join(path.read_text() for path in (program.stack.folder / "state").rglob("*.json*"))
    assert program.secret not in stored
    assert "PRIVATE KEY" not in stored
    outputs = {name: resource["outputs"] for name, resource in program.stack.state().items() if "outputs" in resource}
    # Secret inputs are secret outputs; a command's output is secret only if the program says so.
    assert "ciphertext" in outputs["hidden"]["stdin"]
    assert "ciphertext" in outputs["hidden"]["stdout"]
    assert outputs["hidden"]["stderr"] == "err"
    assert "ciphertext" in outputs["there"]["connection"]
    assert outputs["there"]["stdout"] == "there one"


def test_up_without_changes_changes_nothing(created: Created) -> None:
    created.program.stack.up("--refresh", "--expect-no-changes")


def test_up_changed_word_updates_and_replaces_dependents(program: Program) -> None:
    program.stack.up()
    before = program.stack.state()["triggered"]["outputs"]["stdout"]
    program.set_word("two")
    output = program.stack.up()
    assert set(re.findall(r"command:\w+:\w+ (\w+) updated", output)) == {
        "plain",
        "updated",
        "files",
        "there",
        "text",
        "made",
    }
    assert set(re.findall(r"command:\w+:\w+ (\w+) replaced", output)) == {"triggered"}
    after = program.stack.outputs()
    assert after["updated"] == "updated from created"
    assert after["triggered"] != before
    assert (after["hidden"], after["there"], after["ran"]) == (program.secret, "there two", "two")
    assert (program.folder / "copied/text").read_text() == "two"
    assert (program.folder / "there").read_text() == "two\n"


def test_destroy_runs_the_delete_commands(program: Program) -> None:
    program.stack.up()
    assert (program.folder / "plain").exists()
    program.stack.run("destroy", "--yes", "--skip-preview")
    assert not (program.folder / "plain").exists()
    assert (program.folder / "copied/text").exists()
    assert program.stack.state() == {}


WAITING = """
from pulumi_command import local
local.Command("waits", create="sleep 600 & echo $! $$ > pids.new; mv pids.new pids; wait", dir={folder!r})
"""


def test_cli_interrupted_or_killed_ends_its_commands(tmp_path: Path) -> None:
    stack = Stack(tmp_path, WAITING.format(folder=str(tmp_path)))
    pids = tmp_path / "pids"
    for ending in (signal.SIGINT, signal.SIGKILL):
        with stack.start("up", "--yes", "--skip-preview") as process:
            until(pids.exists)
            process.send_signal(ending)
            started = [int(pid) for pid in pids.read_text().split()]
            until(lambda pids=started: not any(runs(pid) for pid in pids))  # type: ignore[misc]
            output = process.communicate(timeout=30)[0]
        assert ending == signal.SIGKILL or 'cancelled: running "sleep 600' in output, output
        pids.unlink()
