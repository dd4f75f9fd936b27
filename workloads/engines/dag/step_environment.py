"""Python environments of steps: this one, and one beside it for each step that installs packages."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PYTHON_IMAGE = re.compile(r"(?:^|/)python:(?P<version>\d+\.\d+)")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
INSTALL = "-m pip install"


class EnvironmentFailure(Exception):
    """An environment that could not be made."""


def require_pythons(executors: Mapping[str, Any]) -> None:
    """Refuse a package whose steps need a version of Python that this computer does not have.

    Raises:
        EnvironmentFailure: the version is missing.
    """
    for label, executor in executors.items():
        try:
            other_python(executor.get("container", {}).get("image", ""))
        except EnvironmentFailure as error:
            raise EnvironmentFailure(f"step {label.removeprefix('exec-')}: {error}") from error


def other_python(image: str) -> str | None:
    """Return the path of the interpreter that an image such as `python:3.12` names; None for this version.

    Raises:
        EnvironmentFailure: this computer does not have that version.
    """
    needed = PYTHON_IMAGE.search(image)
    if needed is None or needed["version"] == VERSION:
        return None
    for folder in os.get_exec_path():
        program = Path(folder) / f"python{needed['version']}"
        if program.is_file() and subprocess.run([program, "-I", "-c", ""], capture_output=True).returncode == 0:
            return str(program)
    raise EnvironmentFailure(
        f"the image {image} needs Python {needed['version']}, but steps run with Python {VERSION} here; set "
        f"base_image='python:{VERSION}', install python{needed['version']}, or set platform:pipelines: kubeflow"
    )


class StepEnvironments:
    """Environment variables for the commands of steps.

    kfp's components install packages into the Python that runs them. They get a virtual environment, so that this one
    stays as it is. Packages that are here already are found there, and are not downloaded.

    Args:
        scratch: the folder for temporary files of the run: kfp never deletes those of a step.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._base = os.environ | {"TMPDIR": str(scratch)}
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def prepare(self, container: Mapping[str, Any]) -> AsyncIterator[dict[str, str]]:
        """Yield the environment variables for a container's command.

        Raises:
            EnvironmentFailure: the environment cannot be made.
        """
        installing = [part for part in container["command"] if INSTALL in part]
        python = other_python(container.get("image", ""))
        if not installing and python is None:
            yield self._variables(Path(sys.executable).parent)
            return
        key = hashlib.sha256(repr([installing, python]).encode()).hexdigest()[:16]
        async with self._locks.setdefault(key, asyncio.Lock()):  # pip is not made for two processes in one environment
            folder = self._scratch / "environments" / key
            if not folder.is_dir():
                await self._create(folder, python)
            variables = self._variables(folder / "bin")
            variables.pop("PYTHONPATH", None)  # its packages would come before those that the step installs
            yield variables

    def _variables(self, programs: Path) -> dict[str, str]:
        path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return self._base | {"PATH": path, "PYTHONUNBUFFERED": "1"}

    async def _create(self, folder: Path, python: str | None) -> None:
        await self._call(python or sys.executable, "-m", "venv", "--without-pip", str(folder))
        if python:
            await self._call(
                sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "pip"
            )
        else:
            packages = folder / "lib" / f"python{VERSION}" / "site-packages" / "mlplatform.pth"
            packages.write_text("".join(f"import site; site.addsitedir({each!r})\n" for each in _package_folders()))
            (folder / "bin" / "pip").write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n')
            (folder / "bin" / "pip").chmod(0o755)

    async def _call(self, *command: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *command, env=self._base, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise EnvironmentFailure(f"{' '.join(command)} failed: {out.decode(errors='replace').strip()}")


def _package_folders() -> list[str]:
    """Return the folders of this environment's packages."""
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [path for path in sys.path if path and (path in own or path.endswith(("site-packages", "dist-packages")))]
