"""Remote commands on a real SSH server: one case for each documented behaviour."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from airgap.stand_ins.protocol.property_values import UNKNOWN, Properties, Secret
from tests.waiting import until

from .case import Case
from .plugin import REMOTE, Plugin, Refused
from .sshd import USER, Sshd
from .waiting import runs

RAN = {"stdout": "old out", "stderr": "old err"}
BOTH = 'echo "$PULUMI_COMMAND_STDOUT|$PULUMI_COMMAND_STDERR"'
ECHO = "echo out; echo err >&2"

CASES = [
    Case("create runs as the user", {"create": "id -un; echo err >&2"}, USER, "err"),
    Case("a resource without commands does not even connect", {"connection": {"host": "no.such.host.invalid"}}),
    Case("only one line end is cut off the output", {"create": "printf 'a\\n\\n'"}, "a\n"),
    Case(
        "much output comes whole",
        {"create": "head -c 5000000 /dev/zero | tr '\\0' x", "logging": "none"},
        "x" * 5000000,
    ),
    Case("stdin is passed", {"create": "wc -c", "stdin": "x" * 3_000_000}, "3000000"),
    Case("without stdin there is nothing to read", {"create": "cat"}),
    Case("a command need not read stdin", {"create": "exit 0", "stdin": "x" * 3_000_000}),
    Case("environment is set", {"create": "echo $GREETING", "environment": {"GREETING": "a b"}}, "a b"),
    Case("update runs on update", {"create": "echo c", "update": "echo u"}, "u", state={"create": "echo c", **RAN}),
    Case("create runs on update where update is unset", {"create": "echo c"}, "c", state={"create": "echo b", **RAN}),
    Case("without both, an update keeps the output", {"delete": "true"}, "old out", "old err", state={**RAN}),
    Case(
        "an update gets the output before it, as far as the server lets it",
        {"update": BOTH},
        "old out|",
        state={**RAN},
        logged=[
            "Unable to set 'PULUMI_COMMAND_STDERR'. This only works if your SSH server is configured to accept these"
            " variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on the remote host, you"
            " could prefix the command itself with the variables in the form 'VAR=value command'",
            "old out|",
        ],
    ),
    Case("an update gets no output that SSH cannot take", {"update": BOTH}, "|", state={"stdout": "x" * 300_000}),
    Case(
        "addPreviousOutputInEnv false keeps it away",
        {"update": BOTH, "addPreviousOutputInEnv": False},
        "|",
        state={**RAN},
        logged=["|"],
    ),
    Case(
        "both streams are logged", {"create": "echo out; sleep .1; echo err >&2"}, "out", "err", logged=["out", "err"]
    ),
    Case("logging none", {"create": ECHO, "logging": "none"}, "out", "err", logged=[]),
    Case("logging stdout", {"create": ECHO, "logging": "stdout"}, "out", "err", logged=["out"]),
    Case("logging stderr", {"create": ECHO, "logging": "stderr"}, "out", "err", logged=["err"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_remote_command_returns_the_documented_outputs(case: Case, plugin: Plugin, sshd: Sshd) -> None:
    name = "remote-" + case.behaviour.replace(" ", "-")
    inputs: Properties = {"connection": Secret(sshd.connection()), **case.inputs}
    if case.state is None:
        outputs = plugin.create(REMOTE, inputs, name)
        assert len(str(outputs.pop("id"))) == len(name) + 8
    else:
        outputs = plugin.update(REMOTE, {**inputs, **case.state}, inputs, name)
    assert outputs == {**inputs, "stdout": case.stdout, "stderr": case.stderr}
    if case.logged is not None:
        assert plugin.engine.lines(name) == case.logged


ERRORS: dict[str, tuple[Properties, str]] = {
    "an exit code, the command and its output": (
        {"create": "echo out; sleep .1; echo err >&2; exit 3"},
        'UNKNOWN: Process exited with status 3: running "echo out; sleep .1; echo err >&2; exit 3":\nout\nerr\n',
    ),
    "a signal": (
        {"create": "echo out; kill -9 $$"},
        'UNKNOWN: the command was killed by a signal: running "echo out; kill -9 $$":\nout\n',
    ),
    "a secret command is not shown": (
        {"create": Secret("exit 1 # s3cret")},
        "UNKNOWN: Process exited with status 1: running [secret]:\n",
    ),
    "a command that is too long": (
        {"create": "#" * 300_000},
        "UNKNOWN: the command has more than 261120 bytes, the most that SSH takes; stdin has no such limit",
    ),
    "a variable that the server refuses": (
        {"create": "true", "environment": {"REFUSED": "x"}},
        'UNKNOWN: could not set environment variable "REFUSED": ssh: setenv failed',
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_remote_command_failure_has_the_expected_message(name: str, plugin: Plugin, sshd: Sshd) -> None:
    inputs, message = ERRORS[name]
    with pytest.raises(Refused) as caught:
        plugin.create(REMOTE, {"connection": sshd.connection(), **inputs})
    assert str(caught.value) == message


def test_delete_gets_inputs_and_output_of_the_state(plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    command = f'echo "$GREETING $(cat) $PULUMI_COMMAND_STDOUT" > {tmp_path}/deleted'
    state: Properties = {
        "delete": command,
        "environment": {"GREETING": "a"},
        "stdin": "in",
        "stdout": "out",
        "stderr": "",
    }
    plugin.delete(REMOTE, {"connection": Secret(sshd.connection()), **state})
    assert (tmp_path / "deleted").read_text() == "a in out\n"
    plugin.delete(REMOTE, {"connection": {"host": "no.such.host.invalid"}, **RAN})  # nothing to run


def test_preview_opens_no_connection(plugin: Plugin) -> None:
    inputs: Properties = {"connection": Secret({"host": UNKNOWN}), "create": "false"}
    outputs = plugin.create(REMOTE, inputs, preview=True)
    assert (outputs["stdout"], outputs["stderr"], outputs["connection"]) == (UNKNOWN, UNKNOWN, inputs["connection"])


def test_commands_run_concurrently(plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    count = 8
    outputs: list[object] = []
    command = f"echo > {tmp_path}/$(cat); while [ $(ls {tmp_path} | wc -l) -lt {count} ]; do sleep .05; done; echo done"

    def create(number: int) -> None:
        inputs: Properties = {"connection": sshd.connection(), "create": command, "stdin": str(number)}
        outputs.append(plugin.create(REMOTE, inputs)["stdout"])

    threads = [threading.Thread(target=create, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert outputs == ["done"] * count


class TestEnd:
    """An interrupted remote command fails without a wait."""

    def test_connection_dropped_fails_with_output(self, plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
        errors = _start_command(plugin, sshd, tmp_path)
        command = psutil.Process(int((tmp_path / "pid").read_text()))
        for process in command.parents():
            if sshd.process is None or process.pid == sshd.process.pid:
                break
            process.kill()
        until(lambda: bool(errors))
        assert "UNKNOWN: the connection to 127.0.0.1 was lost before the command ended" in errors[0]
        assert errors[0].endswith(":\nbegun\n")
        command.kill()

    def test_cancel_ends_the_command(self, own_plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
        errors = _start_command(own_plugin, sshd, tmp_path)
        own_plugin.cancel()
        until(lambda: bool(errors))
        assert errors[0].startswith("UNKNOWN: cancelled: running ")
        pid = int((tmp_path / "pid").read_text())
        if os.getuid() == 0:  # OpenSSH forwards no signals to root's commands
            psutil.Process(pid).kill()
        until(lambda: not runs(pid))


def _start_command(plugin: Plugin, sshd: Sshd, folder: Path) -> list[str]:
    """Start a sleeping command with its process id in `folder`/pid; return a list that receives its error."""
    errors: list[str] = []
    command = f"echo begun; echo $$ > {folder}/new; mv {folder}/new {folder}/pid; sleep 600"
    inputs: Properties = {"connection": sshd.connection(), "create": command}

    def create() -> None:
        with pytest.raises(Refused) as caught:
            plugin.create(REMOTE, inputs)
        errors.append(str(caught.value))

    threading.Thread(target=create, daemon=True).start()
    until((folder / "pid").exists)
    return errors


def test_timeout_fails_the_command(plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    """Try longer timeouts until the error has the command's output: the command may start late on a busy machine."""
    running = tmp_path / "running"
    running.touch()
    command = f"echo started; while [ -e {running} ]; do sleep 0.1; done"
    inputs: Properties = {"connection": sshd.connection(), "create": command}
    for seconds in (1, 4, 16, 64):
        with pytest.raises(Refused, match=f"timed out after {seconds} s: running") as caught:
            plugin.create(REMOTE, inputs, timeout=seconds)
        if ":\nstarted" in str(caught.value):
            break
    else:
        pytest.fail(str(caught.value))
    running.unlink()  # the command ends
