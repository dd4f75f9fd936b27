"""Local commands: one case for each documented behaviour."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from airgap.stand_ins.protocol.property_values import UNKNOWN, Asset, Properties, Secret
from tests.waiting import child_commands, until

from .case import Case
from .plugin import LOCAL, Plugin, Refused
from .waiting import runs

RAN = {"stdout": "old out", "stderr": "old err"}
"""Outputs of the previous command."""


ECHO = "echo out; echo err >&2"
BOTH = 'echo "$PULUMI_COMMAND_STDOUT|$PULUMI_COMMAND_STDERR"'

CASES = [
    Case("create runs, and its output is an output", {"create": ECHO}, "out", "err"),
    Case("a resource without commands runs nothing", {}, "", "", logged=[]),
    Case("only one line end is cut off the output", {"create": "printf 'a\\n\\n'"}, "a\n"),
    Case("bytes that are no UTF-8 are replaced", {"create": "printf '\\377'"}, "\ufffd"),
    Case("stdin is passed", {"create": "cat", "stdin": "text"}, "text"),
    Case("without stdin there is nothing to read", {"create": "cat"}, ""),
    Case("a command need not read stdin", {"create": "exit 0", "stdin": "x" * 1_000_000}, ""),
    Case(
        "environment is added",
        {"create": "echo $A-$HOME", "environment": {"A": "1"}},
        f"1-{os.environ.get('HOME', '')}",
    ),
    Case("environment wins over the plugin's", {"create": "echo $HOME", "environment": {"HOME": "/x"}}, "/x"),
    Case("interpreter runs the command", {"create": "print(6*7)", "interpreter": ["python3", "-c"]}, "42"),
    Case("an empty interpreter is the shell", {"create": "echo $0", "interpreter": []}, "/bin/sh"),
    Case("dir is where it runs", {"create": "pwd", "dir": "/"}, "/"),
    Case("the default dir is the program's", {"create": "pwd"}, str(Path.cwd())),
    Case("a first command has no output before it", {"create": BOTH}, "|"),
    Case("update runs on update", {"create": "echo c", "update": "echo u"}, "u", state={"create": "echo c", **RAN}),
    Case("create runs on update where update is unset", {"create": "echo c"}, "c", state={"create": "echo b", **RAN}),
    Case("without both, an update keeps the output", {"delete": "true"}, "old out", "old err", state={**RAN}),
    Case("an update gets the output before it", {"update": BOTH}, "old out|old err", state={**RAN}),
    Case(
        "addPreviousOutputInEnv false keeps it away",
        {"update": BOTH, "addPreviousOutputInEnv": False},
        "|",
        state={**RAN},
    ),
    Case(
        "both streams are logged", {"create": "echo out; sleep .1; echo err >&2"}, "out", "err", logged=["out", "err"]
    ),
    Case("logging none", {"create": ECHO, "logging": "none"}, "out", "err", logged=[]),
    Case("logging stdout", {"create": ECHO, "logging": "stdout"}, "out", "err", logged=["out"]),
    Case("logging stderr", {"create": ECHO, "logging": "stderr"}, "out", "err", logged=["err"]),
    Case(
        "logging stdoutAndStderr",
        {"create": "echo out; sleep .1; echo err >&2", "logging": "stdoutAndStderr"},
        "out",
        "err",
        logged=["out", "err"],
    ),
    Case("a last line without end is logged", {"create": "printf 'a\\r\\nb'"}, "a\r\nb", logged=["a", "b"]),
    Case(
        "a secret input is a secret output",
        {"create": "cat", "stdin": Secret("s")},
        "s",
        outputs={"stdin": Secret("s")},
    ),
    Case(
        "empty collections stay",
        {"create": "true", "triggers": [], "environment": {}},
        outputs={"triggers": [], "environment": {}},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_local_command_returns_the_documented_outputs(case: Case, plugin: Plugin) -> None:
    name = case.behaviour.replace(" ", "-")
    if case.state is None:
        outputs = plugin.create(LOCAL, case.inputs, name)
        identifier = str(outputs.pop("id"))
        assert identifier.removeprefix(name).isalnum()
        assert len(identifier) == len(name) + 8
    else:
        outputs = plugin.update(LOCAL, case.state, case.inputs, name)
    assert outputs == {**case.inputs, "stdout": case.stdout, "stderr": case.stderr, **case.outputs}
    if case.logged is not None:
        assert plugin.engine.lines(name) == case.logged


ERRORS: dict[str, tuple[Properties, str]] = {
    "an exit code, the command and its output": (
        {"create": 'echo "out"; sleep .1; echo err >&2; exit 3', "logging": "none"},
        'UNKNOWN: exit status 3: running "echo \\"out\\"; sleep .1; echo err >&2; exit 3":\nout\nerr\n',
    ),
    "a signal": ({"create": "kill -9 $$"}, 'UNKNOWN: signal: killed: running "kill -9 $$":\n'),
    "a secret command is not shown": (
        {"create": Secret("false s3cret")},
        "UNKNOWN: exit status 1: running [secret]:\n",
    ),
    "a missing dir": ({"create": "x", "dir": "/no/dir"}, 'UNKNOWN: /no/dir: No such file or directory: running "x"'),
    "a missing interpreter": (
        {"create": "x", "interpreter": ["no-such-program"]},
        'UNKNOWN: "no-such-program": executable file not found in $PATH: running "x"',
    ),
    "a null character": ({"create": "x\0"}, 'UNKNOWN: embedded null byte: running "x\\u0000"'),
    "a pattern that is not closed": (
        {"create": "true", "assetPaths": ["a{b"]},
        "UNKNOWN: the pattern 'a{b' has a '{' that is not closed",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_local_command_failure_has_the_expected_message(name: str, plugin: Plugin) -> None:
    inputs, message = ERRORS[name]
    with pytest.raises(Refused) as caught:
        plugin.create(LOCAL, inputs)
    assert str(caught.value) == message


def test_delete_gets_inputs_and_output_of_the_state(plugin: Plugin, tmp_path: Path) -> None:
    command = f'echo "$A $(cat) $PULUMI_COMMAND_STDOUT" > {tmp_path}/deleted'
    plugin.delete(LOCAL, {"delete": command, "environment": {"A": "a"}, "stdin": "in", **RAN})
    assert (tmp_path / "deleted").read_text() == "a in old out\n"
    plugin.delete(LOCAL, {"create": "false", **RAN})  # nothing to run


def test_delete_failing_command_fails(plugin: Plugin) -> None:
    with pytest.raises(Refused, match="exit status 1"):
        plugin.delete(LOCAL, {"delete": "false", **RAN})


def test_log_lines_appear_while_the_command_runs(plugin: Plugin, tmp_path: Path) -> None:
    thread = threading.Thread(
        target=plugin.create,
        args=(LOCAL, {"create": f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep .05; done"}, "slow"),
    )
    thread.start()
    try:
        until(lambda: plugin.engine.lines("slow") == ["begun"])
        assert thread.is_alive()
        assert plugin.engine.logged[-1].ephemeral
    finally:
        (tmp_path / "go").touch()
        thread.join()


def test_stdin_secret_is_not_in_process_arguments(plugin: Plugin, tmp_path: Path) -> None:
    create = {"create": f"cat > /dev/null; while [ ! -e {tmp_path}/go ]; do sleep .05; done", "stdin": "s3cret-stdin"}
    thread = threading.Thread(target=plugin.create, args=(LOCAL, create, "quiet"))
    thread.start()
    try:
        # A child has the arguments of the plugin until it starts its own program.
        until(lambda: any(str(tmp_path) in each for each in _arguments_of_children(plugin)))
        assert not any("s3cret-stdin" in each for each in _arguments_of_children(plugin))
    finally:
        (tmp_path / "go").touch()
        thread.join()
    assert not any("s3cret-stdin" in request.message for request in plugin.engine.logged)


def _arguments_of_children(plugin: Plugin) -> list[str]:
    return [" ".join(command) for command in child_commands(plugin.process.pid).values()]


class TestFiles:
    """The outputs `assets` and `archive`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("assets/logos/logo.svg", "src/index.js", "src/secret.js", "top.txt", ".hidden"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        (tmp_path / "src/link").symlink_to(tmp_path / "top.txt")
        return tmp_path

    @pytest.mark.parametrize(
        ("globs", "found"),
        [
            (["assets/**", "src/**.js", "!**secret.*"], ["assets/logos/logo.svg", "src/index.js"]),
            (["*"], [".hidden", "top.txt"]),
            (["**"], [".hidden", "assets/logos/logo.svg", "src/index.js", "src/link", "src/secret.js", "top.txt"]),
            (["!**", "top.txt"], ["top.txt"]),
            (["src/{index,secret}.j[a-s]"], ["src/index.js", "src/secret.js"]),
            (["src/[!i]*.js"], ["src/secret.js"]),
            (["to?.txt", "src?index.js"], ["top.txt"]),
            ([r"top\.txt", "top.tx"], ["top.txt"]),
            (["assets"], []),
            ([], []),
        ],
    )
    def test_assets_match_the_patterns(self, globs: list[str], found: list[str], plugin: Plugin, folder: Path) -> None:
        inputs: Properties = {"create": "true", "dir": str(folder), "assetPaths": [*globs], "archivePaths": [*globs]}
        outputs = plugin.create(LOCAL, inputs)
        assets, archive = outputs["assets"], outputs["archive"]
        assert isinstance(assets, dict)
        assert isinstance(archive, Asset)
        assert sorted(assets) == found
        assert archive.fields["assets"] == assets
        assert archive.hash
        for path, asset in assets.items():
            assert isinstance(asset, Asset)
            assert asset.path == str(folder / path)
            assert len(asset.hash) == 64

    def test_assets_written_by_the_command_are_listed(self, plugin: Plugin, tmp_path: Path) -> None:
        outputs = plugin.create(LOCAL, {"create": "echo x > new", "dir": str(tmp_path), "assetPaths": ["n*"]})
        assert list(outputs["assets"]) == ["new"]  # type: ignore[arg-type]


class TestPreview:
    """A preview runs no command."""

    def test_preview_of_create_has_unknown_outputs(self, plugin: Plugin, tmp_path: Path) -> None:
        inputs: Properties = {"create": f"touch {tmp_path}/ran", "environment": UNKNOWN}
        outputs = plugin.create(LOCAL, inputs, preview=True)
        assert outputs.pop("id")
        assert outputs == {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("change", "known"),
        [
            ({}, True),
            ({"create": "false # other"}, False),
            ({"environment": {"A": UNKNOWN}}, False),
            ({"stdin": UNKNOWN}, False),
            ({"stdin": "added"}, True),  # as the official provider has it
        ],
    )
    def test_preview_of_update_keeps_outputs_only_without_changes(
        self, change: Properties, known: bool, plugin: Plugin
    ) -> None:
        inputs: Properties = {"create": "false", "environment": {"A": "a"}}
        outputs = plugin.update(LOCAL, {**inputs, **RAN}, {**inputs, **change}, preview=True)
        assert (outputs["stdout"], outputs["stderr"]) == (("old out", "old err") if known else (UNKNOWN, UNKNOWN))


class TestEnd:
    """The end of a command ends all of its processes."""

    COMMAND = "sleep 600 & echo $! >> pids; echo $$ >> pids; wait"

    @pytest.mark.parametrize("cause", ["cancel", "signal", "end of input"])
    def test_command_ends_with_all_its_processes(self, cause: str, own_plugin: Plugin, tmp_path: Path) -> None:
        errors: list[str] = []

        def create() -> None:
            with pytest.raises(Refused) as caught:
                own_plugin.create(LOCAL, {"create": self.COMMAND, "dir": str(tmp_path)})
            errors.append(str(caught.value))

        thread = threading.Thread(target=create)
        thread.start()
        until(lambda: len(self._pids(tmp_path)) == 2)
        if cause == "cancel":
            own_plugin.cancel()
        elif cause == "signal":
            own_plugin.process.send_signal(signal.SIGINT)
        else:
            own_plugin.end_input()
        thread.join(10)
        assert len(errors) == 1
        assert not any(runs(pid) for pid in self._pids(tmp_path))
        if cause == "cancel":
            assert "cancelled: running" in errors[0]
            with pytest.raises(Refused, match="cancelled"):
                own_plugin.create(LOCAL, {"create": "true"})

    def test_command_timed_out_ends_with_all_its_processes(self, plugin: Plugin, tmp_path: Path) -> None:
        pids: list[int] = []
        for seconds in (1, 4, 16, 64):  # the command may start late on a busy machine
            if len(pids) < 2:
                with pytest.raises(Refused, match=f"timed out after {seconds} s: running"):
                    plugin.create(LOCAL, {"create": self.COMMAND, "dir": str(tmp_path)}, timeout=seconds)
                pids = self._pids(tmp_path)
        assert len(pids) >= 2
        assert not any(runs(pid) for pid in pids)

    @staticmethod
    def _pids(folder: Path) -> list[int]:
        pids = folder / "pids"
        return [int(pid) for pid in pids.read_text().split()] if pids.exists() else []


def test_background_process_of_a_finished_command_survives(plugin: Plugin) -> None:
    outputs = plugin.create(LOCAL, {"create": "sleep 600 > /dev/null 2>&1 & echo $!"})
    server = psutil.Process(int(str(outputs["stdout"])))
    assert server.is_running()
    server.kill()


class TestRun:
    """The function `command.local.run`."""

    def test_run_returns_output_and_arguments(self, plugin: Plugin) -> None:
        arguments: Properties = {"command": "cat; echo $A >&2", "stdin": "in", "environment": {"A": "a"}}
        assert plugin.run(arguments) == ({**arguments, "stdout": "in", "stderr": "a"}, {})

    def test_run_without_command_reports_the_missing_field(self, plugin: Plugin) -> None:
        _, failures = plugin.run({"stdin": "in"})
        assert failures == {"command": "Missing required field 'command' on 'command:local:run'"}
