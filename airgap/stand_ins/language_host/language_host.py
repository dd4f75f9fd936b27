"""A Python language host for a Pulumi CLI that was built from its Go module, which does not contain one.

The CLI passes its address as the last argument and reads the host's port from the first line of output. It calls
`LanguageRuntime` on that port, and stops the host with an interrupt. The host runs programs and policy packs in a
virtual environment. It reports no packages, because no plugin can be downloaded for them.
"""

# ruff: noqa: D102 - language.proto documents the methods

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from google.protobuf import empty_pb2

# Import the SDK's messages without the SDK: its import takes three times as long, and a command starts two hosts.
SDK = Path(grpc.__file__).parents[1] / "pulumi"
for name, folder in (("pulumi", SDK), ("pulumi.runtime", SDK / "runtime")):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [str(folder)]

from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2  # noqa: E402

REPORTED = 32
"""Exit code of a program that has logged its error."""
IGNORE_INTERRUPT = ("/bin/sh", "-c", 'trap "" INT; exec "$0" "$@"')
"""A command prefix. The CLI interrupts the whole process group, and Python would print a traceback -> only this host
stops the program."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """A language host. Each program runs in a new process that connects to the engine at the address `engine`."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._program: subprocess.Popen[str] | None = None
        self._plugins: list[subprocess.Popen[bytes]] = []

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo()

    def GetRequiredPackages(self, request: Any, context: Any) -> language_pb2.GetRequiredPackagesResponse:
        return language_pb2.GetRequiredPackagesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> language_pb2.RuntimeOptionsResponse:
        return language_pb2.RuntimeOptionsResponse()

    def About(self, request: Any, context: Any) -> language_pb2.AboutResponse:
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def GetProgramDependencies(self, request: Any, context: Any) -> language_pb2.GetProgramDependenciesResponse:
        installed = sorted((found.metadata["Name"], found.version) for found in distributions())
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in installed]
        )

    def Run(self, request: language_pb2.RunRequest, context: Any) -> language_pb2.RunResponse:
        environment = _environment(request.info)
        if not _python(environment).is_file():
            return language_pb2.RunResponse(
                error=f"{environment} is not a virtual environment; create it with `make tools`"
            )
        self._program = subprocess.Popen(
            [*IGNORE_INTERRUPT, _python(environment), "-u", Path(__file__).with_name("program_runner.py")],
            cwd=request.pwd,
            env=os.environ | {"VIRTUAL_ENV": str(environment)},
            stdin=subprocess.PIPE,
            text=True,
        )
        # The settings hold secrets, and other users can read arguments and environments -> pass them by standard input.
        self._program.communicate(json.dumps(self._settings(request)))
        code = self._program.returncode
        if code in (0, REPORTED):
            return language_pb2.RunResponse(bail=code == REPORTED)
        return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {code}")

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: Any
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a policy pack until the engine ends the call."""
        environment = _environment(request.info)
        process = subprocess.Popen(
            [*IGNORE_INTERRUPT, _python(environment), "-u", request.info.program_directory, *request.args],
            cwd=request.pwd,
            env=os.environ
            | dict(variable.split("=", 1) for variable in request.env)
            | {"VIRTUAL_ENV": str(environment)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._plugins.append(process)
        context.add_callback(process.terminate)
        assert process.stdout is not None
        for line in process.stdout:
            yield language_pb2.RunPluginResponse(stdout=line)
        yield language_pb2.RunPluginResponse(exitcode=process.wait())

    def _settings(self, request: language_pb2.RunRequest) -> dict[str, Any]:
        return {
            "program": str(Path(request.info.program_directory, request.info.entry_point)),
            "config": dict(request.config),
            "secret_keys": list(request.configSecretKeys),
            "runtime": {
                "project": request.project,
                "stack": request.stack,
                "organization": request.organization,
                "root_directory": request.info.root_directory,
                "monitor": request.monitor_address,
                "engine": self._engine,
                "dry_run": request.dryRun,
                "parallel": request.parallel,
            },
        }

    def Cancel(self, request: Any, context: Any) -> Any:
        self.terminate_children()
        return empty_pb2.Empty()

    def terminate_children(self) -> None:
        """Terminate the program and all policy packs."""
        for process in (self._program, *self._plugins):
            if process is not None:
                process.terminate()


def _environment(info: language_pb2.ProgramInfo) -> Path:
    return Path(info.root_directory, str(dict(info.options).get("virtualenv", ".venv")))


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def terminate_at_end_of_input() -> None:
    """Terminate when the CLI exits, also by `kill -9`: standard input is a pipe from the CLI."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve the language host until a signal, then terminate its children."""
    host = LanguageHost(engine=sys.argv[-1])
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    threading.Thread(target=terminate_at_end_of_input, daemon=True).start()
    stopping.wait()
    host.terminate_children()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
