"""Pulumi's Python language host, for a CLI that was built from its Go module and so came without one.

The CLI starts it with its own address as the last argument, reads a port from the first line of its output, calls
`LanguageRuntime` there, and ends it by an interrupt. It does what this project needs: run a program or a policy pack in
a virtual environment. It reports no packages, as there is no plugin that could be downloaded for them.
"""

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

# The SDK's messages without the SDK: all of it takes three times as long to import, and a command starts two hosts.
SDK = Path(grpc.__file__).parents[1] / "pulumi"
for name, folder in (("pulumi", SDK), ("pulumi.runtime", SDK / "runtime")):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [str(folder)]

from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2  # noqa: E402

REPORTED = 32
"""Exit code of a program that has told the user itself why it failed."""
UNINTERRUPTED = ("/bin/sh", "-c", 'trap "" INT; exec "$0" "$@"')
"""What this host alone ends: the CLI interrupts the whole process group, which Python would answer with a traceback."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs the program in a process of its own, which speaks to the engine at the address `engine`."""

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
            return language_pb2.RunResponse(error=f"{environment} is no virtual environment; `make tools` creates it")
        self._program = subprocess.Popen(
            [*UNINTERRUPTED, _python(environment), "-u", Path(__file__).with_name("program.py")],
            cwd=request.pwd,
            env=os.environ | {"VIRTUAL_ENV": str(environment)},
            stdin=subprocess.PIPE,
            text=True,
        )
        # By standard input: the configuration holds secrets, and other programs can read arguments and environments.
        self._program.communicate(json.dumps(self._settings(request)))
        code = self._program.returncode
        if code in (0, REPORTED):
            return language_pb2.RunResponse(bail=code == REPORTED)
        return language_pb2.RunResponse(error=f"Program exited with non-zero exit code: {code}")

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: Any
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """A policy pack, until the engine has no more use for it."""
        environment = _environment(request.info)
        process = subprocess.Popen(
            [*UNINTERRUPTED, _python(environment), "-u", request.info.program_directory, *request.args],
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
        self.end_program()
        return empty_pb2.Empty()

    def end_program(self) -> None:
        for process in (self._program, *self._plugins):
            if process is not None:
                process.terminate()


def _environment(info: language_pb2.ProgramInfo) -> Path:
    return Path(info.root_directory, str(dict(info.options).get("virtualenv", ".venv")))


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def terminate_at_end_of_input() -> None:
    """Standard input is a pipe from the CLI: it ends when the CLI does, be it by `kill -9`."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    host = LanguageHost(engine=sys.argv[-1])
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    threading.Thread(target=terminate_at_end_of_input, daemon=True).start()
    ended.wait()
    host.end_program()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
