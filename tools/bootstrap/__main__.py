"""Bring the tools into the cache folder: `python3 tools/bootstrap [--stack NAME]`.

Runs with the system's Python and its standard library alone; a step whose result is there already is skipped. With
--stack, a name that no stack has is refused before anything is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file alone is read by older ones
        version = ".".join(str(part) for part in sys.version_info[:3])
        print(
            f"Python 3.11 or newer is needed; {sys.executable} is {version}. Install a newer one (Debian, Ubuntu: "
            "apt-get install python3.12 python3.12-venv; Fedora: dnf install python3.12; macOS: brew install "
            "python@3.12) and name it: make up PYTHON=python3.12",
            file=sys.stderr,
        )
        return 2
    # A script finds its own folder first; the checkout is what its imports start from. They need Python 3.11.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from tools.bootstrap.install import install

    return install(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
