"""Trial of a model in a child process with limits of time and memory.

A model may make ONNX Runtime compute without end, or take all memory. So a child process loads the model first and
predicts with it. The server loads the model only after that.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

from model_server.errors import ModelRefused, TrialUnfinished
from model_server.model.model import Model
from model_server.model.model_package import ModelPackage, verify_package
from model_server.settings import ServerSettings, variable

REFUSED = 3
"""Exit code of the child for a model that must not be served; its output says why."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10, 3600
"""Pauses after trials that ended early: each is twice as long as the one before, because the model may be the cause."""
MIB = 1 << 20


@dataclass(frozen=True)
class TrialResult:
    """The result of a model's last trial.

    Args:
        message: why the model is not served, "" if it was accepted.
        detail: what is only logged of it.
        attempts: trials that ended early; 0 if the last one came to its end.
        next_trial: the earliest time of the next one, of `time.monotonic`, which the workers share.
    """

    message: str = ""
    detail: str = ""
    attempts: int = 0
    next_trial: float = math.inf


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
        """Return if the model was accepted; try it if no worker has tried it yet, or the pause after a trial is over.

        Raises:
            ModelRefused: the model must not be served.
            TrialUnfinished: the last trial ended early.
        """
        signature = hashlib.sha256(package.signature.model_dump_json().encode()).hexdigest()
        file = self._folder / f"{package.signature.sha256}-{signature}.trial"
        with (self._folder / "trials.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = TrialResult(**json.loads(file.read_text())) if file.exists() else TrialResult(next_trial=0)
            if result.next_trial <= monotonic():
                result = _try_again(package, self._settings, result.attempts)
                partial = file.with_suffix(".partial")
                partial.write_text(json.dumps(asdict(result)))
                partial.replace(file)
        if result.attempts:
            raise TrialUnfinished(result.message, result.detail, result.next_trial - monotonic())
        if result.message:
            raise ModelRefused(result.message, result.detail)


def try_model(package: ModelPackage, settings: ServerSettings) -> None:
    """Load the model in a child process and predict with it.

    Raises:
        ModelRefused: the model cannot be loaded, contradicts its signature, or exceeds the limit of memory.
        TrialUnfinished: the child was killed or took too long, which a busy computer may cause, too.
    """
    signature = package.signature.model_dump_json().encode()
    seconds, memory = settings.check_seconds, settings.check_memory_bytes
    command = [sys.executable, "-m", "model_server.trial", str(math.ceil(seconds)), str(memory)]
    used = _processor_seconds()
    try:
        child = subprocess.run(
            command, input=b"%d\n%b%b" % (len(signature), signature, package.onnx), capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        limit = f"{seconds:g} s ({variable('check_seconds')})"
        used = _processor_seconds() - used
        raise TrialUnfinished(
            f"it took longer than {limit} to load and predict, and got {used:.0f} s of a processor in that time"
        ) from None
    except OSError as error:
        raise TrialUnfinished("the trial process cannot start", str(error)) from None
    if child.returncode == REFUSED:
        message, _, detail = child.stdout.decode(errors="replace").partition("\n")
        raise ModelRefused(message, detail.strip())
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        cause = "; Linux does this if the computer or container has too little memory" if name == "SIGKILL" else ""
        raise TrialUnfinished(f"loading it ended with {name}{cause}")
    if child.returncode:
        raise TrialUnfinished("the trial process failed", child.stderr.decode(errors="replace")[-500:])


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


def _try_again(package: ModelPackage, settings: ServerSettings, attempts: int) -> TrialResult:
    """Try the model after so many trials that ended early."""
    try:
        try_model(package, settings)
    except ModelRefused as error:
        return TrialResult(str(error), error.detail)
    except TrialUnfinished as error:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempts)
        message = f"{error}; trial {attempts + 1} ended early, the next one follows after {pause} s"
        return TrialResult(message, error.detail, attempts + 1, monotonic() + pause)
    return TrialResult()


def _processor_seconds() -> float:
    """Return the processor time of the ended children of this process."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
