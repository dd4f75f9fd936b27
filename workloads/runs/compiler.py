"""Compilation of pipelines outside the provider process, by the program `python -m workloads.runs.compiler`.

kfp keeps the pipeline that it compiles in a global variable, and Python keeps every imported module. The threads of a
provider process share both. The program therefore forks for each pipeline, from a process that has imported kfp only.

It reads one request as a line of JSON, `[pipeline, image, retries]`, and writes one response as a line of JSON: the
fields of `PipelinePackage`, or `{"error": text}`. It ends with its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from threading import Lock
from typing import Any

from infra.local.local_process import PYTHON
from settings.paths import PROJECT
from tools.bootstrap.process import inherited_environment
from workloads.runs.pipeline_package import PipelinePackage


class CompileError(Exception):
    """A pipeline that does not compile; the message is the reason."""


class Compiler:
    """Child process that compiles the pipelines of this project, started by the first request. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def compile(self, pipeline: str, image: str, retries: int) -> PipelinePackage:
        """Compile a pipeline; the arguments are those of `workloads.runs.compile.compile_pipeline`.

        Raises:
            CompileError: the pipeline does not compile.
        """
        with self._lock:
            response = json.loads(self._request(json.dumps([pipeline, image, retries])))
        if "error" in response:
            raise CompileError(response["error"])
        return PipelinePackage(**response)

    def _request(self, line: str) -> str:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "workloads.runs.compiler"],
                cwd=PROJECT,
                env=inherited_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the compiler has no pipes")
        with suppress(BrokenPipeError):  # a compiler that has ended gives an empty response
            print(line, file=stdin, flush=True)
        if response := stdout.readline():
            return response
        raise CompileError(f"the compiler ended with code {self._process.wait()}")


def main() -> None:
    """Respond to the requests on standard input, each in a forked process."""
    import kfp.compiler  # noqa: F401  # the forked processes share this import, which takes seconds

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the provider process decides when the compiler ends
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for the output of a pipeline's own code
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _respond(responses, _compile(*json.loads(line)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            code = os.waitstatus_to_exitcode(status)
            _respond(responses, {"error": f"its file ended the compiler with code {code}"})


def _compile(pipeline: str, image: str, retries: int) -> dict[str, Any]:
    try:
        # Modules of the project are imported after the fork: a file that changed since the last request is read again.
        from workloads.runs.compile import compile_pipeline

        return asdict(compile_pipeline(pipeline, image, retries))
    except (Exception, SystemExit) as error:
        return {"error": str(error)}


def _respond(responses: Any, response: dict[str, Any]) -> None:
    print(json.dumps(response), file=responses, flush=True)


if __name__ == "__main__":
    main()
