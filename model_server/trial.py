"""Trial of a model in a child process with limits of time and memory.

A model may make ONNX Runtime compute without end, or take all memory. So a child process loads the model first and
predicts with it. The server loads the model only after that.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from model_server.errors import ModelRefused, RepositoryError
from model_server.model.model import Model
from model_server.model.model_package import ModelPackage, verify_package
from model_server.settings import ServerSettings, variable

REFUSED = 3
"""Exit code of the child for a model that must not be served; its output says why."""
MIB = 1 << 20


class ModelTrial:
    """Trials of the workers of one server; the workers share the results, so each model is tried once.

    Args:
        settings: the limits.
        folder: a folder that the workers of this server share, and no other server.
    """

    def __init__(self, settings: ServerSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder

    def require_accepted(self, package: ModelPackage) -> None:
        """Raise ModelRefused unless the model was accepted; try it if no worker has tried it yet."""
        signature = hashlib.sha256(package.signature.model_dump_json().encode()).hexdigest()
        result = self._folder / f"{package.signature.sha256}-{signature}.trial"
        with (self._folder / "trials.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                result.write_text(_refusal(package, self._settings))
            message, _, detail = result.read_text().partition("\n")
        if message:
            raise ModelRefused(message, detail)


def try_model(package: ModelPackage, settings: ServerSettings) -> None:
    """Load the model in a child process and predict with it.

    Raises:
        ModelRefused: the model cannot be loaded, contradicts its signature, or exceeds a limit.
    """
    signature = package.signature.model_dump_json().encode()
    seconds, memory = settings.check_seconds, settings.check_memory_bytes
    command = [sys.executable, "-m", "model_server.trial", str(math.ceil(seconds)), str(memory)]
    try:
        child = subprocess.run(
            command, input=b"%d\n%b%b" % (len(signature), signature, package.onnx), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        limit = f"{seconds:g} s ({variable('check_seconds')})"
        raise ModelRefused(f"it took longer than {limit} to load and predict") from None
    if child.returncode == REFUSED:
        message, _, detail = child.stdout.decode(errors="replace").partition("\n")
        raise ModelRefused(message, detail.strip())
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise ModelRefused(f"loading it ended with {name}; it may need more than {_memory_limit(memory)}")
    if child.returncode:
        raise RepositoryError("the trial process failed", child.stderr.decode(errors="replace")[-500:])


def main() -> int:
    """Try the model on standard input; return 0, or `REFUSED` after printing the reason."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    # The parent stops the child earlier, unless the parent was killed.
    signal.alarm(seconds + 5)
    _limit_memory(memory)
    signature_length = int(sys.stdin.buffer.readline())
    signature = sys.stdin.buffer.read(signature_length)
    try:
        Model(None, verify_package(sys.stdin.buffer.read(), signature, None, {}))
    except ModelRefused as error:
        is_memory = "alloc" in error.detail
        print(f"it needs more than {_memory_limit(memory)}" if is_memory else error, error.detail, sep="\n")
        return REFUSED
    except MemoryError:
        print(f"it needs more than {_memory_limit(memory)}")
        return REFUSED
    return 0


def _refusal(package: ModelPackage, settings: ServerSettings) -> str:
    try:
        try_model(package, settings)
    except ModelRefused as error:
        return f"{error}\n{error.detail}"
    return ""


def _limit_memory(limit: int) -> None:
    """Allow `limit` bytes on top of the imported libraries; let the kernel kill this process before any other."""
    statm = Path("/proc/self/statm")
    imported = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (imported + limit, imported + limit))
    with suppress(OSError):  # not on Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


def _memory_limit(limit: int) -> str:
    return f"{limit // MIB} MiB of memory ({variable('check_memory_bytes')})"


if __name__ == "__main__":
    sys.exit(main())
