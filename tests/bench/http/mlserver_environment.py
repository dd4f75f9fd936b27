"""MLServer in a separate virtual environment: its requirements conflict with the platform's."""

from __future__ import annotations

import hashlib
import re
import sys
from importlib.metadata import version
from pathlib import Path

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import step
from tools.bootstrap.environment import uv
from tools.bootstrap.process import run_visible

REQUIREMENTS = Path(__file__).with_name("mlserver.txt")


def install() -> Path:
    """Return the environment that mlserver.txt pins; create it if it is missing.

    Raises:
        SetupError: it cannot be made.
        RuntimeError: it would have another scikit-learn than the one that trains the forest.
    """
    pinned = re.search(r"^scikit-learn==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    if pinned is None or pinned[1] != (ours := version("scikit-learn")):
        raise RuntimeError(f"{REQUIREMENTS.name} must pin scikit-learn {ours}, as uv.lock does; mlserver.in says how")
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    target = paths.cache_directory() / "venvs" / f"mlserver-{digest}"
    if not target.exists():
        program, log = uv(), paths.cache_directory() / "logs" / "mlserver.log"
        with step("Installing MLServer"), atomic_install(target) as partial:
            run_visible([program, "venv", "--relocatable", "--python", sys.executable, partial], log=log)
            run_visible([program, "pip", "sync", "--python", partial, "--require-hashes", REQUIREMENTS], log=log)
    return target
